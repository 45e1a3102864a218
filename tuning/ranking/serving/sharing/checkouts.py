"""Where the repositories that a publication is for are on this machine: by the names of their folders.

What a publication says chooses among folders that the user named, and none besides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tuning.ranking.serving.sharing.errors import SourceRefused


@dataclass(frozen=True, kw_only=True)
class Checkouts:
    named: Mapping[str, Path] = field(default_factory=dict[str, Path])  # a repository's name: its folder
    folders: Sequence[Path] = ()  # others are these, or lie in them, or one level deeper
    is_everywhere: bool = False  # what comes is for all documents

    @property
    def are_given(self) -> bool:
        """Whether the user said where to look."""
        return bool(self.named or self.folders)

    def of(self, repositories: Sequence[str]) -> list[str] | None:
        """The folders of these repositories, resolved; [] for all documents, None where not one was found."""
        if self.is_everywhere or not repositories:
            return []
        parents = [*self.folders, *(inner for folder in self.folders for inner in _inside(folder))]
        places = [parent / name for parent in parents for name in repositories if name not in self.named]
        places += [folder for folder in self.folders if folder.name in repositories]
        places += [folder for name, folder in self.named.items() if name in repositories]
        return sorted({str(place.resolve()) for place in places if _is_folder(place)}) or None


def _inside(folder: Path) -> list[Path]:
    return [inner for inner in folder.iterdir() if _is_folder(inner)]


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except PermissionError:  # of a folder on the way
        return False


def checkouts_of(given: Sequence[str], *, is_everywhere: bool) -> Checkouts:
    """What a user names: FOLDER or NAME=FOLDER each. Raises SourceRefused."""
    named: dict[str, Path] = {}
    folders: list[Path] = []
    for text in given:
        name, equals, rest = text.partition("=")
        is_folder = not equals or Path(text).expanduser().is_dir()
        folder = Path(text if is_folder else rest).expanduser().absolute()
        if not folder.is_dir():
            raise SourceRefused(f"--workspace {text}: {folder} is no folder")
        if is_folder:
            folders.append(folder)
        else:
            named[name] = folder
    return Checkouts(named=named, folders=folders, is_everywhere=is_everywhere)
