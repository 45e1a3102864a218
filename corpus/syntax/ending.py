"""How a statement that breaks off at the cursor would end, so that what stands below it keeps its place in the tree.

Changes no text: what it returns is for a tree that is parsed once and thrown away.
"""

from __future__ import annotations

from corpus.syntax.expressions import Bracket, open_brackets
from corpus.syntax.language import Language

_OPENS = {ord(")"): ord("("), ord("]"): ord("["), ord("}"): ord("{")}
_CLOSES = {opens: bytes([closes]) for closes, opens in _OPENS.items()}
_CONTINUES = b".,&|?:+*/%=<>^)]"  # first bytes of a line that goes on with the expression before it
_LONGEST = 200  # bytes of what is added
_BEFORE_LITERALS = (b"(", b"[", b"]", b",", b":", b"=", b"?", b"return")  # a brace after one encloses no statements


def ending(masked: bytes, brackets: list[Bracket], text: bytes, after: bytes, language: Language) -> bytes:
    """Closing brackets and a separator; b'' where the line goes on, or the next one goes on with the expression.

    `brackets` are those that `open_brackets` finds in `masked`, the masked `text` before the cursor; `after` is the
    text from the cursor on. A brace counts as open when the next line is not indented as what is in it must be.
    """
    if not language.lexis.braces:
        return b""
    same_line, indent, rest = _next_line(after, language)
    following = rest[0] if rest else 0
    mismatched = following in _OPENS and bool(brackets) and masked[brackets[-1].at] != _OPENS[following]
    if same_line and not mismatched:
        return b""
    goes_on = following != 0 and following in _CONTINUES and not mismatched
    end = language.lexis.statement_end.encode()
    depth, closers = len(brackets), b""
    while depth and len(closers) < _LONGEST:
        at = brackets[depth - 1].at
        if masked[at] == ord("{"):
            if same_line or not _is_unclosed(masked, at, indent, rest, language):
                break
            if depth == 1:
                brackets = open_brackets(masked, language, all_of_them=True)
                depth = next((i for i, bracket in enumerate(brackets, 1) if bracket.at == at), 1)
            closers += (b"" if _is_literal(masked, at) else end) + b"}"
        else:
            if (goes_on and not closers) or (closers and _OPENS.get(following) == masked[at]):
                return closers
            closers += _interpolation_end(text, at, language) or _CLOSES[masked[at]]
        depth -= 1
    if not closers and (goes_on or language.lexis.newline_ends):
        return b""
    return closers + (b"," if depth and _is_literal(masked, brackets[depth - 1].at) else end)


def _next_line(after: bytes, language: Language) -> tuple[bool, int, bytes]:
    """Whether code follows on the cursor's own line; else how far the next line of code is indented, and that line.

    -1 and b'' when no code follows.
    """
    passed_over = (language.line_comment.encode(), b"#", *(opens.encode() for opens, _ in language.block_comments))
    for number, line in enumerate(after.split(b"\n")):
        code = line.strip()
        if code and (number == 0 or not code.startswith((*passed_over, b"*"))):
            return number == 0, len(line) - len(line.lstrip()), code
    return False, -1, b""


def _is_unclosed(masked: bytes, at: int, indent: int, rest: bytes, language: Language) -> bool:
    """Whether the next line of code, by its indentation, stands outside the brace at `at`."""
    if not rest:
        return True
    start = max(masked.rfind(mark, 0, at) for mark in (b";", b"{", b"}")) + 1
    first = at - len(masked[start:at].lstrip())
    own = _indentation(masked, first)
    indented = b"\n" not in masked[at:] or _indentation(masked, len(masked)) > own  # or nothing can be told
    if not indented or indent > own:
        return False
    word = rest.split(b":")[0].split(maxsplit=1)
    labels = language.lexis.block_labels
    return indent < own or not (rest[0] in _OPENS or (word and word[0].decode("utf-8", "replace") in labels))


def _indentation(masked: bytes, position: int) -> int:
    """Spaces before the first code on the line of `position`."""
    line = masked[masked.rfind(b"\n", 0, position) + 1 :].split(b"\n", 1)[0]
    return len(line) - len(line.lstrip())


def _is_literal(masked: bytes, at: int) -> bool:
    return masked[max(0, at - 100) : at].rstrip().endswith(_BEFORE_LITERALS)


def _interpolation_end(text: bytes, at: int, language: Language) -> bytes:
    """What ends an interpolation, and the literal around it, whose bracket is at `at`; b'' when none is there."""
    for form in language.lexis.strings if text[at : at + 1] != b"[" else ():
        for opens, closes in zip(form.interpolation[::2], form.interpolation[1::2], strict=True):
            if form.nested and text.endswith(opens.encode(), 0, at + 1):
                return (closes + form.close).encode()
    return b""
