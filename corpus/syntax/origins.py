"""Where an expression comes from, in words that other projects would write too: `numpy.random`, `express().Router`.

An import's dotted name, or a name that this file does not bind, and the members, calls and elements that lead on from there.
Says nothing ('') of what the project itself defines. Resolves nothing outside the file.
"""

from __future__ import annotations

import re
from typing import final

from corpus.syntax.annotations import path_of
from corpus.syntax.expressions import callee_end, expression_start, member_operator, opening_bracket
from corpus.syntax.lexical import code, is_identifier, word_start
from corpus.syntax.scopes import Binding, Scope, innermost
from corpus.syntax.types import Types

CALLED, ELEMENT = "()", "[]"
_DEEPEST = 6  # maximum number of steps from one expression to another
_LONGEST = 120  # maximum characters of an expression or origin: other projects don't have longer ones
_DOTTED = re.compile(r"[\w$]+(?:\s*\.\s*[\w$]+)*")


@final
class Origins:
    """Finds the origins of expressions in one file. Results are cached by expression and scope."""

    def __init__(self, types: Types) -> None:
        self._types = types
        self._language = types.language
        self._rules = types.language.types
        self._known: dict[tuple[str, int], str] = {}

    def of(self, expression: str, at: int) -> str:
        """Return the origin of an expression at byte offset `at`; '' if the project itself defines it or it is unknown."""
        if not expression or len(expression) > _LONGEST:
            return ""
        return self._of(expression, at, innermost(self._types.root, at), 0)

    def base(self, at: int) -> str:
        """Return the origin of an instance of the base class of the class around `at`."""
        cls = self._types.enclosing_class(at)
        if cls is None:
            return ""
        named = path_of(cls.local.base, self._rules) if self._rules.stated else cls.local.base
        origin = self._of(named, cls.start, innermost(self._types.root, cls.start), 1)
        return origin and origin + CALLED

    def _of(self, expression: str, at: int, scope: Scope, depth: int) -> str:
        key = (expression, scope.start)
        known = self._known.get(key)
        if known is None:
            self._known[key] = ""  # an expression that depends on itself has no origin
            known = self._resolved(expression, at, scope, depth) if depth <= _DEEPEST else ""
            known = known if len(known) <= _LONGEST else ""
            self._known[key] = known
        return known

    def _resolved(self, expression: str, at: int, scope: Scope, depth: int) -> str:
        found = self._followed(expression, at, scope, depth)
        return found or (self._of_class(expression, at, depth) if self._rules.stated else "")

    def _followed(self, expression: str, at: int, scope: Scope, depth: int) -> str:
        """Return the origin that the parts of an expression lead to."""
        text = self._bare(expression)
        if is_identifier(text, self._language):
            return self._name(text, at, depth)
        raw = text.encode("utf-8", "surrogatepass")
        masked = code(raw, self._language).masked
        for pattern in self._rules.casts if self._rules.stated else ():
            cast = pattern.search(masked)
            if cast is not None:
                return self._instance(raw[cast.start("type") : cast.end("type")].decode("utf-8", "replace"), at, depth)
        end = len(masked)
        if not end or expression_start(masked, end, self._language) != 0:
            return ""
        last = masked[-1:]
        if last in (b")", b"]"):
            opened = opening_bracket(masked, end)
            if opened <= 0:
                return ""
            owner = raw[: callee_end(masked, opened, self._language)].decode("utf-8", "replace")
            found = self._of(owner, at, scope, depth + 1)
            if last == b")":
                return self._called(found) if found else self._returned(owner, at, depth)
            return found and found + ELEMENT
        start = word_start(masked, end, self._language)
        operator = member_operator(masked, start, self._language)
        if operator <= 0:
            return ""
        name = raw[start:].decode("utf-8", "replace")
        owner = raw[:operator].decode("utf-8", "replace").strip()
        if owner in self._language.lexis.self_names:
            return self._field(self._types.holder(at), name, depth)
        found = self._of(owner, at, scope, depth + 1)
        if found or not self._rules.stated:
            return f"{found}.{name}" if found else ""
        return self._field(self._types.of(owner, at), name, depth)

    def _called(self, origin: str) -> str:
        """Return the origin of what a function returns: a class's own function that makes an instance returns that."""
        makers = self._rules.makers
        return (makers.sub("", origin) if makers else origin) + CALLED

    def _returned(self, callee: str, at: int, depth: int) -> str:
        """Return the origin of what a function of this file says that it returns."""
        function = self._types.function(callee, at) if self._rules.stated else None
        return self._instance(function.local.type, function.start, depth) if function is not None else ""

    def _bare(self, expression: str) -> str:
        """Remove words and marks that do not change the origin of an expression."""
        text = expression.strip()
        words = (*self._rules.transparent, self._language.lexis.creation)
        for word in filter(None, words):
            if text.startswith(word + " "):
                text = text[len(word) :].strip()
        for mark in self._rules.assertions:
            text = text.removesuffix(mark)
        return text.removeprefix(self._language.lexis.root_prefix)

    def _name(self, name: str, at: int, depth: int) -> str:
        lexis = self._language.lexis
        if name in lexis.self_names or (self._rules.stated and name == lexis.super_call):
            return self.base(at) if depth <= _DEEPEST else ""
        found = [item for item in self._types.bindings(name, at) if item[1].kind != "narrowed"]
        found = [item for item in found if item[1].type != name]  # a field that has the name of its class
        if not found:
            # Where types are written, a class may stand below the head of a function that names it.
            own = name in lexis.own_modules or (self._rules.stated and name in self._types.classes)
            return "" if own else name
        offset, binding, _ = found[0]
        return self._bound(offset, binding, depth)

    def _bound(self, offset: int, binding: Binding, depth: int) -> str:
        if binding.kind == "import":
            return "" if is_own(binding.origin) else binding.origin
        if binding.type and binding.type not in self._rules.inferred:
            return self._instance(binding.type, offset, depth)
        if binding.value and len(binding.value) <= _LONGEST:
            return self._of(binding.value, offset, innermost(self._types.root, offset), depth + 1)
        if binding.owner and binding.key:
            owner = self._of(binding.owner, offset, innermost(self._types.root, offset), depth + 1)
            return f"{owner}.{binding.key}" if owner else ""
        return ""

    def _instance(self, annotation: str, offset: int, depth: int) -> str:
        """Return the origin of an annotation: an instance of its class."""
        dotted = _DOTTED.fullmatch(annotation.strip())
        if self._rules.stated:
            named = path_of(annotation, self._rules)
        else:
            named = annotation.strip() if dotted else self._types.annotation(annotation)
        if not named:
            return ""
        if named in self._rules.self_types:
            return self.base(offset)
        origin = self._of(named, offset, innermost(self._types.root, offset), depth + 1)
        return origin and origin + CALLED

    def _of_class(self, expression: str, at: int, depth: int) -> str:
        """Return the origin of an instance of the class that an expression has; '' if this file defines the class."""
        if expression in self._language.lexis.self_names:
            return ""
        cls = self._types.of(expression, at)
        known = is_identifier(cls, self._language) and cls not in self._types.classes
        return self._instance(cls, at, depth) if known else ""

    def _field(self, cls: str, name: str, depth: int) -> str:
        """Return the origin of a field of a class that this file defines."""
        for offset, binding, _ in self._types.members(cls) if cls else ():
            if binding.name == name and binding.kind != "function":
                found = self._bound(offset, binding, depth + 1)
                if found:
                    return found
        return ""


def is_own(origin: str) -> bool:
    """Whether an import is of the project itself: a path, or a relative import."""
    return origin[:1] in (".", "/", "~", "#", "") or origin.startswith("@/")
