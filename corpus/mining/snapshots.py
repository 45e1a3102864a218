"""What every kind of source is read as, and what can be wrong with one.

SourceError            carries the source and what to do about it
  SourceUnknown        neither a repository, a folder nor an archive
  RevisionMissing      the repository has no such revision
  SourceBroken         objects are missing (a shallow or partial clone) or corrupt
  SourceRefused        asks for more memory or time than one source may, or for something other than files
  SourceFailed         reading it failed in a way that nobody foresaw
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import final

ABSENT = -1


class SourceError(Exception):
    """Base of what can be wrong with one source; the others go on."""

    def __init__(self, source: str, problem: str, remedy: str) -> None:
        super().__init__(f"{source}: {problem} {remedy}")
        self.source, self.problem, self.remedy = source, problem, remedy

    def __reduce__(self) -> tuple[type[SourceError], tuple[str, str, str]]:
        return type(self), (self.source, self.problem, self.remedy)


@final
class SourceUnknown(SourceError):
    """Neither a repository, a folder nor an archive."""


@final
class RevisionMissing(SourceError):
    """The repository has no such revision."""


@final
class SourceBroken(SourceError):
    """Objects are missing or corrupt."""


@final
class SourceRefused(SourceError):
    """Asks for more memory or time than one source may (corpus.mining.limits), or for something other than files."""


@final
class SourceFailed(SourceError):
    """Reading it failed in a way that nobody foresaw."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One file. `read` gives its bytes and may raise SourceBroken."""

    path: str  # below the source's root, with "/"; has surrogates where its name is not UTF-8
    size: int  # ABSENT where there is nothing that can be read: no such object, a corrupt or an encrypted one
    read: Callable[[], bytes]


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """One source at one time."""

    name: str
    revision: str  # a commit's hash; of archives and folders a hash of what is in them
    entries: Callable[[], Iterator[Entry]]  # in the order of paths; raises SourceError


def failed(source: str, error: BaseException) -> SourceFailed:
    """An error that nobody foresaw, as one of its source."""
    return SourceFailed(
        source, f"could not be read ({type(error).__name__}: {error}).", "Leave the source out, and report this."
    )
