"""Sources in, corpus out: surveys side by side, each kept on disk as it is done, then one pass that drops copies and writes.

The corpus is what the sources of the last run give; what was read for earlier ones is kept to be used again. A run that was
cut off goes on where it stopped. Two runs on one folder are refused. The order of the sources does not matter.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import msgspec
import numpy as np

from corpus.mining import readings
from corpus.mining.copies import near_copies
from corpus.mining.limits import SECONDS, printable
from corpus.mining.readings import Head, Known, Reading, Source
from corpus.mining.shards import (
    MANIFEST,
    CorpusError,
    Manifest,
    Repository,
    Row,
    Shard,
    alone,
    replacing,
    write,
    write_manifest,
)
from corpus.mining.snapshots import SourceError, failed
from corpus.mining.sources import at_revision, name_of
from corpus.mining.split import PARTS, part_of
from corpus.mining.survey import Options
from corpus.mining.workers import WorkersError, results

WORK = "work"
EXACT, NEAR = "an exact copy", "a near copy"


def mine(
    sources: Sequence[Source],
    out: Path,
    options: Options,
    *,
    jobs: int = 1,
    ray: str = "",
    excluded: Collection[str] = (),
    seconds: float = SECONDS,
    done: Callable[[str, int], object] = lambda name, size: None,
) -> Manifest:
    """Mine `sources` into the folder `out`; `done` hears of each. They are read in `jobs` processes, or on the cluster `ray`,
    each in no more than `seconds` by the clock.

    Whatever is wrong with a source is told in the manifest, and the others go on. Raises CorpusError, WorkersError and OSError
    (a full disk).
    """
    out.mkdir(parents=True, exist_ok=True)
    with alone(out):
        work = out / WORK
        work.mkdir(exist_ok=True, mode=0o700)
        forgotten = {name.casefold() for name in excluded}
        wanted = [source for source in sources if (source.name or name_of(source.place)).casefold() not in forgotten]
        surveys, problems = _surveys(wanted, work, options, jobs, ray, seconds, done)
        readings.forget(work, forgotten)
        surveys = {key: name for key, name in surveys.items() if (work / key).is_dir()}
        (out / MANIFEST).unlink(missing_ok=True)  # from here on the shards are not whole
        return _written(out, work, surveys, problems, options)


def rebuild(
    wanted: Manifest,
    places: Mapping[str, str],
    out: Path,
    *,
    jobs: int = 1,
    ray: str = "",
    seconds: float = SECONDS,
    done: Callable[[str, int], object] = lambda name, size: None,
) -> Manifest:
    """Mine again what a manifest lists, at its revisions and with its options, from where `places` says each name is.

    Raises CorpusError where a source is missing, or where something else came out.
    """
    missing = [repository.name for repository in wanted.repositories if repository.name not in places]
    if missing:
        remedy = f"List where it is: {', '.join(missing[:5])}{' …' if len(missing) > 5 else ''}."
        raise CorpusError(out, f"needs {len(missing)} more of {len(wanted.repositories)} sources.", remedy)
    sources = [
        Source(place=at_revision(places[repository.name], repository.revision), name=repository.name)
        for repository in wanted.repositories
    ]
    options = msgspec.convert(wanted.options, Options)
    found = mine(sources, out, options, jobs=jobs, ray=ray, seconds=seconds, done=done)
    different = [repository.name for repository in wanted.repositories if repository not in found.repositories]
    if different or found.shards != wanted.shards:
        names = ", ".join(different[:5]) or "the shards' bytes (another version of a library writes them otherwise)"
        raise CorpusError(out, f"is not what the manifest lists: {names}.", "Compare the two manifests.")
    return found


def _surveys(
    sources: Sequence[Source],
    work: Path,
    options: Options,
    jobs: int,
    ray: str,
    seconds: float,
    done: Callable[[str, int], object],
) -> tuple[dict[str, str], dict[str, str]]:
    """Survey what is not yet there; names by key, and why the others failed. No source is opened in this process."""
    found: dict[str, str] = {}
    problems: dict[str, str] = {}
    read = partial(readings.read, options=options, base=str(Path.cwd()), known=frozenset(readings.keys(work)))
    for source, result in results(read, sources, jobs=jobs, ray=ray, seconds=seconds):
        size = 0
        if isinstance(result, Reading):
            readings.keep(work, result)
            found[result.key] = result.name
            size = len(result.texts)
        elif isinstance(result, Known):
            found[result.key] = readings.head(work / result.key).name
        else:
            error = result if isinstance(result, (SourceError, WorkersError)) else failed(source.place, result)
            problems[printable(source.place)] = printable(f"{error.problem} {error.remedy}")
        done(printable(source.name or source.place), size)
    return found, problems


def _written(out: Path, work: Path, surveys: Mapping[str, str], problems: dict[str, str], options: Options) -> Manifest:
    """Drop copies, write shards part by part, then the manifest. Heads are read as they are needed: they are many."""
    part = {key: part_of(name, options.seed) for key, name in surveys.items()}
    order = sorted(surveys, key=lambda key: (PARTS.index(part[key]), surveys[key], key))
    copies = _copies(work, order)
    shards: list[Shard] = []
    repositories: list[Repository] = []

    def rows(part: str, keys: Sequence[str]) -> Iterator[Row]:
        for key in keys:
            stored = readings.head(work / key)
            repositories.append(_repository(stored, part, copies[key]))
            yield from _rows(work / key, stored, part, copies[key])

    for name in PARTS:
        shards += write(out, name, rows(name, [key for key in order if part[key] == name]))
    manifest = Manifest(
        options=msgspec.to_builtins(asdict(options)),
        repositories=sorted(repositories, key=lambda repository: repository.name),
        failed=dict(sorted(problems.items())),
        shards=shards,
    )
    write_manifest(out, manifest)
    return manifest


def _copies(work: Path, surveys: Sequence[str]) -> dict[str, list[str]]:
    """For each survey, why each of its files is dropped as a copy of an earlier one, or ''."""
    seen: set[bytes] = set()
    reasons: dict[str, list[str]] = {}
    for key in surveys:
        reasons[key] = []
        for _, _, digest, _, _ in readings.head(work / key).files:
            exact = bytes.fromhex(digest)
            reasons[key].append(EXACT if exact in seen else "")
            seen.add(exact)
    with replacing(work / "signatures") as temporary:
        near = near_copies(readings.signatures(work, surveys, temporary))
    (work / "signatures").unlink()
    start = 0
    for own in reasons.values():
        for index in np.flatnonzero(near[start : start + len(own)]).tolist():
            own[index] = own[index] or NEAR
        start += len(own)
    return reasons


def _rows(folder: Path, stored: Head, part: str, copies: Sequence[str]) -> Iterator[Row]:
    for file, data, copy in zip(stored.files, readings.texts(folder, stored), copies, strict=True):
        path, language, digest, _, sites = file
        if not copy:
            yield Row(
                part=part,
                repository=stored.name,
                revision=stored.revision,
                licence=stored.licence,
                path=path,
                language=language,
                sha256=bytes.fromhex(digest),
                text=data.decode("utf-8"),
                sites=sites,
            )


def _repository(stored: Head, part: str, copies: Sequence[str]) -> Repository:
    files: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    dropped = dict(stored.dropped)
    sites = 0
    for (_, language, _, size, places), copy in zip(stored.files, copies, strict=True):
        if copy:
            count, before = dropped.get(copy, (0, 0))
            dropped[copy] = (count + 1, before + size)
        else:
            files[language] += 1
            sizes[language] += size
            sites += len(places)
    return Repository(
        name=stored.name,
        revision=stored.revision,
        licence=stored.licence,
        part=part,
        kept=(files.total(), sizes.total()),
        sites=sites,
        languages={language: (files[language], sizes[language]) for language in sorted(files)},
        dropped=dict(sorted(dropped.items())),
    )


def jobs_by_default() -> int:
    """As many processes as processors may be used."""
    return max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
