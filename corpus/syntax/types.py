"""Names of classes, guessed from one file's text: annotations, constructors, literals, imports.

Resolves nothing outside the file and is silent ('') rather than wrong: the wrapped server knows types, this feeds a
ranking. A class is named by the last part of its dotted name; a module by its whole dotted name.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import final

from corpus.syntax.annotations import NONE, class_of, element_of
from corpus.syntax.expressions import before_type_arguments, callee_end, expression_start, member_operator
from corpus.syntax.language import Language
from corpus.syntax.lexical import code, word_start
from corpus.syntax.scopes import Binding, Scope, descendants, innermost, members

_DEEPEST = 6  # steps from one expression to another
_TRIED = 4  # latest bindings of a name that are looked at


@final
@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A parameter of a function in this file; `type` as written, '' when not annotated."""

    name: str
    type: str


@final
class Types:
    """What the scopes of one file say of the class of a name or an expression."""

    def __init__(self, root: Scope, language: Language) -> None:
        self.root = root
        self.language = language
        self.rules = language.types

    @cached_property
    def classes(self) -> dict[str, Scope]:
        known = descendants(self.root)
        return {scope.name: scope for scope in known if scope.kind in ("class", "object") and scope.name}

    @cached_property
    def parts(self) -> dict[str, list[Scope]]:
        """What stands outside of a class and belongs to it: single methods, and bodies full of them."""
        found: dict[str, list[Scope]] = {}
        for scope in descendants(self.root):
            if scope.local.owner:
                found.setdefault(self.annotation(scope.local.owner), []).append(scope)
        return found

    def members(self, name: str) -> list[tuple[int, Binding, Scope]]:
        """What the class of this name has as far as this file says: (offset, binding, scope it stands in)."""
        found: list[tuple[int, Binding, Scope]] = []
        for part in self._standing(name):
            method = Binding(name=part.name, kind=part.kind, offset=0)
            alone = part.kind == "function"
            found += [(part.start, method, part)] if alone else members(part, self.language.lexis.self_names)
        return found

    def _standing(self, name: str) -> list[Scope]:
        """Where a class stands: its own body, and its parts elsewhere."""
        own = self.classes.get(name)
        return [*([own] if own is not None else []), *self.parts.get(name, ())]

    @cached_property
    def objects(self) -> frozenset[str]:
        """Names that are bound to a literal whose members this file shows."""
        return frozenset(scope.name for scope in self.classes.values() if scope.kind == "object")

    def _shown(self, binding: Binding, scope: Scope) -> bool:
        """Whether a name is known by the literal that this very binding binds it to."""
        if binding.type or binding.name not in self.objects:
            return False
        return binding.kind == "variable" and self.classes[binding.name] in scope.children

    def of(self, expression: str, at: int, depth: int = 0, opened: frozenset[str] = NONE) -> str:
        """The class of an expression that stands at byte offset `at`, or the module that it names; '' if unknown.

        `opened` names generics that stand for their first argument here.
        """
        text, awaited = self._plain(expression)
        opened = opened or (self.rules.awaited if awaited else NONE)
        if not text or depth > _DEEPEST:
            return ""
        raw = text.encode("utf-8", "surrogatepass")
        masked = code(raw, self.language).masked
        for pattern in self.rules.casts:
            cast = pattern.search(masked)
            if cast is not None:
                return class_of(raw[cast.start("type") : cast.end("type")].decode("utf-8", "replace"), self.rules)
        if expression_start(masked, len(masked), self.language) != 0:
            return ""
        named = before_type_arguments(masked, len(masked), self.language)
        if 0 < named < len(masked):
            return self.of(raw[:named].decode("utf-8", "replace"), at, depth + 1, opened)
        if text == self.language.lexis.super_call:
            cls = self.enclosing_class(at)
            return self.annotation(cls.local.base) if cls else ""
        created = self._created(text, masked)
        if created:
            return created
        if masked.endswith(b")"):
            end = callee_end(masked, _last_open(masked), self.language)
            return self._call(raw[:end].decode("utf-8", "replace"), raw, at, depth, opened)
        if masked.endswith(b"]") and not masked.startswith(b"["):
            return self._element(raw[: _last_open(masked)].decode("utf-8", "replace"), at, depth)
        literal = self._literal(raw, masked)
        if literal:
            return literal
        owner, name = self._split(raw, masked)
        if not owner:
            return self._name(name, at, depth, opened)
        return self._module(text, at) or self._member(self.of(owner, at, depth + 1), name, depth, opened)

    def annotation(self, text: str, opened: frozenset[str] = NONE) -> str:
        """The class that an annotation in this file means."""
        return class_of(text, self.rules, opened)

    def enclosing_class(self, at: int) -> Scope | None:
        return next((scope for scope in innermost(self.root, at).chain() if scope.kind == "class"), None)

    def holder(self, at: int) -> str:
        """The class whose instance a method around `at` has."""
        for scope in innermost(self.root, at).chain():
            if scope.kind == "class" or scope.local.owner:
                named = scope.local.owner or (scope.local.base if not scope.name else "")
                return self.annotation(named) if named else scope.name
        return ""

    def bindings(self, name: str, at: int) -> list[tuple[int, Binding, Scope]]:
        """Bindings of a name in the innermost scope that has one, the latest before `at` first."""
        scope = innermost(self.root, at)
        for outer in visible_scopes(scope, self.language):
            found = [(offset, b, outer) for offset, b in outer.bindings() if b.name == name and is_name(b)]
            before = [item for item in found if item[0] < at]
            if outer.kind != "block" and outer is not scope:
                before = before or found  # a function runs later than it is written
            if before:
                return sorted(before, key=lambda item: -item[0])
        return []

    def function(self, callee: str, at: int, depth: int = 0) -> Scope | None:
        """The function of this file that a call runs: a function, a method, or a class's constructor."""
        lexis = self.language.lexis
        if callee == lexis.super_call:
            cls = self.enclosing_class(at)
            return self._maker(self.classes.get(self.annotation(cls.local.base))) if cls is not None else None
        if lexis.creation and callee.startswith(lexis.creation + " "):
            return self._maker(self.classes.get(self.annotation(callee.removeprefix(lexis.creation))))
        raw = callee.encode("utf-8", "surrogatepass")
        owner, name = self._split(raw, code(raw, self.language).masked)
        if owner:
            return self._method(self.of(owner, at, depth + 1), name)
        for _, binding, scope in self.bindings(name, at)[:1]:
            found = _child(scope, name) if binding.kind in ("function", "class") else None
            return self._maker(found) if found is not None and found.kind == "class" else found
        return None

    def _method(self, cls: str, name: str) -> Scope | None:
        """The last method of this name that a class has."""
        named = [part if part.kind == "function" else _child(part, name) for part in self._standing(cls)]
        found = [scope for scope in named if scope is not None and scope.name == name]
        return max(found, key=lambda scope: scope.start, default=None)

    def _maker(self, cls: Scope | None) -> Scope | None:
        """The function that makes instances of a class."""
        if cls is None:
            return None
        makers = (_child(cls, maker) for maker in self.language.lexis.constructors or (cls.name,))
        return next((maker for maker in makers if maker), None)

    def parameters(self, function: Scope) -> list[Parameter]:
        """Parameters as a caller sees them: a method's own instance is left out."""
        found = [(offset, b) for offset, b in function.bindings() if b.kind in ("parameter", "slot")]
        found.sort(key=lambda item: item[0])
        listed = [Parameter(name=b.name, type=b.type) for _, b in found]
        method = function.parent is not None and function.parent.kind == "class"
        return listed[1:] if method and listed and listed[0].name in self.language.lexis.self_names else listed

    def _plain(self, expression: str) -> tuple[str, bool]:
        """The expression without what leaves its class what it is, and whether a transparent word was dropped."""
        text, awaited = expression.strip(), False
        for word in self.rules.transparent:
            if text.startswith(word + " "):
                text, awaited = text[len(word) :].strip(), True
        for mark in self.rules.assertions:
            text = text.removesuffix(mark)
        return text.removeprefix(self.language.lexis.root_prefix), awaited

    def _created(self, text: str, masked: bytes) -> str:
        """The class that an expression makes an instance of with the language's word for it."""
        word = self.language.lexis.creation
        if not word or not text.startswith(word) or not text[len(word) : len(word) + 1].isspace():
            return ""
        opening = masked.find(b"(")
        if opening >= 0:
            closing = _matching(masked, opening)
            rest = masked[closing + 1 :].strip()
            if closing < 0 or (rest and not rest.startswith(b"{")):
                return ""
        head = masked if opening < 0 else masked[:opening]
        return class_of(head[len(word) :].decode("utf-8", "replace"), self.rules)

    def _element(self, collection: str, at: int, depth: int) -> str:
        """The class of one element of an expression whose class is written with what it holds."""
        if not self.rules.elements or not collection:
            return ""
        text, _ = self._plain(collection)
        raw = text.encode("utf-8", "surrogatepass")
        masked = code(raw, self.language).masked
        if masked.endswith(b")"):
            function = self.function(raw[: _last_open(masked)].decode("utf-8", "replace"), at, depth + 1)
            return element_of(function.local.type, self.rules) if function is not None else ""
        owner, name = self._split(raw, masked)
        if owner:
            found = self.members(self.of(owner, at, depth + 1))
            named = [binding for _, binding, _ in found if binding.name == name]
        else:
            named = [binding for _, binding, _ in self.bindings(name, at)]
        return next((element_of(binding.type, self.rules) for binding in named[:_TRIED] if binding.type), "")

    def _literal(self, raw: bytes, masked: bytes) -> str:
        if masked[:1].isalpha() and not masked.endswith(b'"') and masked.rfind(b'"') >= 0:
            return ""
        return next((name for pattern, name in self.rules.literals if pattern.match(raw)), "")

    def _split(self, raw: bytes, masked: bytes) -> tuple[str, str]:
        """Owner and last name of a dotted expression; the owner is '' when there is no operator."""
        end = len(masked.rstrip())
        start = word_start(masked, end, self.language)
        name = raw[start:].decode("utf-8", "replace").strip()
        operator = member_operator(masked, start, self.language)
        return (raw[:operator].decode("utf-8", "replace").strip(), name) if operator >= 0 else ("", name)

    def _module(self, dotted: str, at: int) -> str:
        """The dotted origin of a name that comes from an import; its last part if that is a class by convention."""
        head, _, rest = dotted.partition(self.language.member_operators[0])
        for _, binding, _ in self.bindings(head.strip(), at)[:1]:
            if binding.kind == "import":
                origin = f"{binding.origin}.{rest}" if rest else binding.origin
                last = origin.rpartition(".")[2]
                return last if self.rules.type_name.match(last) else origin
        return ""

    def _name(self, name: str, at: int, depth: int, opened: frozenset[str] = NONE) -> str:
        if name in self.language.lexis.self_names:
            holder = self.holder(at)
            if holder:
                return holder
        found = self.bindings(name, at)
        narrowed = [item for item in found if item[1].kind == "narrowed"]
        for offset, binding, scope in narrowed:
            group = offset - binding.offset
            if binding.region is None or binding.region[0] <= at - group < binding.region[1]:
                newer = any(o > offset and b.kind != "narrowed" for o, b, _ in found)
                if not newer:
                    return self._bound(offset, binding, scope, depth, opened)
        plain = [item for item in found if item[1].kind != "narrowed"]
        for offset, binding, scope in plain[:_TRIED]:
            known = self._bound(offset, binding, scope, depth, opened)
            if known:
                return known
        return name if not found and self.rules.unbound_classes and self.rules.type_name.match(name) else ""

    def _bound(self, offset: int, binding: Binding, scope: Scope, depth: int, opened: frozenset[str] = NONE) -> str:
        if binding.kind == "class" or self._shown(binding, scope):
            return binding.name
        if binding.kind == "import":
            return self._module(binding.name, offset + 1)
        if binding.type and binding.type not in self.rules.inferred:
            known = self.annotation(binding.type, opened)
            if known in self.rules.self_types:
                return self.holder(scope.start) or self.holder(offset) or known
            return known
        if (binding.owner or binding.owner_type) and depth < _DEEPEST:
            owner = self.annotation(binding.owner_type) or self.of(binding.owner, offset, depth + 1)
            return self._member(owner, binding.key or binding.name, depth + 1)
        if binding.elements:
            return self._element(binding.elements, offset, depth + 1)
        return self.of(binding.value, offset, depth + 1, opened) if binding.value else ""

    def _member(self, owner: str, name: str, depth: int, opened: frozenset[str] = NONE) -> str:
        named = [m for m in self.members(owner) if m[1].name == name and m[1].kind != "function"]
        for offset, binding, scope in named[:_TRIED]:
            known = self._bound(offset, binding, scope, depth, opened)
            if known:
                return known
        return ""

    def _call(self, callee: str, raw: bytes, at: int, depth: int, opened: frozenset[str] = NONE) -> str:
        if not callee:
            inner = raw[1:-1]
            plain = b"," not in code(inner, self.language).masked
            inside = inner.decode("utf-8", "replace")
            return self.of(inside, at, depth + 1, opened) if plain else self._literal(raw, raw)
        function = self.function(callee, at, depth)
        if function is not None and function.name not in self.language.lexis.constructors:
            known = self.annotation(function.local.type, opened)
            return (self.holder(function.start) if known in self.rules.self_types else "") or known
        encoded = callee.encode("utf-8", "surrogatepass")
        owner, name = self._split(encoded, code(encoded, self.language).masked)
        bound = None if owner else next(iter(self.bindings(name, at)), None)
        if bound is None and (callee if owner else name) in self.rules.calls:
            return self.rules.calls[callee if owner else name]
        if bound is not None and bound[1].kind == "class":
            return name
        if bound is not None and bound[1].kind == "import":
            name = bound[1].origin.rpartition(".")[2]
        return name if self.rules.type_name.match(name) and not self.language.lexis.creation_only else ""


def visible_scopes(scope: Scope, language: Language) -> list[Scope]:
    """The scopes whose names are visible in `scope`, innermost first."""
    return [
        outer
        for outer in scope.chain()
        if outer is scope or outer.kind not in ("class", "object") or language.lexis.class_names_visible
    ]


def is_name(binding: Binding) -> bool:
    """Whether a binding makes a name of its scope, or says something of one."""
    return binding.kind not in ("member", "property", "field", "slot")


def _child(scope: Scope, name: str) -> Scope | None:
    """The last function or class of this name in a scope."""
    return max((child for child in scope.children if child.name == name), key=lambda c: c.start, default=None)


def _matching(masked: bytes, opening: int) -> int:
    """Offset of the bracket that closes the one at `opening`; -1 when it has none."""
    level = 0
    for position in range(opening, len(masked)):
        level += (masked[position] in b"([{") - (masked[position] in b")]}")
        if level == 0:
            return position
    return -1


def _last_open(masked: bytes) -> int:
    """Offset of the bracket that the last, closing, byte closes; the text is balanced."""
    level = 0
    for position in range(len(masked) - 1, -1, -1):
        level += (masked[position] in b")]}") - (masked[position] in b"([{")
        if level == 0:
            return position
    return 0
