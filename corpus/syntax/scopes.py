"""The scopes of a file and what they bind, from `locals.scm`. Says nothing of types beyond the text that states them.

A query over a whole file costs more than a keystroke may. So the tree is cut into chunks of about `CHUNK` bytes, a
chunk's facts are kept by its text with offsets relative to it, and after an edit only the chunks that changed are
queried again. That is sound because every pattern is rooted in one node and sees only what is inside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, final
from weakref import WeakKeyDictionary

from corpus.syntax.imports import bound_name, origin_of
from corpus.syntax.language import Language
from corpus.syntax.parse import SyntaxDocument
from corpus.syntax.queries import BINDINGS, SCOPES, query

if TYPE_CHECKING:
    import tree_sitter

CHUNK = 1500  # bytes
_KEPT = 6000  # bytes of a node whose facts are kept; what is larger is cut up, and has few of its own
_DEEPEST = 100  # levels of nodes that are cut up; below, a node is one chunk however large
_LONGEST = 2000  # bytes of an annotation, a value or a signature; longer ones are not looked at

Captures = dict[str, list["tree_sitter.Node"]]


@final
@dataclass(kw_only=True, slots=True)
class Binding:
    """One name bound in one place. `offset` (bytes) is relative to the chunk; texts are '' where nothing is said."""

    name: str
    kind: str
    offset: int
    type: str = ""
    value: str = ""
    owner: str = ""  # the expression of which `key` is the member that is bound
    owner_type: str = ""  # the annotation of that expression
    key: str = ""
    elements: str = ""  # the expression of which one element is bound
    origin: str = ""
    holder: str = ""  # of a member: the name that it is assigned on
    region: tuple[int, int] | None = None


@final
@dataclass(kw_only=True, slots=True)
class LocalScope:
    """One scope in a chunk, offsets relative to it. `entered` is where its header ends."""

    kind: str
    name: str = ""
    name_at: int = -1
    start: int = 0
    entered: int = 0
    end: int = 0
    signature_end: int = 0
    type: str = ""
    base: str = ""
    owner: str = ""  # the class that it belongs to, where it stands outside of that class
    parent: int = -1
    bindings: list[Binding] = field(default_factory=list[Binding])


@final
@dataclass(kw_only=True, slots=True, eq=False)
class Scope:
    """One scope in the file, offsets absolute."""

    local: LocalScope
    start: int
    end: int
    parent: Scope | None
    depth: int
    groups: list[tuple[int, list[Binding]]] = field(default_factory=list[tuple[int, list[Binding]]])
    children: list[Scope] = field(default_factory=list["Scope"])

    @property
    def kind(self) -> str:
        return self.local.kind

    @property
    def name(self) -> str:
        return self.local.name

    @property
    def signature(self) -> tuple[int, int]:
        return self.start, self.start + self.local.signature_end - self.local.start

    def bindings(self) -> Iterator[tuple[int, Binding]]:
        """(absolute offset, binding), in no particular order."""
        for base, group in self.groups:
            for binding in group:
                yield base + binding.offset, binding

    def chain(self) -> Iterator[Scope]:
        """This scope and those around it, innermost first."""
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.parent


@final
@dataclass(kw_only=True, slots=True)
class Chunk:
    """Facts of one stretch of the tree. `scopes[0]` stands for whatever scope the chunk itself is in."""

    scopes: list[LocalScope]


Chunks = dict[tuple[int, bytes], Chunk]
_kept: WeakKeyDictionary[SyntaxDocument, Chunks] = WeakKeyDictionary()


def outline(document: SyntaxDocument, tree: tree_sitter.Tree, data: bytes) -> Scope:
    """The file's own scope, all others below it. `data` is the text of `tree`: the document's, or a variation."""
    assert document.language is not None
    root = Scope(local=LocalScope(kind="module", end=len(data)), start=0, end=len(data) + 1, parent=None, depth=0)
    old = _kept.get(document, {})
    new: Chunks = {}
    pending: list[tuple[tree_sitter.Node, Scope, int]] = [(tree.root_node, root, 0)]
    while pending:
        node, scope, depth = pending.pop()
        start, end = node.start_byte, node.end_byte
        split = end - start > CHUNK and depth < _DEEPEST and node.child_count > 0
        key = (-node.kind_id if split else node.kind_id, data[start:end] if end - start <= _KEPT else b"")
        chunk = new.get(key) or old.get(key)
        if chunk is None:
            chunk = _chunk(document.language, node, data, own=split)
        if key[1] and not node.has_error:  # what an error hides depends on text outside the chunk
            new[key] = chunk
        opened = _place(chunk, start, scope)
        if split:
            pending.extend((child, _holding(child, opened), depth + 1) for child in node.children if child.child_count)
    _kept[document] = new
    return root


def innermost(root: Scope, offset: int) -> Scope:
    """The innermost scope that is entered at `offset`: a definition's header belongs to the scope around it."""
    scope = root
    while True:
        for child in scope.children:
            entered = child.start + child.local.entered - child.local.start
            if entered <= offset < child.end:
                scope = child
                break
        else:
            return scope


