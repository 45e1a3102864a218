"""What the model reads before the identifier, and how the text there is cut for it. Pure text, no model.

Ordered by how seldom a part changes (path, signatures around the cursor, then the lines before it), and the window of
lines moves in large steps, so that keys and values of the unchanged beginning are reused while the author types.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

WINDOW = 1400  # characters before the cursor at most, some 400 tokens of code
STEP = 500  # characters that the window's start moves by
MAX_TAIL = 64
MAX_HEADER = 400
TAIL = re.compile(r"[^\w]*\Z")


@dataclass(frozen=True)
class Prompt:
    """`text` is read once; `tail` (punctuation and space right before the identifier) is scored with each name,
    because a tokenizer may join the two: `self._x` is `._` + `x` to some."""

    text: str
    tail: str

    @property
    def key(self) -> str:
        """What scores after this prompt are kept under."""
        return hashlib.sha256(f"{self.text}\0{self.tail}".encode("utf-8", "replace")).hexdigest()[:32]


def build_prompt(
    *,
    path: str,
    before: str,
    imports: Sequence[str] = (),
    enclosing: Sequence[str] = (),
    line_comment: str = "",
) -> Prompt:
    """The prompt for an identifier that starts where `before` ends."""
    start = _window_start(before)
    window = before[start:]
    header = [f"{line_comment} {path}".strip()] if path else []
    for line in (*imports, *enclosing):
        if line and line.strip() not in window and sum(map(len, header)) + len(line) < MAX_HEADER:
            header.append(line)
    found = TAIL.search(window[-MAX_TAIL:])
    tail = found.group() if found else ""
    body = window[: len(window) - len(tail)]
    return Prompt(text="\n".join([*header, body]), tail=tail)


def _window_start(before: str) -> int:
    """Where the window starts: a line's start, the same for every cursor within STEP characters."""
    if len(before) <= WINDOW:
        return 0
    earliest = len(before) - WINDOW
    stepped = -(-earliest // STEP) * STEP
    line = before.find("\n", stepped)
    return line + 1 if 0 <= line < len(before) - STEP else stepped
