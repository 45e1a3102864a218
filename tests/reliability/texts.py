"""A model of document texts: positions in UTF-16 (LSP 3.17, "Position"), changes, and random edits.

The fake server runs as a script and imports this module, so it imports nothing that is not needed.
"""

import random


def offset(text: str, line: int, character: int) -> int:
    """The index of a position. Beyond a line's end means its end; beyond the last line, the text's end."""
    start = 0
    for _ in range(line):
        newline = text.find("\n", start)
        if newline < 0:
            return len(text)
        start = newline + 1
    end = text.find("\n", start)
    row = text[start : len(text) if end < 0 else end].removesuffix("\r")
    units = 0
    for index, letter in enumerate(row):
        units += 2 if ord(letter) > 0xFFFF else 1
        if units > character:
            return start + index
    return start + len(row)


def applied(text: str, changes: list) -> str:
    """The text after the `contentChanges` of a didChange."""
    for change in changes:
        span = change.get("range")
        if span is None:
            text = change["text"]
            continue
        start, end = sorted(offset(text, span[edge]["line"], span[edge]["character"]) for edge in ("start", "end"))
        text = text[:start] + change["text"] + text[end:]
    return text


class Document:
    """One open document as the editor has it."""

    def __init__(self, uri: str, text: str) -> None:
        self.uri, self.text, self.version = uri, text, 1

    def opening(self) -> dict:
        """Params of its didOpen."""
        item = {"uri": self.uri, "languageId": "python", "version": self.version, "text": self.text}
        return {"textDocument": item}

    def change(self, *changes: dict) -> dict:
        """Apply changes; returns the params of the didChange that says so."""
        self.text = applied(self.text, list(changes))
        self.version += 1
        return {"textDocument": {"uri": self.uri, "version": self.version}, "contentChanges": list(changes)}

    def replace(self, line: int, start: int, end: int, text: str) -> dict:
        """Put a text in the place of a part of one line; returns the params of the didChange."""
        edges = {"start": {"line": line, "character": start}, "end": {"line": line, "character": end}}
        return self.change({"range": edges, "text": text})

    def random_change(self, rng: random.Random) -> dict:
        """One to three edits, some of them at positions that the text does not have."""
        return self.change(*(self._random_edit(rng) for _ in range(rng.randrange(1, 4))))

    def _random_edit(self, rng: random.Random) -> dict:
        if len(self.text) > 4000:
            return {"text": "# fresh\nbox.value\n"}
        if rng.random() < 0.02:
            return {"text": "é😀\nbox.value\n" * 20}

        lines = self.text.count("\n") + 1

        def place() -> tuple[int, int]:
            line, character = rng.randrange(lines), rng.randrange(20)
            far = rng.random()
            if far < 0.1:
                line = rng.choice([lines, lines + 1, lines + 1000, 2**31 - 1])
            elif far < 0.2:
                character = rng.choice([100, 2**31 - 1])
            return line, character

        start = place()
        end = start if rng.random() < 0.7 else rng.choice([place(), *[(start[0], start[1] + rng.randrange(4))] * 3])
        start, end = sorted((start, end))
        edges = {edge: {"line": at[0], "character": at[1]} for edge, at in (("start", start), ("end", end))}
        pieces = ("x", "", "box.", "\n", "é", "😀", "def f(a):\n    return a\n", "value", "\r\n", "\t", "()", "'''")
        return {"range": edges, "text": rng.choice(pieces)}
