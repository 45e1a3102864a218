"""starling doctor: reports what is installed, the server of each language, the model and its speed, and how to mend each gap."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from corpus.syntax.language import languages
from lsp_server import __version__, serving
from lsp_server.logs import log_folder
from lsp_server.servers.backend import find_command
from lsp_server.servers.plans import chosen_servers
from lsp_server.servers.presets import installed
from lsp_server.settings import Settings

NO_SERVER = "install one of those above, or give your own command: starling --stdio -- COMMAND"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the report. `remedy` says what to do; it is "" if nothing is wrong."""

    what: str
    found: str
    remedy: str = ""
    needed: bool = False  # Starling can't work without it


def main(words: Sequence[str]) -> int:
    """Print the findings. Returns the exit code: 1 if something that is needed is missing, 2 for a wrong command line."""
    options = argparse.ArgumentParser(
        prog="starling doctor", description="Check the installation, and say how to fix each problem."
    )
    options.add_argument("--json", action="store_true", help="print JSON instead of a table")
    serving.add_settings(options)
    own, wrapped = serving.split(words[1:])
    arguments = options.parse_args(own)
    settings, problems = serving.settings_of(arguments, wrapped)
    if problems:
        print("\n".join(problems), file=sys.stderr)
        return 2
    findings = examine(settings)
    if arguments.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        _table(findings)
    return int(any(finding.remedy and finding.needed for finding in findings))


def examine(settings: Settings) -> list[Finding]:
    """All findings for these settings. Loads the model, which takes seconds."""
    return [
        Finding(
            what="Starling",
            found=f"{__version__}, Python {platform.python_version()}, {os.cpu_count()} cores",
        ),
        *_servers(settings),
        *_model(settings),
        _log(),
    ]


def _servers(settings: Settings) -> list[Finding]:
    if settings.command:
        where = find_command(settings.command)
        return [
            Finding(
                what="wrapped command",
                found=where or "not found",
                remedy="" if where else f"'{settings.command[0]}' is not on PATH: install it, or give another command",
                needed=True,
            )
        ]
    wrapped = {one.server for _, servers in chosen_servers(settings) for one in servers if isinstance(one.server, str)}
    found: list[Finding] = []
    for language in languages().values():
        there = {server.name: installed(server) for server in language.servers}
        served = any(there[name] for name in wrapped & set(there))
        for server in language.servers:
            where = there[server.name]
            default = server.name in wrapped
            if where or default:  # other servers of the language appear as remedies only
                others = [other.install for other in language.servers if not there[other.name]]
                found.append(
                    Finding(
                        what=f"{language.name}: {server.name}" + (" (wrapped)" if default else ""),
                        found=where or "not installed",
                        remedy="" if where or served else " or: ".join(others),
                    )
                )
    if not any(finding.found != "not installed" for finding in found):
        found.append(Finding(what="language servers", found="none is installed", remedy=NO_SERVER, needed=True))
    return found


def _model(settings: Settings) -> list[Finding]:
    missing = [name for name in ("onnxruntime", "tokenizers") if importlib.util.find_spec(name) is None]
    if missing:
        return [
            Finding(
                what="model libraries",
                found=f"missing: {', '.join(missing)}",
                remedy=f"pip install {' '.join(missing)} (without it, the ranker 'signals' is used)",
            )
        ]
    from tuning.ranking.serving.model.model_store import default_base, is_installed

    found = [Finding(what="model libraries", found=f"onnxruntime {importlib.metadata.version('onnxruntime')}")]
    if not settings.base and not is_installed():
        return [
            *found,
            Finding(
                what="base model",
                found="not installed, or not whole",
                remedy="starling install-model (without it, the ranker 'signals' is used)",
            ),
        ]
    base = settings.base or str(default_base())
    return [*found, Finding(what="base model", found=base), *_speed(settings.base, settings.adapter)]


def _speed(base: str, adapter: str) -> list[Finding]:
    """Load the model and time the scoring of one list, with the prompt already read as while typing; its memory."""
    from tuning.ranking.serving.model.loading import load_scorer
    from tuning.ranking.serving.model.prompt import build_prompt

    before = resident_memory()
    started = time.perf_counter()
    try:
        scorer = load_scorer(base, adapter=adapter, allow_download=bool(base))
    except Exception as error:  # report any problem of the model
        return [
            Finding(
                what="model",
                found=f"can't be loaded: {error}",
                remedy="run starling install-model, or give another --base",
            )
        ]
    loaded = time.perf_counter() - started
    prompt = build_prompt(path="doctor", before="total = 0\nfor value in values:\n    total = value.", line_comment="")
    scorer.advance("doctor", prompt.text)
    names = [f"{verb}_{noun}" for verb in ("add", "get", "read", "set", "to") for noun in ("item", "name", "text")]
    times: list[float] = []
    for _ in range(3):
        started = time.perf_counter()
        search = scorer.search("doctor", prompt, names)
        while not search.step():
            pass
        times.append((time.perf_counter() - started) * 1000)
    found = [
        Finding(
            what="model speed",
            found=f"loaded in {loaded:.1f} s; scores {len(names)} names in {sorted(times)[1]:.0f} ms once the prompt is read",
        )
    ]
    after = resident_memory()
    if before is not None and after is not None:
        found.append(Finding(what="model memory", found=f"{(after - before) / 1e6:.0f} MB"))
    return found


def resident_memory() -> int | None:
    """Bytes of this process in memory; None where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return None


def _log() -> Finding:
    folder = log_folder()
    writable = os.access(_existing(folder), os.W_OK)
    return Finding(
        what="log files",
        found=str(folder),
        remedy="" if writable else "the folder is not writable, so logs go to stderr only: change its permissions",
    )


def _existing(folder: Path) -> Path:
    """The folder, or its nearest parent that exists."""
    while not folder.exists():
        folder = folder.parent
    return folder


def _table(findings: list[Finding]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title="starling doctor", title_justify="left")
    for column in ("", "what", "found", "what to do"):
        table.add_column(column, overflow="fold")
    for finding in findings:
        mark, style = ("✓", "green") if not finding.remedy else ("✗", "red") if finding.needed else ("–", "yellow")
        table.add_row(Text(mark, style=style), finding.what, finding.found, finding.remedy)
    Console(width=None if sys.stdout.isatty() else 110, markup=False).print(table)
