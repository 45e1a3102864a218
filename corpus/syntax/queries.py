"""Compiles the queries of a language folder and refuses captures that are not in the vocabulary below.

A pattern of `locals.scm` is one fact: one scope, or one bound name. Every pattern is rooted in a single node and
says nothing of what surrounds it (facts are cached by a node's text). Captures whose name begins with "_" serve
predicates only.

locals.scm
  @scope.function @scope.class @scope.block @scope.object   the node that opens a scope; it may lie below the
                     pattern's root. An object is a literal whose fields are the members of the name it is bound to
    @scope.name      its name; also binds that name outside (an object's does not: it is bound already)
    @scope.header    parameters or base classes: up to its end, the scope is not yet entered
    @scope.body      where its signature ends
    @scope.type      its return type
    @scope.base      its first base class
    @scope.owner     the class whose member it is (of a class: whose members it holds), where it stands outside of it
  @binding.parameter @binding.variable @binding.import   the node of a bound name
  @binding.member    a name assigned on @binding.object (an instance, as `self_names` says)
  @binding.field     a member of the class around it, in whatever scope of that class; no name of its own
  @binding.slot      a parameter that has no name, as far as callers count
  @binding.property  a member that is read like a field though defined like a function; with @binding.type
  @binding.narrowed  a name whose class is known to be @binding.type, in @binding.region or from here on
    @binding.type    annotation       @binding.value   expression that it is bound to
    @binding.owner   expression of which it is the member of that name (or @binding.key); @binding.owner_type its type
    @binding.elements   expression that it is one element of
    @import.module   module an import names (its parts, where several stand apart)
    @import.member   what it takes from there, if not the module

sites.scm
  @region.comment @region.string   text, not code      @region.code   code inside such text
  @region.type                     an annotation           @region.text   text that only a tree can tell from code
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from corpus.syntax.language import Language
from corpus.syntax.parse import grammar
from corpus.syntax.tables import LanguageError

if TYPE_CHECKING:
    import tree_sitter

SCOPES = ("function", "class", "block", "object")
BINDINGS = ("parameter", "variable", "import", "member", "property", "narrowed", "field", "slot")
REGIONS = ("comment", "string", "code", "type", "text")
VOCABULARY: dict[str, frozenset[str]] = {
    "locals": frozenset(
        [f"scope.{name}" for name in (*SCOPES, "name", "header", "body", "type", "base", "owner")]
        + [
            f"binding.{name}"
            for name in (*BINDINGS, "object", "type", "value", "region", "owner", "owner_type", "key", "elements")
        ]
        + ["import.module", "import.member"]
    ),
    "sites": frozenset(f"region.{name}" for name in REGIONS),
}


@cache
def query(language: Language, name: str) -> tree_sitter.Query:
    """The compiled query `name` ("locals" or "sites"). LanguageError when it does not compile or check."""
    import tree_sitter

    files = language.locals if name == "locals" else language.sites
    try:
        compiled = tree_sitter.Query(grammar(language), "\n".join(file.read_text(encoding="utf-8") for file in files))
    except (tree_sitter.QueryError, OSError, UnicodeDecodeError) as error:
        raise LanguageError(files[-1], f"{error}{_lines_before(files)}") from error
    known = VOCABULARY[name]
    for index in range(compiled.capture_count):
        capture = compiled.capture_name(index)
        if capture not in known and not capture.startswith("_"):
            raise LanguageError(files[-1], f"capture @{capture} is not in the vocabulary")
    for index in range(compiled.pattern_count):
        if not compiled.is_pattern_rooted(index):
            raise LanguageError(files[-1], f"pattern {index} is not rooted in a single node")
    return compiled


@cache
def has_capture(compiled: tree_sitter.Query, name: str) -> bool:
    """Whether a query can capture `name`."""
    return any(compiled.capture_name(index) == name for index in range(compiled.capture_count))


def _lines_before(files: tuple[Path, ...]) -> str:
    """What to add to a message whose row counts from the first file's start."""
    return f" (rows count from the start of {files[0]})" if len(files) > 1 else ""


def prepare(language: Language) -> None:
    """Load a language's grammar and queries now, some 0.1 s, so that its first completion does not wait for them."""
    for name in VOCABULARY:
        query(language, name)
