"""starling complete FILE:LINE:COL: shows one completion list before and after ranking, from a real session as in an editor."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from corpus.interpreter import module_command
from lsp_server import serving
from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Json
from lsp_server.probe import Probe, in_order, items_of
from lsp_server.protocol.capabilities import at
from lsp_server.servers.backend import BackendError, BackendMissing, find_command
from lsp_server.servers.plans import plan_for
from lsp_server.settings import Settings, as_flags
from tuning.errors import AdapterError
from tuning.ranking.serving.model.adapter_registry import AdapterRegistryError
from tuning.ranking.serving.model.errors import ScorerError
from tuning.ranking.serving.model.loading import chosen
from tuning.ranking.serving.model.model_store import gguf_file

MEASURED, MOST = 3, 12  # requests whose time counts; requests until the list is final
POLL = 0.2  # seconds between two requests for the status, or for a list
READING = 10.0  # seconds: a server that is still reading the project may have nothing to offer yet


class LocationError(ValueError):
    """The argument FILE:LINE:COL is wrong. The text says why."""


def parser() -> argparse.ArgumentParser:
    """The flags of the command."""
    options = argparse.ArgumentParser(
        prog="starling complete",
        description="Request one completion list from the wrapped server alone and through Starling, and show both.",
        epilog="example: starling complete src/app.py:12:9 -- COMMAND ARGS    (wraps this command instead of the default server)",
    )
    options.add_argument("where", metavar="FILE:LINE:COL", help="line and column start at 1, as editors show them")
    options.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options.add_argument("--top", type=int, default=12, help="rows to show (default %(default)s)")
    options.add_argument(
        "--wait", type=float, default=60.0, help="seconds to wait until index and model are ready (default %(default)g)"
    )
    serving.add_settings(options)
    return options


def main(words: Sequence[str]) -> int:
    """Show one ranked list. Returns the exit code."""
    own, wrapped = serving.split(words[1:])
    arguments = parser().parse_args(own)
    settings, problems = serving.settings_of(arguments, wrapped)
    if problems:
        print("\n".join(problems), file=sys.stderr)
        return 2
    try:
        path, line, column = place(arguments.where)
        if settings.base or settings.adapter:
            chosen(settings.base, settings.adapter)
        found = asyncio.run(compare(path, line, column, settings, wait=arguments.wait))
    except (LocationError, BackendError, ScorerError, AdapterError, AdapterRegistryError, OSError) as error:
        print(f"starling complete: {error}", file=sys.stderr)
        return 1
    if arguments.json:
        print(json.dumps(found, indent=2))
    else:
        _table(found, arguments.top)
    return _told(found, settings)


def _told(found: dict[str, Any], settings: Settings) -> int:
    """The exit code: 1 where there is no list, or where a model is there that can't be used, which is said."""
    ranker: dict[str, Any] = found["status"]["ranker"] or {}
    reason = ranker.get("reason", "")
    if reason and (settings.base or settings.adapter or gguf_file().exists()):
        what = "an adapter" if ranker["model"] == "ready" else "the model"
        print(f"starling complete: {what} can't be used: {reason}", file=sys.stderr)
        return 1
    remote = ranker.get("remote")
    if remote is not None and remote["state"] != "ready":
        print(f"starling complete: the team's engine can't be used: {remote['reason']}", file=sys.stderr)
        return 1
    if not found["server"]:
        print(f"starling complete: {found['wrapped'][0]} has nothing to offer there", file=sys.stderr)
        return 1
    return 0


def _is_starting(ranker: dict[str, Any]) -> bool:
    """Whether a model is on its way."""
    remote = ranker["remote"]
    return ranker["model"] == "loading" or (remote is not None and remote["state"] == "connecting")


def _remote(ranker: dict[str, Any]) -> list[str]:
    """A line about the team's engine, where one is named."""
    remote = ranker.get("remote")
    if remote is None:
        return []
    reason = f": {remote['reason']}" if remote["reason"] else ""
    model = f"{remote['model']} at " if remote["model"] else ""
    return [f"remote {model}{remote['host']}, {remote['state']}{reason}"]


def place(where: str) -> tuple[Path, int, int]:
    """Parse FILE:LINE:COL. Returns the path and the 0-based line and column, in characters. Raises LocationError."""
    parts = where.rsplit(":", 2)
    if len(parts) != 3 or not all(part.isdigit() and int(part) > 0 for part in parts[1:]):
        raise LocationError(f"{where!r}: expected FILE:LINE:COL, such as src/app.py:12:9; line and column start at 1")
    path = Path(parts[0])
    if not path.is_file():
        raise LocationError(f"{parts[0]}: {'a folder, not a file' if path.is_dir() else 'no such file'}")
    line, column = int(parts[1]) - 1, int(parts[2]) - 1
    text = path.read_text("utf-8", "replace")
    if "\0" in text:
        raise LocationError(f"{parts[0]}: not a text file")
    lines = text.split("\n")
    if line >= len(lines) or column > len(lines[line]):
        raise LocationError(f"{where}: the file has {len(lines)} lines" + (
            f", and line {line + 1} has {len(lines[line])} characters" if line < len(lines) else ""))  # fmt: skip
    return path.resolve(), line, column


