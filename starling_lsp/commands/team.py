"""starling team: an engine (vLLM) that scores names for many people. `config` writes what it is started from; `check` tries a running one.

starling team config --to engine --adapter payments    on the machine with the GPU, once and after each training
engine/start.sh                                        there, in an environment with vLLM
starling team check http://127.0.0.1:8000 --token-file engine/token
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from corpus.interpreter import missing
from lsp_server.settings import Settings
from tuning.ranking.serving.model.errors import ScorerError
from tuning.ranking.serving.remote.address import TOKEN, Remote, remote_of, wrong_url

if TYPE_CHECKING:
    from tuning.ranking.serving.remote.trial import Trial

ENOUGH = 1.5  # mean difference of log P: with the right model 0.8 was seen, without its adapter 2.9
AGREEING = 0.7  # part of the lists whose best name is the same


def main(words: Sequence[str]) -> int:
    """Run it; returns the exit code."""
    options = argparse.ArgumentParser(
        prog="starling team", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = options.add_subparsers(required=True, metavar="COMMAND")
    config = commands.add_parser("config", help="write the folder that an engine is started from")
    config.add_argument("--to", type=Path, required=True, metavar="FOLDER")
    config.add_argument("--base", default="", metavar="FOLDER", help="another base: a folder of safetensors")
    config.add_argument(
        "--adapter", action="append", default=[], metavar="NAME",
        help="an installed adapter that is served too, for the workspaces that it was trained on; may be repeated",
    )  # fmt: skip
    config.add_argument(
        "--gpus", type=int, default=1, metavar="N", help="copies of the model, each on a GPU of its own"
    )
    config.add_argument(
        "--share", type=int, default=1, metavar="N", help="GPUs that share one copy, where it is too large for one"
    )
    config.add_argument("--ray", action="store_true", help="on several machines of a Ray cluster")
    config.add_argument("--port", type=int, default=8000)
    config.set_defaults(run=_config)
    check = commands.add_parser("check", help="try a running engine as the language server would")
    check.add_argument("url", metavar="URL", help="https, or http on this machine")
    check.add_argument("--model", default="", help="a name that it serves (default: starling, or the first one)")
    check.add_argument(
        "--token-file", default="", metavar="FILE", help=f"default: the variable {TOKEN}, if there is one"
    )
    check.add_argument("--base", default="", metavar="FOLDER", help="the base whose tokenizer it has to have")
    check.add_argument("--deadline", type=int, default=Settings().deadline, help="milliseconds (default %(default)s)")
    check.set_defaults(run=_check)
    given = options.parse_args(list(words[1:]))
    return given.run(given)


def _config(given: argparse.Namespace) -> int:
    try:
        from tuning.errors import TuningError
        from tuning.ranking.learning.team_engine import Asked, TeamError, write_engine
    except ModuleNotFoundError as error:
        print(f"starling team: {missing(error.name or '', extra='train')}", file=sys.stderr)
        return 1
    if min(given.gpus, given.share) < 1 or not 0 < given.port < 65536:
        print("starling team: --gpus and --share are at least 1, --port is 1 to 65535", file=sys.stderr)
        return 2
    asked = Asked(
        folder=given.to, base=given.base, adapters=tuple(given.adapter), port=given.port, gpus=given.gpus,
        parts=given.share, ray=given.ray,
    )  # fmt: skip
    try:
        write_engine(asked)
    except (TeamError, ScorerError, TuningError, OSError) as error:
        print(f"starling team: {error}", file=sys.stderr)
        return 1
    print(
        f"{given.to} holds the model, {len(given.adapter)} adapters, the token and vLLM's settings. Start the engine there:\n\n"
        f"  {given.to / 'start.sh'}\n\n"
        "It listens on this machine only. Check it, then put a reverse proxy with TLS in front of it (docs/team.md):\n\n"
        f"  starling team check http://127.0.0.1:{given.port} --token-file {given.to / 'token'}"
    )
    return 0


def _check(given: argparse.Namespace) -> int:
    if wrong := wrong_url(given.url):
        print(f"starling team: {given.url}: {wrong}", file=sys.stderr)
        return 2
    remote = remote_of(given.url, given.model, given.token_file)
    assert remote is not None
    return asyncio.run(_try(remote, given.base, given.deadline))


async def _try(remote: Remote, base: str, deadline: int) -> int:
    from tuning.ranking.serving.model.loading import load_scorer, load_tokenizer
    from tuning.ranking.serving.remote.engine import RemoteEngine
    from tuning.ranking.serving.remote.errors import RemoteError
    from tuning.ranking.serving.remote.trial import tried

    try:
        engine = RemoteEngine(remote, load_tokenizer(base))
    except (ScorerError, OSError, ValueError) as error:
        print(f"starling team: {error}", file=sys.stderr)
        return 1
    try:
        scorer = load_scorer(base)
    except (ScorerError, OSError):  # a tokenizer alone is enough to use an engine
        scorer = None
    try:
        await engine.check()
        print(f"✓  {remote.host} serves {', '.join(engine.models)}; asked for: {engine.model}")
        await tried(engine, None)  # compiles and warms up
        trial = await tried(engine, scorer)
    except RemoteError as error:
        print(f"✗  {error}", file=sys.stderr)
        return 1
    finally:
        await engine.close()
    middle, slow = (float(np.quantile(trial.milliseconds, part)) for part in (0.5, 0.95))
    is_fast = slow <= deadline
    print(
        f"{'✓' if is_fast else '✗'}  {len(trial.milliseconds)} lists, one by one: {middle:.0f} ms at the median, {slow:.0f} ms at p95 (deadline {deadline})"
    )
    is_like = _said_likeness(trial)
    if not is_fast:
        print(
            "   Lists that come later than the deadline are ranked by the model here, or by signals. See docs/team.md."
        )
    return 0 if is_fast and is_like else 1


def _said_likeness(trial: Trial) -> bool:
    """Say how the engine's scores compare with the model's here; whether they agree."""
    if trial.difference is None or trial.same_first is None:
        print("–  its scores are not compared: this machine has no model (starling install-model)")
        return True
    is_like = trial.difference <= ENOUGH and trial.same_first >= AGREEING
    print(
        f"{'✓' if is_like else '✗'}  log P differs from the model here by {trial.difference:.2f} on average; "
        f"the best name is the same in {trial.same_first:.0%} of the lists"
    )
    if not is_like:
        print("   It serves another model, or the base without Starling's adapter. See: starling team config")
    return is_like