def descendants(scope: Scope) -> Iterator[Scope]:
    """Every scope below `scope`, outer before inner."""
    pending = list(scope.children)
    while pending:
        found = pending.pop()
        yield found
        pending.extend(found.children)


def members(cls: Scope, self_names: frozenset[str]) -> Iterator[tuple[int, Binding, Scope]]:
    """What a class defines in its body or assigns on its own instances: (offset, binding, scope it stands in)."""
    pending = [cls]
    while pending:
        scope = pending.pop()
        for offset, binding in scope.bindings():
            own = binding.kind == "member"
            if (own and binding.holder in self_names) or (not own and scope is cls) or binding.kind == "field":
                yield offset, binding, scope
        pending.extend(child for child in scope.children if child.kind not in ("class", "object"))


def _place(chunk: Chunk, base: int, scope: Scope) -> list[Scope]:
    """Hang a chunk's facts under `scope`. Returns it and the scopes that the chunk opens, outer before inner."""
    placed = [scope]
    for index, local in enumerate(chunk.scopes):
        if index:
            parent = placed[local.parent]
            start = base + local.start
            end = base + local.end
            if (start, end) == (parent.start, parent.end):  # two patterns, rooted apart, see one scope
                parent.local = _both(parent.local, local)
                placed.append(parent)
                continue
            found = Scope(local=local, start=start, end=end, parent=parent, depth=parent.depth + 1)
            parent.children.append(found)
            placed.append(found)
        if local.bindings:
            placed[index].groups.append((base, local.bindings))
    return placed


def _holding(node: tree_sitter.Node, opened: list[Scope]) -> Scope:
    """The innermost of these scopes that a node lies in; the first holds it in any case."""
    if len(opened) == 1:
        return opened[0]
    start, end = node.start_byte, node.end_byte
    return next((scope for scope in reversed(opened) if scope.start <= start and end <= scope.end), opened[0])


def _chunk(language: Language, node: tree_sitter.Node, data: bytes, *, own: bool) -> Chunk:
    """The facts of a node, or (`own`) only those rooted in the node itself and not in what is below it."""
    import tree_sitter

    cursor = tree_sitter.QueryCursor(query(language, "locals"))
    if own:
        cursor.set_max_start_depth(0)
    base = node.start_byte
    scopes = [LocalScope(kind="outer", end=node.end_byte - base)]
    found: dict[tuple[int, str], Binding] = {}
    for _, captures in cursor.matches(node):
        scope = _scope(captures, base, data)
        if scope is not None:
            scopes.append(scope)
            continue
        binding = _binding(captures, base, data, language)
        if binding is not None:
            _merge(found, binding)
    scopes[1:] = _joined(sorted(scopes[1:], key=lambda scope: (scope.start, -scope.end, -len(scope.name))))
    for index, scope in enumerate(scopes[1:], 1):
        scope.parent = max(
            (i for i in range(index) if scopes[i].start <= scope.start and scope.end <= scopes[i].end), default=0
        )
        if scope.name and scope.kind != "object" and not scope.owner:
            kind = "class" if scope.kind == "class" else "function"
            bound = Binding(name=scope.name, kind=kind, offset=scope.name_at)
            scopes[scope.parent].bindings.append(bound)
    for offset, kind in list(found):
        if kind == "import":  # where what is bound is a module, that is all there is to say
            found.pop((offset, "variable"), None)
    for binding in found.values():
        at = max(i for i, scope in enumerate(scopes) if i == 0 or scope.start <= binding.offset < scope.end)
        if scopes[at].name_at == binding.offset:
            at = scopes[at].parent
        scopes[at].bindings.append(binding)
    return Chunk(scopes=scopes)


