"""One document: its text and its tree, parsed when asked for and re-parsed where it changed.

Never raises on broken text. Above `TREE_LIMIT` bytes, without a language, or where parsing takes longer than any
real text's (some grammars go over an unclosed comment again and again), it has no tree.
"""

from __future__ import annotations

import time
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, final

from corpus.syntax.language import Language
from corpus.syntax.tables import LanguageError
from corpus.syntax.text import SourceText

if TYPE_CHECKING:
    import tree_sitter

TREE_LIMIT = 2 * 1024 * 1024  # bytes; a first parse of this much takes about half a second
PARSE_SECONDS = 2.0  # of this thread's own time
LARGE = 8192  # bytes; less than this ends in time, whatever it is
PASTED = 4096  # bytes that come at once: the text is tried again, as it was at first


@final
class SyntaxDocument:
    """The bytes of one document and, lazily, their tree. `data` is UTF-8, lone surrogates as `surrogatepass` does."""

    def __init__(self, data: bytes, language: Language | None) -> None:
        self.text = SourceText(data)
        self.language = language
        self._tree: tree_sitter.Tree | None = None
        self._stale = True
        self._timed = True  # whether the next parse may be one that takes too long
        self._hopeless = False  # one did; not tried again until the text is another

    @property
    def has_tree(self) -> bool:
        return self.language is not None and len(self.text.data) <= TREE_LIMIT and not self._hopeless

    @property
    def tree(self) -> tree_sitter.Tree | None:
        """The tree of the text as it is now; None without a language or above the limit."""
        if self.language is None or not self.has_tree:
            self._tree = None
            return None
        if self._tree is None or self._stale:
            data = self.text.data
            self._hopeless = self._timed and len(data) >= LARGE and not _ends_in_time(self.language, data)
            self._tree = None if self._hopeless else _parsed(self.language, data, self._tree)
            self._stale = self._timed = False
        return self._tree

    def edit(self, start: int, end: int, new: bytes) -> None:
        """Put `new` in place of the bytes from `start` to `end`; the tree follows when next asked for."""
        start = max(0, min(start, len(self.text.data)))
        end = max(start, min(end, len(self.text.data)))
        old = self.text.data
        self._hopeless &= end - start < len(old)
        self._timed |= len(new) >= PASTED
        self.text.replace(start, end, new)
        if self._tree is not None:
            _tell(self._tree, old, start, end, self.text.data, start + len(new))
        self._stale = True

    def tree_with(self, offset: int, inserted: bytes) -> tree_sitter.Tree | None:
        """The tree that the text would have with `inserted` at `offset`. Changes nothing."""
        tree = self.tree
        if tree is None or self.language is None:
            return None
        old = self.text.data
        new = b"".join((old[:offset], inserted, old[offset:]))
        copy = tree.copy()
        _tell(copy, old, offset, offset, new, offset + len(inserted))
        return _parsed(self.language, new, copy)


@cache
def grammar(language: Language) -> tree_sitter.Language:
    """The language's grammar. LanguageError when its module is missing or is not a grammar."""
    import tree_sitter

    try:
        module, _, function = language.grammar.partition(":")
        return tree_sitter.Language(getattr(import_module(module), function or "language")())  # pyright: ignore[reportDeprecated]
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise LanguageError(language.folder / "language.toml", f"grammar {language.grammar}: {error}") from error


@cache
def _parser(language: Language) -> tree_sitter.Parser:
    import tree_sitter

    return tree_sitter.Parser(grammar(language))


def _parsed(language: Language, data: bytes, old: tree_sitter.Tree | None) -> tree_sitter.Tree:
    """The tree of `data`. `old` has been told of the edits since."""
    parser = _parser(language)
    return parser.parse(data) if old is None else parser.parse(data, old)


def _ends_in_time(language: Language, data: bytes) -> bool:
    """Whether a parse of `data` ends within PARSE_SECONDS: one that could be given up on is tried, and thrown away.

    Only a text that is read through a function can be given up on. tree-sitter (0.26) never lets go of what that
    function returned, so it gets a view that is taken back; and such a tree can't answer a query's predicates.
    """
    parser = _parser(language)
    until = time.thread_time() + PARSE_SECONDS
    views: list[memoryview] = []

    def read(offset: int, _: object) -> memoryview:
        views.append(memoryview(data)[offset:])
        return views[-1]

    def too_long(*_: object) -> bool:
        return time.thread_time() > until

    try:
        # The stubs know bytes alone; what has a buffer is read.
        return parser.parse(read, progress_callback=too_long) is not None  # pyright: ignore
    except ValueError:
        parser.reset()
        return False
    finally:
        for view in views:
            view.release()


def _tell(tree: tree_sitter.Tree, old: bytes, start: int, old_end: int, new: bytes, new_end: int) -> None:
    """Tell a tree of an edit."""
    at = _point(old, start)
    tree.edit(start, old_end, new_end, at, _point(old, old_end), _point(new, new_end))


def _point(data: bytes, offset: int) -> tuple[int, int]:
    """Row and column as tree-sitter counts them: its rows end in \\n alone, unlike LSP's lines."""
    return data.count(b"\n", 0, offset), offset - (data.rfind(b"\n", 0, offset) + 1)
