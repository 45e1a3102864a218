"""What a file is after an item of a language server was accepted, with nothing between the server and us.

    python -m tests.editors.accepted FILE LINE COLUMN NAME [DETAIL] -- COMMAND...

LINE and COLUMN count from 1; DETAIL is part of the item's labelDetails or detail, where several have the name. Prints the text.
"""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path
from typing import Any

from lsp_server.probe import Probe, items_of

LANGUAGES = {".py": "python", ".ts": "typescript"}


async def accepted(path: Path, line: int, column: int, name: str, detail: str, command: list[str]) -> str:
    """The text with the item's own edit and its further ones (LSP 3.17, "CompletionItem")."""
    probe = Probe(command)
    await probe.start(path.parent)
    try:
        text = path.read_text(encoding="utf-8")
        probe.open(path.as_uri(), text, LANGUAGES[path.suffix])
        where = {"line": line - 1, "character": column - 1}
        async with asyncio.timeout(60):
            while not (found := fitting(await probe.complete(path.as_uri(), **where), name, detail)):
                await asyncio.sleep(0.2)  # it still loads the project
        item = await probe.backend.request("completionItem/resolve", found[0], 30)
        return applied(text, [own_edit(item, text, where), *(item.get("additionalTextEdits") or ())])
    finally:
        await probe.stop()


def fitting(result: Any, name: str, detail: str) -> list[Any]:
    items = [item for item in items_of(result) if item["label"].strip() == name]
    return [item for item in items if detail in f"{item.get('labelDetails')} {item.get('detail')}"]


def own_edit(item: Any, text: str, where: Any) -> Any:
    """The item's text edit; else its text in place of the word before the cursor."""
    edit = item.get("textEdit")
    if edit is not None:
        return {"range": edit.get("insert") or edit.get("range"), "newText": edit["newText"]}
    before = text.split("\n")[where["line"]][: where["character"]]
    span = {"start": {**where, "character": len(re.sub(r"\w+$", "", before))}, "end": where}
    return {"range": span, "newText": item.get("insertText") or item["label"]}


def applied(text: str, edits: list[Any]) -> str:
    """All edits at once, the last in the text first."""
    spans = [
        (offset(text, edit["range"]["start"]), offset(text, edit["range"]["end"]), edit["newText"]) for edit in edits
    ]
    for start, end, new in sorted(spans, key=lambda span: span[:2], reverse=True):
        text = text[:start] + new + text[end:]
    return text


def offset(text: str, position: Any) -> int:
    """A position's place in a text without characters beyond UCS-2, which these projects have none of."""
    lines = text.split("\n")
    return sum(len(line) + 1 for line in lines[: position["line"]]) + position["character"]


if __name__ == "__main__":
    cut = sys.argv.index("--")
    file, at_line, at_column, wanted, *more = sys.argv[1:cut]
    whole = accepted(Path(file), int(at_line), int(at_column), wanted, " ".join(more), sys.argv[cut + 1 :])
    sys.stdout.write(asyncio.run(whole))
