"""Names of classes, guessed from one file's text: annotations, constructors, literals, imports.

Resolves nothing outside the file and is silent ('') rather than wrong: the wrapped server knows types, this feeds a
ranking. A class is named by the last part of its dotted name; a module by its whole dotted name.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import final

from corpus.syntax.language import Language
from corpus.syntax.lexical import code, expression_start, member_operator
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
        return {scope.name: scope for scope in descendants(self.root) if scope.kind == "class"}

    def of(self, expression: str, at: int, depth: int = 0) -> str:
        """The class of an expression that stands at byte offset `at`, or the module that it names; '' if unknown."""
        text = self._plain(expression)
        if not text or depth > _DEEPEST:
            return ""
        raw = text.encode("utf-8", "surrogatepass")
        masked = code(raw, self.language).masked
        if expression_start(masked, len(masked), self.language) != 0:
            return ""
        if text == self.language.lexis.super_call:
            cls = self.enclosing_class(at)
            return self.annotation(cls.local.base) if cls else ""
        if masked.endswith(b")"):
            opened = _last_open(masked)
            return self._call(raw[:opened].decode("utf-8", "replace"), raw, at, depth)
        if masked.endswith(b"]") and not masked.startswith(b"["):
            return ""
        literal = self._literal(raw, masked)
        if literal:
            return literal
        owner, name = self._split(raw, masked)
        if not owner:
            return self._name(name, at, depth)
        return self._module(text, at) or self._member(self.of(owner, at, depth + 1), name, depth)

    def annotation(self, text: str) -> str:
        """The class that an annotation means, when it means one: `Optional[X]`, `X | None`, `"X"` are X."""
        for _ in range(_DEEPEST):
            text = text.strip().strip("\"'").strip()
            head, bracket, rest = text.partition("[")
            name = head.strip().rpartition(".")[2]
            if bracket and name in self.rules.unwrapped and rest.rstrip().endswith("]"):
                text = rest.rstrip()[:-1]
                continue
            parts = [part for part in self._alternatives(text) if part not in self.rules.nothing]
            if not parts:
                return ""
            if parts[0] != text:
                text = parts[0]
                continue
            return name if name.isidentifier() else ""
        return ""

    def enclosing_class(self, at: int) -> Scope | None:
        return next((scope for scope in innermost(self.root, at).chain() if scope.kind == "class"), None)

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
        raw = callee.encode("utf-8", "surrogatepass")
        owner, name = self._split(raw, code(raw, self.language).masked)
        if owner:
            cls = self.classes.get(self.of(owner, at, depth + 1))
            return _child(cls, name) if cls else None
        for _, binding, scope in self.bindings(name, at)[:1]:
            found = _child(scope, name) if binding.kind in ("function", "class") else None
            if found is not None and found.kind == "class":
                makers = (_child(found, maker) for maker in self.language.lexis.constructors)
                return next((maker for maker in makers if maker), None)
            return found
        return None

    def parameters(self, function: Scope) -> list[Parameter]:
        """Parameters as a caller sees them: a method's own instance is left out."""
        found = [(offset, b) for offset, b in function.bindings() if b.kind == "parameter"]
        found.sort(key=lambda item: item[0])
        listed = [Parameter(name=b.name, type=b.type) for _, b in found]
        method = function.parent is not None and function.parent.kind == "class"
        return listed[1:] if method and listed and listed[0].name in self.language.lexis.self_names else listed

    def _plain(self, expression: str) -> str:
        text = expression.strip()
        for word in self.rules.transparent:
            if text.startswith(word + " "):
                text = text[len(word) :].strip()
        return text

    def _alternatives(self, text: str) -> list[str]:
        """The members of a union, none of its operators being inside brackets."""
        parts, level = [""], 0
        for character in text:
            level += (character in "[(") - (character in "])")
            if level == 0 and character in self.rules.union_operators:
                parts.append("")
            else:
                parts[-1] += character
        return [part.strip() for part in parts]

    def _literal(self, raw: bytes, masked: bytes) -> str:
        if masked[:1].isalpha() and not masked.endswith(b'"') and masked.rfind(b'"') >= 0:
            return ""
        return next((name for pattern, name in self.rules.literals if pattern.match(raw)), "")

    def _split(self, raw: bytes, masked: bytes) -> tuple[str, str]:
        """Owner and last name of a dotted expression; the owner is '' when there is no operator."""
        start = len(masked.rstrip())
        while start > 0 and (
            masked[start - 1 : start].isalnum() or masked[start - 1] in b"_" or masked[start - 1] > 127
        ):
            start -= 1
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

    def _name(self, name: str, at: int, depth: int) -> str:
        if name in self.language.lexis.self_names:
            cls = self.enclosing_class(at)
            if cls is not None:
                return cls.name
        found = self.bindings(name, at)
        narrowed = [item for item in found if item[1].kind == "narrowed"]
        for offset, binding, scope in narrowed:
            group = offset - binding.offset
            if binding.region is None or binding.region[0] <= at - group < binding.region[1]:
                newer = any(o > offset and b.kind != "narrowed" for o, b, _ in found)
                if not newer:
                    return self._bound(offset, binding, scope, depth)
        plain = [item for item in found if item[1].kind != "narrowed"]
        for offset, binding, scope in plain[:_TRIED]:
            known = self._bound(offset, binding, scope, depth)
            if known:
                return known
        return ""

    def _bound(self, offset: int, binding: Binding, scope: Scope, depth: int) -> str:
        if binding.kind == "class":
            return binding.name
        if binding.kind == "import":
            return self._module(binding.name, offset + 1)
        if binding.type:
            known = self.annotation(binding.type)
            cls = self.enclosing_class(scope.start) or self.enclosing_class(offset)
            return cls.name if known in self.rules.self_types and cls else known
        return self.of(binding.value, offset, depth + 1) if binding.value else ""

    def _member(self, owner: str, name: str, depth: int) -> str:
        cls = self.classes.get(owner)
        if cls is None:
            return ""
        named = [
            m for m in members(cls, self.language.lexis.self_names) if m[1].name == name and m[1].kind != "function"
        ]
        for offset, binding, scope in named[:_TRIED]:
            known = self._bound(offset, binding, scope, depth)
            if known:
                return known
        return ""

    def _call(self, callee: str, raw: bytes, at: int, depth: int) -> str:
        if not callee:
            inner = raw[1:-1]
            plain = b"," not in code(inner, self.language).masked
            return self.of(inner.decode("utf-8", "replace"), at, depth + 1) if plain else self._literal(raw, raw)
        function = self.function(callee, at, depth)
        if function is not None and function.name not in self.language.lexis.constructors:
            known = self.annotation(function.local.type)
            holder = function.parent
            return holder.name if known in self.rules.self_types and holder else known
        encoded = callee.encode("utf-8", "surrogatepass")
        owner, name = self._split(encoded, code(encoded, self.language).masked)
        bound = None if owner else next(iter(self.bindings(name, at)), None)
        if not owner and bound is None and name in self.rules.calls:
            return self.rules.calls[name]
        if bound is not None and bound[1].kind == "class":
            return name
        if bound is not None and bound[1].kind == "import":
            name = bound[1].origin.rpartition(".")[2]
        return name if self.rules.type_name.match(name) else ""


def visible_scopes(scope: Scope, language: Language) -> list[Scope]:
    """The scopes whose names are visible in `scope`, innermost first."""
    return [
        outer
        for outer in scope.chain()
        if outer is scope or outer.kind != "class" or language.lexis.class_names_visible
    ]


def is_name(binding: Binding) -> bool:
    """Whether a binding makes a name of its scope, or says something of one."""
    return binding.kind not in ("member", "property")


def _child(scope: Scope, name: str) -> Scope | None:
    """The last function or class of this name in a scope."""
    return max((child for child in scope.children if child.name == name), key=lambda c: c.start, default=None)


def _last_open(masked: bytes) -> int:
    """Offset of the bracket that the last, closing, byte closes; the text is balanced."""
    level = 0
    for position in range(len(masked) - 1, -1, -1):
        level += (masked[position] in b")]}") - (masked[position] in b"([{")
        if level == 0:
            return position
    return 0
