"""Positions in lines as they were being written: what a commit added, over its parent's files.

The text at such a position is the commit's file up to the cursor and, after it, the parent's file from where the change ends:
what was added above is there, what comes later is not. Commits are taken from the newest backwards along first parents, a merge as
one change; those that add little or nearly everything are passed over.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import accumulate, islice
from typing import TYPE_CHECKING

import numpy as np

from corpus.lists.candidates import Asked
from corpus.lists.choosing import read_live
from corpus.lists.positions import Position, positions
from corpus.mining.filters import File, by_content, by_path, language_of
from corpus.mining.sites import sites
from corpus.mining.snapshots import SourceBroken
from corpus.syntax.language import Language
from corpus.syntax.parse import grammar
from corpus.syntax.tokens import cut as cut_tokens

if TYPE_CHECKING:
    import pygit2

LINES = (25, 800)  # that a commit adds to files of the wanted languages
FEWEST = 6  # positions of a commit, or it is not worth a server's start
PER_FILE = 8
LOOKED_AT = 400  # commits


def written(
    place: str,
    commit: str,
    languages: Collection[str],
    count: int,
    *,
    each: int = LINES[1],
    since: float = 0.0,
    share: float = 1.0,
) -> Iterator[tuple[str, list[Asked]]]:
    """(the parent's hash, the files to ask about) of commits until there are `count` positions.

    Of a commit whole files until there are `each`. Not of commits before `since` (seconds since 1970), and of a `share` of the others,
    spread over time. Raises SourceBroken where git's objects can't be read: they are another user's, or the clone lacks some.
    """
    import pygit2

    with _reading(place):
        repository = pygit2.Repository(place)
        walk = repository.walk(commit, pygit2.enums.SortMode.TOPOLOGICAL)
        walk.simplify_first_parent()
        changes = list(islice(walk, LOOKED_AT))
    generator = random.Random(commit)
    found = 0
    for change in changes:
        if found >= count or change.commit_time < since:
            return
        if not change.parent_ids or generator.random() < 1 - share:
            continue
        with _reading(place):
            patches = _patches(repository, change, languages)
        asked = _first(_added(repository, change, patches, generator), each)
        positions_here = sum(len(file.positions) for file in asked)
        if positions_here >= FEWEST:
            found += positions_here
            yield str(change.parent_ids[0]), asked


@contextmanager
def _reading(place: str) -> Generator[None]:
    """What libgit2 can't read is an error of the source."""
    import pygit2

    try:
        yield
    except (KeyError, pygit2.GitError) as error:
        raise SourceBroken(
            place, f"has a history that can't be read ({error}).", "Clone it again, whole and as your own user."
        ) from error


def _first(files: Sequence[Asked], count: int) -> list[Asked]:
    """Files until there are `count` positions."""
    before = accumulate((len(file.positions) for file in files), initial=0)
    return [file for file, already in zip(files, before, strict=False) if already < count]


def _patches(
    repository: pygit2.Repository, change: pygit2.Commit, languages: Collection[str]
) -> list[tuple[pygit2.Patch, Language]]:
    """What a commit changed in files of these languages; nothing where it added too little or too much."""
    found: list[tuple[pygit2.Patch, Language]] = []
    for patch in filter(None, repository.diff(change.parents[0], change, context_lines=0)):
        path = patch.delta.new_file.path
        language = language_of(path, b"")
        if language is not None and language.id in languages and not by_path(path, patch.delta.new_file.size or 1000):
            found.append((patch, language))
    added = sum(patch.line_stats[1] for patch, _ in found)
    return found if LINES[0] <= added <= LINES[1] else []


def _added(
    repository: pygit2.Repository,
    change: pygit2.Commit,
    patches: Sequence[tuple[pygit2.Patch, Language]],
    generator: random.Random,
) -> list[Asked]:
    """The files of a commit that have positions in their added lines."""
    found: list[Asked] = []
    for patch, language in patches:
        path = patch.delta.new_file.path
        data = _file(repository, change, path)
        before = _file(repository, change.parents[0], patch.delta.old_file.path)
        if data is None or by_content(File(path=path, language=language, data=data)):
            continue
        chosen = _in_hunks(path, data, before or b"", patch.hunks, language, generator)
        if chosen:
            found.append(
                Asked(
                    path=path,
                    language=language.id,
                    data=data,
                    positions=chosen,
                    parent=before or b"",
                    written=str(change.id),
                )
            )
    return found


def _in_hunks(
    path: str,
    data: bytes,
    parent: bytes,
    hunks: Sequence[pygit2.DiffHunk],
    language: Language,
    generator: random.Random,
) -> list[Position]:
    import tree_sitter

    tree = tree_sitter.Parser(grammar(language)).parse(data)
    starts, old_starts = _line_starts(data), _line_starts(parent)
    (names,) = cut_tokens([data]).names
    found: list[Position] = []
    for hunk in hunks:
        begin, end = starts[hunk.new_start - 1], starts[min(hunk.new_start - 1 + hunk.new_lines, len(starts) - 1)]
        resumes = old_starts[min(hunk.old_start - (1 if hunk.old_lines else 0) + hunk.old_lines, len(old_starts) - 1)]
        if not hunk.new_lines or (resumes == 0 and parent):
            continue  # at a file's very beginning no line end stands before what follows
        inside = (names.first >= begin) & (names.last <= end)
        seed = generator.randrange(1 << 30)
        chosen = sites(data, names.of(inside), tree, language, seed, PER_FILE)
        tail = _line_end_before(parent, resumes)
        turn = generator.randrange(6)
        found += [replace(position, tail=tail) for position in positions(path, data, chosen, turn=turn, form="written")]
    generator.shuffle(found)
    agreed = islice(filter(None, (read_live(data, position, parent) for position in found)), PER_FILE)
    return sorted(agreed, key=lambda position: position.start)


def _line_end_before(data: bytes, start: int) -> int:
    """Where the line end that stands before a line's start begins; 0 for the first line."""
    return max(0, start - (2 if data[start - 2 : start] == b"\r\n" else 1))


def _line_starts(data: bytes) -> list[int]:
    """The offset of every line, and the text's end."""
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n")) + 1
    return [0, *ends.tolist(), len(data)] if data else [0, 0]


def _file(repository: pygit2.Repository, commit: pygit2.Commit, path: str) -> bytes | None:
    import pygit2

    try:
        found = repository[commit.tree[path].id]
    except KeyError:
        return None
    return bytes(found.data) if isinstance(found, pygit2.Blob) else None
