"""python -m benchmarks.same_items --language typescript: what each item inserts, with and without Starling.

Members of RankBench, asked of the wrapped server alone and through Starling in turn; fails where
one of the two has an item, or an item that inserts something, that the other has not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import track

from benchmarks.places import WARM_SECONDS, Repository, add_flags, repositories
from corpus.rankbench.origins import benches
from corpus.syntax.language import language_for
from lsp_server.documents.positions import units
from lsp_server.probe import Probe, items_of

console = Console()
STAR = "★ "
ATTEMPTS = 5
Item = dict[str, Any]


def main() -> None:
    """Command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_flags(options, 200)
    given = options.parse_args()
    different = 0
    for language in given.language or benches():
        results = [asyncio.run(compare(one)) for one in repositories(benches()[language], given.limit)]
        positions, items, odd = (sum(column) for column in zip(*results, strict=True))
        console.print(f"{language}: {positions} positions, {items} items, lists that differ: {odd}")
        different += odd
    sys.exit(1 if different else 0)


async def compare(one: Repository) -> tuple[int, int, int]:
    """Positions asked, items seen, and positions whose lists differ."""
    alone = Probe(one.beside)
    flags = ("--stdio", "--ranker", "signals", "--deadline", "5000")
    through = Probe([sys.executable, "-m", "lsp_server", *flags, "--", *one.command])
    items = odd = 0
    warm = False  # once a server has answered, an empty list is an answer too
    for probe in (alone, through):
        await probe.start(one.root, options=dict(one.options) or None, timeout=WARM_SECONDS)
    for row in track(one.rows, one.name, console=console, transient=True):
        before, after = one.texts(row)
        uri = (one.base / row.path).as_uri()
        language = language_for("", row.path)
        assert language is not None
        for probe in (alone, through):
            probe.open(uri, (before + after).decode("utf-8", "replace"), language.language_ids[0])
        seen: list[Counter[str]] = []
        for attempt in range(ATTEMPTS):  # a server that is still reading the project differs from itself
            await asyncio.sleep(min(attempt, 3))
            seen = [await _effects(probe, uri, before, patient=not warm) for probe in (alone, through)]
            if seen[0] == seen[1]:
                break
        warm = warm or bool(seen[0])
        for probe in (alone, through):
            probe.backend.notify("textDocument/didClose", {"textDocument": {"uri": uri}})
        items += sum(seen[0].values())
        if seen[0] != seen[1]:
            odd += 1
            less, more = seen[0] - seen[1], seen[1] - seen[0]
            console.print(f"{one.name} {row.path}:{row.start}: of {sum(seen[0].values())} items", less, more)
    for probe in (alone, through):
        await probe.stop()
    return len(one.rows), items, odd


async def _effects(probe: Probe, uri: str, before: bytes, *, patient: bool) -> Counter[str]:
    """What accepting each item does. Where patient, a server that has none is asked again: it may be reading the project."""
    line, character = before.count(b"\n"), units(before[before.rfind(b"\n") + 1 :], "utf-16")
    for _ in range(60 if patient else 1):
        result = await probe.complete(uri, line, character, WARM_SECONDS)
        found = items_of(result)
        if found:
            defaults = result.get("itemDefaults") or {} if isinstance(result, dict) else {}
            return Counter(json.dumps(effect(item, defaults), sort_keys=True) for item in found)
        await asyncio.sleep(0.5)
    return Counter()


def effect(item: Item, defaults: Mapping[str, Any]) -> Item:
    """What accepting an item does, however it is written down (LSP 3.17, CompletionItem)."""
    label = item["label"].removeprefix(STAR)
    edit = item.get("textEdit")
    span = (
        {key: edit[key] for key in ("range", "insert", "replace") if key in edit} if edit else defaults.get("editRange")
    )
    if edit:
        text = edit["newText"]
    elif span:
        text = item.get("textEditText", label)
    else:
        text = item.get("insertText", label)
    return {
        "label": label,
        "inserts": text,
        "where": span,
        "kind": item.get("kind"),
        "format": item.get("insertTextFormat", defaults.get("insertTextFormat", 1)),
        "elsewhere": item.get("additionalTextEdits") or [],
        "command": item.get("command"),
    }


if __name__ == "__main__":
    main()
