"""Recorded lists made into what rankers are given: the workspace indexed, the site read, the columns of signals looked up.

The file itself and near copies of it are kept out of the index, as an open buffer takes its file's place. What is read is
what is read live; nothing is run and nothing fetched.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from corpus.lists.list_files import Recorded
from corpus.lists.positions import cut
from corpus.lists.workspace import unfold
from corpus.mining.filters import language_of
from corpus.mining.sources import SourceError, file_at, snapshot
from corpus.syntax.language import languages
from corpus.syntax.parse import SyntaxDocument
from corpus.syntax.site import site_at
from tuning.ranking.evaluating.near_copies import Shingles, near_copies, shingled, shingles
from tuning.ranking.serving.index.workspace_index import WorkspaceIndex
from tuning.ranking.serving.model.prompt import Prompt, build_prompt
from tuning.ranking.serving.rank import Listing, Surroundings, listing


class SourceChanged(SourceError):
    """A file is not what it was when its lists were recorded."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One recorded list that has the truth, looked up. n candidates."""

    recorded: Recorded
    known: Listing
    is_truth: NDArray[np.bool_]  # [n]
    prompt: Prompt
    before: str  # ends where the identifier starts


def cases(
    rows: Iterable[Recorded],
    place_of: Callable[[str], str],
    done: Callable[[str, int], object] = lambda name, count: None,
    *,
    alone: bool = False,
) -> Iterator[Case]:
    """The cases of the rows that have the truth. `place_of` gives a repository's place; raises SourceError.

    `alone`: each file stands in an empty workspace, and nothing below the cursor's line is written yet.
    """
    groups: dict[tuple[str, str, str], list[Recorded]] = defaultdict(list)
    for row in rows:
        if row.has_truth:
            groups[row.repository, row.revision, row.language].append(row)
    for (repository, revision, language), group in groups.items():
        with tempfile.TemporaryDirectory(prefix="starling-cases-") as folder:
            extensions = languages()[language].extensions
            yield from _of_workspace(group, place_of(repository), Path(folder), extensions, alone)
        done(f"{repository}@{revision[:8]}", len(group))


def _of_workspace(
    rows: list[Recorded], place: str, folder: Path, extensions: tuple[str, ...], alone: bool
) -> Iterator[Case]:
    root = unfold(snapshot(place), folder)
    index = WorkspaceIndex([] if alone else [root], extensions)
    index.build()
    known = {} if alone else shingles(root, extensions)
    for path, written in dict.fromkeys((row.path, row.written) for row in rows):
        here = [row for row in rows if (row.path, row.written) == (path, written)]
        own = (folder / path).resolve()
        there = own.read_bytes() if own.is_file() else b""
        commit = written or ("" if own.is_file() else here[0].revision)  # a large repository is not laid out whole
        data = file_at(place, commit, path) if commit else there
        if hashlib.sha256(data).hexdigest() != here[0].sha256:
            raise SourceChanged(
                place, f"has another {path} than the lists were recorded on.", "Fetch the source again."
            )
        hidden = [own, *near_copies(own, known)] if own in known else _like(data, known)
        for each in hidden:
            index.hide(each)
        for row in here:
            yield _case(row, data, there if written else None, own, index, alone)
        for each in hidden:
            index.show(each)


def _like(data: bytes, known: Shingles) -> list[Path]:
    """The files that are nearly a text that is no file yet."""
    return near_copies(Path(), {**known, Path(): shingled(data)})


def _case(row: Recorded, data: bytes, parent: bytes | None, own: Path, index: WorkspaceIndex, alone: bool) -> Case:
    before, after = cut(data, row.position, parent)
    after = after[: after.find(b"\n") + 1] if alone else after
    language = language_of(row.path, data)
    site = site_at(SyntaxDocument(before + after, language), row.offset)
    line_end = after.find(b"\n")
    later = after[line_end + 1 :] if line_end >= 0 else b""
    written = before[: site.start]
    text = written.decode("utf-8", "replace")
    prompt = build_prompt(
        path="/".join(Path(row.path).parts[-3:]),
        before=text,
        enclosing=site.enclosing_signatures,
        line_comment=language.line_comment if language is not None else "",
    )
    nearby = index.nearby(str(own.parent))
    around = Surroundings.of(site, written, later, nearby=nearby, path=row.path)
    found = row.candidates()
    return Case(
        recorded=row,
        known=listing(around, found, index),
        is_truth=np.array([candidate.name == row.truth for candidate in found], np.bool_),
        prompt=prompt,
        before=text,
    )