def _joined(scopes: list[LocalScope]) -> list[LocalScope]:
    """Scopes in order, each range once: what several patterns say of one is put together."""
    found: list[LocalScope] = []
    for scope in scopes:
        last = found[-1] if found else None
        if last is None or (last.start, last.end) != (scope.start, scope.end):
            found.append(scope)
            continue
        found[-1] = _both(last, scope)
    return found


def _both(known: LocalScope, scope: LocalScope) -> LocalScope:
    """What two patterns say of one scope, whose offsets may count from different places."""
    shift = known.start - scope.start
    return replace(
        known,
        name=known.name or scope.name,
        entered=max(known.entered, scope.entered + shift),
        signature_end=max(known.signature_end, scope.signature_end + shift),
        type=known.type or scope.type,
        base=known.base or scope.base,
        owner=known.owner or scope.owner,
    )


def _scope(captures: Captures, base: int, data: bytes) -> LocalScope | None:
    for kind in SCOPES:
        nodes = captures.get(f"scope.{kind}")
        if not nodes:
            continue
        node = nodes[0]
        name, body = captures.get("scope.name"), captures.get("scope.body")
        headers = [part for key in ("name", "header", "type") for part in captures.get(f"scope.{key}", ())]
        entered = max([node.start_byte, *(part.end_byte for part in headers)])
        body_start = body[0].start_byte if body and body[0].end_byte > body[0].start_byte else entered
        return LocalScope(
            kind=kind,
            name=_name(name, data),
            name_at=name[0].start_byte - base if name else -1,
            start=node.start_byte - base,
            entered=entered - base,
            end=node.end_byte - base,
            signature_end=max(entered, body_start) - base,
            type=_text(captures.get("scope.type"), data),
            base=_text(captures.get("scope.base"), data),
            owner=_text(captures.get("scope.owner"), data),
        )
    return None


def _binding(captures: Captures, base: int, data: bytes, language: Language) -> Binding | None:
    for kind in BINDINGS:
        nodes = captures.get(f"binding.{kind}")
        if not nodes:
            continue
        module = ".".join(_text([node], data) for node in captures.get("import.module", ()))
        member = _text(captures.get("import.member"), data)
        region = captures.get("binding.region")
        name = _name(nodes, data)
        return Binding(
            name=bound_name(name, language) if kind == "import" else name,
            kind=kind,
            offset=nodes[0].start_byte - base,
            type=_text(captures.get("binding.type"), data),
            value=_text(captures.get("binding.value"), data),
            owner=_text(captures.get("binding.owner"), data),
            owner_type=_text(captures.get("binding.owner_type"), data),
            key=_text(captures.get("binding.key"), data),
            elements=_text(captures.get("binding.elements"), data),
            origin=origin_of(module, member, language) if kind == "import" else "",
            holder=_text(captures.get("binding.object"), data),
            region=(region[0].start_byte - base, region[0].end_byte - base) if region else None,
        )
    return None


def _merge(found: dict[tuple[int, str], Binding], new: Binding) -> None:
    """An optional part of a pattern gives one match with it and one without: keep what either says."""
    old = found.setdefault((new.offset, new.kind), new)
    if old is not new:
        old.type = old.type or new.type
        old.value = old.value or new.value
        old.owner, old.key = old.owner or new.owner, old.key or new.key
        old.owner_type = old.owner_type or new.owner_type
        old.elements = old.elements or new.elements
        old.origin = old.origin or new.origin


def _name(nodes: list[tree_sitter.Node] | None, data: bytes) -> str:
    """A name as a completion item has it: without the mark of a private one, or the quotes of a key."""
    return _text(nodes, data).strip("#\"'")


def _text(nodes: list[tree_sitter.Node] | None, data: bytes) -> str:
    if not nodes:
        return ""
    node = nodes[0]
    if node.end_byte - node.start_byte > _LONGEST:
        return ""
    return data[node.start_byte : node.end_byte].decode("utf-8", "replace")