async def compare(path: Path, line: int, column: int, settings: Settings, *, wait: float) -> dict[str, Any]:
    """Request completion from the wrapped server alone, then through Starling. Waits `wait` seconds for index and model.

    Line and column are 0-based; columns count characters. Returns what `--json` prints. Raises LocationError and BackendError.
    """
    text = path.read_text("utf-8", "replace")
    root = _root(path)
    character = len(text.split("\n")[line][:column].encode("utf-16-le", "surrogatepass")) // 2
    language_id = _language_id(path)
    chosen = plan_for(settings, language_id)
    if chosen is None:
        raise LocationError(f"{path.name}: Starling knows no language server for this file. Give a command after '--'.")
    if find_command(chosen.command, chosen.check, str(root)) is None:
        raise BackendMissing(chosen.command[0], chosen.install)
    alone = Probe(chosen.started_by(root))
    command = module_command("lsp_server", "--stdio", *as_flags(settings))
    if settings.command:
        command += ["--", *settings.command]
    starling = Probe(command)
    try:
        before, alone_ms, _ = await _measured(alone, root, path, text, line, character)
        after, through_ms, first_ms = await _measured(starling, root, path, text, line, character, wait=wait)
        status = await starling.backend.request("starling/status", {}, 10.0)
        ordered = in_order(items_of(after))
        whys = [await _reasons(starling, item) for item in ordered[:3]]
    finally:
        await asyncio.gather(alone.stop(), starling.stop(), return_exceptions=True)
    return {
        "file": str(path),
        "line": line + 1,
        "column": column + 1,
        "wrapped": list(chosen.command),
        "server": [item["label"] for item in in_order(items_of(before))],
        "starling": [
            {"label": item["label"], "rating": at(item, "labelDetails", "description") or ""} for item in ordered
        ],
        "why": whys,
        "milliseconds": {"server": alone_ms, "starling": through_ms, "starling first": first_ms},
        "status": status,
    }


async def _measured(
    probe: Probe, root: Path, path: Path, text: str, line: int, character: int, *, wait: float = 0.0
) -> tuple[Json, float, float]:
    """Request completion until the list is final. Returns it, the median time of three requests, and the time of the first one before, in ms."""
    await probe.start(root)
    uri = path.as_uri()
    language = _language_id(path)
    probe.open(uri, text, language)
    started = time.perf_counter()
    offered = await probe.complete(uri, line, character, 60.0)
    first = (time.perf_counter() - started) * 1000
    begun = time.monotonic()
    while not items_of(offered) and time.monotonic() < begun + READING:
        await asyncio.sleep(POLL)
        offered = await probe.complete(uri, line, character, 60.0)
    until = time.monotonic() + wait
    while wait and time.monotonic() < until:
        status = (await probe.backend.request("starling/status", {}, 10.0))["ranker"]
        if status is not None and status["index"] and not _is_starting(status):
            break
        await asyncio.sleep(POLL)
    times: list[float] = []
    result: Json = None
    while len(times) < MEASURED or (
        len(times) < MOST and at(result, "isIncomplete")
    ):  # the last word, not a deadline's
        started = time.perf_counter()
        result = await probe.complete(uri, line, character, 60.0)
        times.append((time.perf_counter() - started) * 1000)
    return result, round(statistics.median(times[:MEASURED]), 1), round(first, 1)


async def _reasons(probe: Probe, item: Json) -> str:
    resolved = await probe.backend.request("completionItem/resolve", item, 10.0)
    documentation = resolved.get("documentation")
    value = str(documentation.get("value", "") if wire.is_object(documentation) else documentation or "")
    return value.rsplit("★ Starling: ", 1)[-1] if "★ Starling: " in value else ""


def _language_id(path: Path) -> str:
    from corpus.syntax.language import language_for

    language = language_for("", path.as_uri())
    return language.language_ids[0] if language is not None else path.suffix.lstrip(".") or "plaintext"


def _root(path: Path) -> Path:
    """The project's root: the nearest parent folder with .git or a root file of the language, else the file's folder."""
    from corpus.syntax.language import language_for

    language = language_for("", path.as_uri())
    marks = (".git", *(language.roots if language is not None else ()))
    for folder in path.parents:
        if any((folder / mark).exists() for mark in marks):
            return folder
    return path.parent


def _table(found: dict[str, Any], top: int) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else int(os.environ.get("COLUMNS", "100")), markup=False)
    table = Table(title=f"{Path(found['file']).name}:{found['line']}:{found['column']}", title_justify="left")
    table.add_column("", justify="right", style="dim")
    table.add_column(Path(found["wrapped"][0]).name)
    table.add_column("through Starling", style="bold")
    table.add_column("rating", style="yellow")
    for place in range(min(top, len(found["server"]))):
        item = found["starling"][place] if place < len(found["starling"]) else {"label": "", "rating": ""}
        table.add_row(str(place + 1), found["server"][place], item["label"], item["rating"])
    console.print(table)
    ranker: dict[str, Any] = found["status"]["ranker"] or {}
    times = found["milliseconds"]
    files = ranker.get("files", 0)
    lines = [
        f"{len(found['server'])} items · {times['server']:g} ms alone, {times['starling']:g} ms through Starling (medians), "
        f"{times['starling first']:g} ms the first time",
        f"index of {files} {'file' if files == 1 else 'files'} · "
        f"model {ranker.get('model', 'off')}{': ' + ranker['reason'] if ranker.get('reason') else ''}",
        *_remote(ranker),
        *(f"  {item['label']}: {why}" for item, why in zip(found["starling"], found["why"], strict=False) if why),
    ]
    console.print("\n".join(lines), highlight=False, soft_wrap=True)
