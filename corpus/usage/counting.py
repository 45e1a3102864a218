"""Counts how often names are used in which contexts in one file. Keeps no text."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import final

from corpus.syntax.expressions import callee_end, expression_start, member_operator
from corpus.syntax.language import Language
from corpus.syntax.lexical import code, words
from corpus.syntax.origins import Origins, is_own
from corpus.syntax.parse import SyntaxDocument
from corpus.syntax.scopes import Scope, descendants, innermost, outline
from corpus.syntax.types import Types
from corpus.usage.contexts import import_contexts, member_contexts, name_contexts, previous

Uses = dict[str, Counter[str]]  # context -> name -> how often
_LONGEST_EXPRESSION = 200  # bytes of a receiver or a callee
_LONGEST_NAME = 60  # bytes
_SPACES = b" \t\r\n\f\\"


@dataclass(kw_only=True, slots=True)
class _Open:
    """An open bracket: its offset, and the offset at which its latest argument starts."""

    at: int
    argument: int
    starts: int
    callee: tuple[str, str] | None = None  # the callee and its origin, computed on demand


def uses(data: bytes, language: Language) -> Uses:
    """Count the names of a file by their contexts."""
    document = SyntaxDocument(data, language)
    found: Uses = defaultdict(Counter)
    tree = document.tree
    if tree is None:
        return found
    root = outline(document, tree, data)
    reader = _File(data, language, root)
    for name, contexts in reader.names():
        for context in contexts:
            found[context][name] += 1
    return found


@final
class _File:
    """One file, with what is computed once for all its names."""

    def __init__(self, data: bytes, language: Language, root: Scope) -> None:
        self.data, self.language, self.root = data, language, root
        self.masked = code(data, language).masked
        self.types = Types(root, language)
        self.origins = Origins(self.types)
        self._classes: dict[tuple[str, int], str] = {}
        self._imports: set[int] = set()
        self._declared: set[int] = set()

    def names(self) -> Iterator[tuple[str, list[str]]]:
        """Yield each use of a name with its contexts."""
        yield from self._bound()
        data, masked, language = self.data, self.masked, self.language
        lines = {data.count(b"\n", 0, at) for at in self._imports}
        keywords = language.lexis.keywords
        last_of_operator = frozenset(operator.encode()[-1] for operator in language.member_operators)
        stack: list[_Open] = []
        line, counted = 0, 0
        for match in _tokens(language).finditer(masked):
            start, end = match.span()
            byte = masked[start]
            if byte in b"([{":
                stack.append(_Open(at=start, argument=0, starts=end))
            elif byte in b")]}":
                if stack:
                    stack.pop()
            elif byte == 0x2C:
                if stack:
                    stack[-1].argument += 1
                    stack[-1].starts = end
            elif start not in self._declared and end - start <= _LONGEST_NAME and not 0x30 <= byte <= 0x39:
                line += data.count(b"\n", counted, start)
                counted = start
                if line in lines or masked[start - 1 : start] == b"'":  # of a lifetime
                    continue
                if language.types.stated and self._imports_here(start):
                    lines.add(line)
                    continue
                name = data[start:end].decode("utf-8", "replace")
                may_be_member = start > 0 and masked[start - 1] in last_of_operator
                operator = member_operator(masked, start, language) if may_be_member else -1
                if operator >= 0:
                    contexts = self._of_member(start, operator)
                elif name in keywords:
                    continue
                else:
                    contexts = self._of_name(start, stack[-1] if stack else None)
                if contexts:
                    yield name, contexts

    def _bound(self) -> list[tuple[str, list[str]]]:
        """Return the imported names with their contexts. Notes the offsets of declared names and of imports."""
        imported: list[tuple[str, list[str]]] = []
        for scope in (self.root, *descendants(self.root)):
            for offset, binding in scope.bindings():
                if binding.kind == "narrowed":
                    continue
                if binding.kind == "import":
                    self._imports.add(offset)
                    module, _, name = binding.origin.rpartition(".")
                    if self.language.lexis.imports and not is_own(binding.origin) and name:
                        imported.append((name, import_contexts(module)))
                if binding.kind != "member":
                    self._declared.add(offset)
        return imported

    def _imports_here(self, start: int) -> bool:
        """Whether a name at `start` is imported, as far as its line says."""
        before = self.masked[self.masked.rfind(b"\n", 0, start) + 1 : start]
        return len(before) <= _LONGEST_EXPRESSION and any(
            pattern.search(before) for pattern in self.language.lexis.imports
        )

    def _of_member(self, start: int, operator: int) -> list[str]:
        end = operator
        while end > 0 and self.masked[end - 1] in _SPACES:
            end -= 1
        first = expression_start(self.masked, end, self.language)
        if not 0 < end - first <= _LONGEST_EXPRESSION:
            return member_contexts("", "", "", self.language)
        receiver = self.data[first:end].decode("utf-8", "replace")
        scope = innermost(self.root, start)
        key = receiver, scope.start
        if key not in self._classes:
            self._classes[key] = self.types.of(receiver, start)
        return member_contexts(self.origins.of(receiver, start), self._classes[key], receiver, self.language)

    def _of_name(self, start: int, opened: _Open | None) -> list[str]:
        token = previous(self.data[max(0, start - 64) : start], self.language)
        if self.language.types.stated and token in self.language.lexis.declaration_keywords:
            return []  # a new name, even if no scope has it: `package main`
        callee = origin = ""
        argument: int | str | None = None
        if opened is not None and self.masked[opened.at] == 0x28:
            if opened.callee is None:
                opened.callee = self._callee(opened.at)
            callee, origin = opened.callee
            argument = opened.argument
            assigned = _keyword_argument(self.language).match(self.masked, opened.starts, start)
            if assigned:
                argument = assigned[1].decode("utf-8", "replace")
        return name_contexts(token, callee, origin, argument, self.language)

    def _callee(self, opened: int) -> tuple[str, str]:
        end = callee_end(self.masked, opened, self.language)
        first = expression_start(self.masked, end, self.language)
        if not 0 < end - first <= _LONGEST_EXPRESSION:
            return "", ""
        if self.language.types.stated and first in self._declared:
            return "", ""  # a head, not a call
        callee = self.data[first:end].decode("utf-8", "replace").strip()
        if callee in self.language.lexis.constructors or callee in self.language.lexis.keywords:
            return "", ""
        return callee, self.origins.of(callee, first)


@cache
def _keyword_argument(language: Language) -> re.Pattern[bytes]:
    """Matches an argument's name and the mark after it; nothing where arguments have no names."""
    mark = re.escape(language.lexis.argument_assignment.encode())
    return re.compile(rb"\s*([\w\x80-\xff]+)\s*%s(?!%s)" % (mark, mark) if mark else rb"(?!)")


@cache
def _tokens(language: Language) -> re.Pattern[bytes]:
    """Words, brackets and commas."""
    return re.compile(rb"%s|[()\[\]{},]" % words(language).rest.pattern.replace(b"]*", b"]+"))
