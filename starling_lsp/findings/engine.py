"""The team's engine, where the settings name one: whether it answers, and fits."""

from __future__ import annotations

import asyncio

from lsp_server.settings import Settings
from starling_lsp.findings import Finding
from tuning.ranking.serving.model.errors import ScorerError
from tuning.ranking.serving.remote.address import Remote, remote_of
from tuning.ranking.serving.remote.errors import RemoteError


def engine(settings: Settings) -> list[Finding]:
    """One finding, and one for each folder of `remoteOff` that is not there; none where no engine is named."""
    remote = remote_of(settings.remote, settings.remote_model, settings.remote_token_file, settings.remote_off)
    if remote is None:
        return []
    remedy = "correct the setting remoteOff, if it is misspelt"
    absent = [
        Finding(what="remoteOff", found=f"there is no folder {one}", remedy=remedy, needed=True)
        for one in remote.absent()
    ]
    return [_engine(remote, settings), *absent]


def _engine(remote: Remote, settings: Settings) -> Finding:
    try:
        found = asyncio.run(_asked(remote, settings.base))
    except (RemoteError, ScorerError, OSError, ValueError) as error:
        remedy = f"starling team check {settings.remote}; until then the model here ranks"
        return Finding(what="team's engine", found=str(error), remedy=remedy, needed=True)
    return Finding(what="team's engine", found=found)


async def _asked(remote: Remote, base: str) -> str:
    from tuning.ranking.serving.model.loading import load_tokenizer
    from tuning.ranking.serving.remote.engine import RemoteEngine

    asked = RemoteEngine(remote, load_tokenizer(base))
    try:
        await asked.check()
        return f"{remote.host} serves {', '.join(asked.models)}; asked for: {asked.model}"
    finally:
        await asked.close()
