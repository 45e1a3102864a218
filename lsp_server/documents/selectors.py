"""Matches documents and files against document filters and glob patterns (LSP 3.18, "DocumentSelector").

A pattern that can't be parsed matches nothing. Matching takes linear time for every pattern.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import msgspec

from lsp_server.documents.uris import key_of
from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Json
from tuning.ranking.serving.index.globs import ANY_SEGMENTS, GlobError, NameGlob, NameMatch, path_matches

BRACES = 256  # maximum number of alternatives of one pattern with {a,b}
_DRIVE = re.compile(r"^[A-Z](?=:/)")
_INNERMOST = re.compile(r"\{([^{}]*)\}")

PathMatch = Callable[[str], bool]


class RelativePattern(msgspec.Struct, rename="camel", frozen=True):
    """LSP 3.18, "RelativePattern". `base_uri` is a URI or a WorkspaceFolder."""

    base_uri: str | dict[str, msgspec.Raw]
    pattern: str


Pattern = str | RelativePattern


class Filter(msgspec.Struct, frozen=True):
    """LSP 3.18, "TextDocumentFilter". All given members must match. A notebook cell is matched as a text document."""

    language: str | None = None
    scheme: str | None = None
    pattern: Pattern | None = None

    def for_language(self, language_id: str) -> bool:
        return self.language in (None, "*", language_id)

    def matches(self, uri: str, language_id: str) -> bool:
        if not self.for_language(language_id):
            return False
        if self.scheme not in (None, "*") and uri.partition(":")[0].lower() != self.scheme:
            return False
        return self.pattern is None or pattern_matches(self.pattern, uri)

    def as_json(self) -> dict[str, Json]:
        given = {"language": self.language, "scheme": self.scheme, "pattern": self.pattern}
        return {name: msgspec.to_builtins(value) for name, value in given.items() if value is not None}


Selector = tuple[Filter, ...] | None


def selector_of(value: Json) -> Selector:
    """Return the filters of a `documentSelector`. None (it is null or absent) means every document. Raises Malformed.

    A string element is a language id, which old servers send. It becomes a filter for that language.
    """
    if value is None:
        return None
    if not wire.is_array(value):
        raise wire.Malformed("documentSelector must be an array")
    given = [{"language": one} if isinstance(one, str) else one for one in value]
    return wire.read(wire.raw(given), tuple[Filter, ...])


def selects(selector: Selector, uri: str, language_id: str) -> bool:
    return selector is None or any(each.matches(uri, language_id) for each in selector)


def pattern_matches(pattern: Pattern, uri: str) -> bool:
    """Whether a glob matches the path of a URI.

    With a base folder, it is matched against the path below that folder.
    """
    path = _path(uri)
    if isinstance(pattern, str):
        return glob(pattern)(path)
    base = pattern.base_uri if isinstance(pattern.base_uri, str) else wire.read(pattern.base_uri["uri"], str)
    folder = f"{_path(base).rstrip('/')}/"
    return path.startswith(folder) and glob(pattern.pattern)(path[len(folder) :])


@dataclass(frozen=True)
class _Glob:
    alternatives: tuple[tuple[NameMatch | None, ...], ...]

    def __call__(self, path: str) -> bool:
        parts = path.removeprefix("/").split("/")
        return any(
            path_matches(segments, parts) or (len(segments) == 1 and path_matches(segments, parts[-1:]))
            for segments in self.alternatives
        )


@lru_cache(1024)
def glob(pattern: str) -> PathMatch:
    """Compile one of LSP's glob patterns: `*`, `?`, `**`, `{a,b}`, `[a-z]` and `[!a]`.

    A pattern without a slash matches the name of a file.
    """
    try:
        return _Glob(tuple(_segments(one) for one in _without_braces(pattern)))
    except GlobError:
        return lambda path: False


def _segments(pattern: str) -> tuple[NameMatch | None, ...]:
    parts: Sequence[str] = _DRIVE.sub(lambda drive: drive[0].lower(), pattern).removeprefix("/").split("/")
    return tuple(ANY_SEGMENTS if part == "**" else NameGlob(part) for part in parts)


def _without_braces(pattern: str) -> list[str]:
    found = [pattern]
    while len(found) <= BRACES:
        place = next((place for place, one in enumerate(found) if _INNERMOST.search(one)), None)
        if place is None:
            return found
        group = _INNERMOST.search(found[place])
        assert group is not None
        before, after = found[place][: group.start()], found[place][group.end() :]
        found[place : place + 1] = [before + each + after for each in group[1].split(",")]
    raise GlobError("too many alternatives")


def _path(uri: str) -> str:
    """Return the decoded path of a URI, with slashes. A drive letter is in lower case."""
    return key_of(uri).partition(":")[2].removeprefix("//")
