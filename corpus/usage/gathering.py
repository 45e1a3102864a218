"""Counts the repositories of a mined corpus and adds them to a folder of counts. Nothing of a repository is run.

A repository that the folder already has is skipped. At most BYTES per group of languages are read of each: whole files, in the
order of their hashes. The result does not depend on the order of the repositories.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from corpus.mining import readings
from corpus.mining.copies import PERMUTATIONS, near_copies
from corpus.mining.limits import SECONDS
from corpus.mining.mine import WORK
from corpus.mining.shards import CorpusError, Row, alone, read, read_manifest
from corpus.mining.workers import WorkersError, results
from corpus.syntax.language import languages
from corpus.usage.counting import Uses, uses
from corpus.usage.counts import MANIFEST, Counted, Counts, UsageManifest, read_counted, write_counted

BYTES = 300_000
TOGETHER = 40  # repositories whose counts are held in memory before they are added
SUFFIX = ".parquet"


@dataclass(frozen=True, kw_only=True)
class Piece:
    """The files to count of one repository, each with the id of its language."""

    name: str
    revision: str
    licence: str
    files: Sequence[tuple[str, bytes]]


def gather(
    corpus: Path,
    folder: Path,
    *,
    apart: Sequence[Path] = (),
    left_out: Collection[str] = (),
    most: int = BYTES,
    jobs: int = 1,
    ray: str = "",
    seconds: float = SECONDS,
    done: Callable[[str, int], object] = lambda name, size: None,
) -> UsageManifest:
    """Add the repositories of a mined `corpus` to the counts in `folder`; `done` hears of each.

    `apart`: mined corpora that figures are measured on; what is in them, and files that nearly are, is not counted.
    `left_out`: names that are not either. Raises CorpusError, WorkersError and OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder):
        options = {"bytes": most}
        manifest = UsageManifest(options=options, repositories=[])
        if (folder / MANIFEST).is_file():
            manifest = read_counted(folder)
            if manifest.options != options:
                raise CorpusError(folder, f"was counted with {manifest.options}.", "Use the same, or another folder.")
        known = {one.name.casefold() for one in manifest.repositories} | {name.casefold() for name in left_out}
        known |= {one.name.casefold() for place in apart for one in read_manifest(place).repositories}
        copies = _copies(corpus, apart)
        waiting: dict[str, list[Counts]] = defaultdict(list)
        added: list[Counted] = []
        pieces = _pieces(corpus, known, copies, most)
        for piece, result in results(count, pieces, jobs=jobs, ray=ray, seconds=seconds):
            if isinstance(result, Exception):
                raise (
                    result
                    if isinstance(result, WorkersError)
                    else WorkersError(
                        f"{piece.name} could not be counted ({result!r}).", "Report it, and leave the repository out."
                    )
                )
            for group, counts in result.items():
                waiting[group].append(counts)
                if len(waiting[group]) >= TOGETHER:
                    waiting[group] = [Counts.together(waiting[group])]
            files = Counter(languages()[id].usage for id, _ in piece.files)
            added.append(
                Counted(
                    name=piece.name, revision=piece.revision, licence=piece.licence, files=dict(sorted(files.items()))
                )
            )
            done(piece.name, sum(len(data) for _, data in piece.files))
        for group, parts in waiting.items():
            file = folder / f"{group}{SUFFIX}"
            Counts.together([*parts, *([Counts.load(file)] if file.is_file() else [])]).save(file)
        manifest.repositories.extend(added)
        write_counted(folder, manifest)
    return manifest


def count(piece: Piece) -> dict[str, Counts]:
    """Count one repository. Returns its counts by group of languages."""
    found: dict[str, Uses] = defaultdict(lambda: defaultdict(Counter))
    for id, data in piece.files:
        language = languages()[id]
        group = found[language.usage]
        for context, names in uses(data, language).items():
            group[context].update(names)
    return {group: Counts.of_one(uses) for group, uses in found.items()}


def _pieces(corpus: Path, known: Collection[str], copies: Collection[bytes], most: int) -> Iterator[Piece]:
    """Yield the repositories of the corpus, without known ones and without files that are copies."""
    here: list[Row] = []
    for row in read(corpus):
        if row.repository.casefold() in known or row.sha256 in copies:
            continue
        if here and here[0].repository != row.repository:
            yield _piece(here, most)
            here = []
        here.append(row)
    if here:
        yield _piece(here, most)


def _piece(rows: Sequence[Row], most: int) -> Piece:
    size: Counter[str] = Counter()
    files: list[tuple[str, bytes]] = []
    for row in sorted(rows, key=lambda row: row.sha256):
        group, data = languages()[row.language].usage, row.text.encode()
        if size[group] < most and len(data) <= most:
            size[group] += len(data)
            files.append((row.language, data))
    return Piece(name=rows[0].repository, revision=rows[0].revision, licence=rows[0].licence, files=files)


def _copies(corpus: Path, apart: Sequence[Path]) -> set[bytes]:
    """Return the hashes of the corpus's files that are near copies of files in the corpora of `apart`."""
    theirs = [signature for place in apart for signature in _signatures(place).values()]
    own = _signatures(corpus) if theirs else {}
    if not own:
        return set()
    alike = near_copies(np.stack([*theirs, *own.values()]))[len(theirs) :]
    return {digest for digest, copy in zip(own, alike, strict=True) if copy}


def _signatures(corpus: Path) -> Mapping[bytes, np.ndarray]:
    """Return the signatures of all files in a corpus's work folder, by the file's hash."""
    found: dict[bytes, np.ndarray] = {}
    work = corpus / WORK
    for key in sorted(readings.keys(work)):
        stored = readings.head(work / key)
        rows = np.fromfile(work / key / readings.SIGNATURES, np.uint32).reshape(-1, PERMUTATIONS)
        found |= {bytes.fromhex(file[2]): row for file, row in zip(stored.files, rows, strict=True)}
    return found
