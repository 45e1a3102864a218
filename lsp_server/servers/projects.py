"""Projects within a workspace: the folder of a document that has one of some marker files, found upwards. Reads no file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from lsp_server.documents.uris import path_of


class Projects:
    """Remembers what it found, for a session: a marker that is made later counts after a restart."""

    def __init__(self) -> None:
        self._found: dict[tuple[Path, tuple[str, ...]], Path | None] = {}

    def folder_of(self, uri: str, markers: Sequence[str], roots: Iterable[str]) -> Path | None:
        """The nearest folder below a workspace's root that has a marker; None for the workspace itself, and outside of it."""
        path = path_of(uri)
        tops = {top for root in roots if (top := path_of(root)) is not None}
        if path is None or not any(path.is_relative_to(top) for top in tops):
            return None
        return self._above(path.parent, tuple(markers), tops)

    def _above(self, folder: Path, markers: tuple[str, ...], tops: set[Path]) -> Path | None:
        if folder in tops:
            return None
        key = folder, markers
        if key not in self._found:
            here = any((folder / marker).exists() for marker in markers)
            self._found[key] = folder if here else self._above(folder.parent, markers, tops)
        return self._found[key]
