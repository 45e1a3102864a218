"""Sources in, corpus out: surveys side by side, each kept on disk as it is done, then one pass that drops copies and writes.

The corpus is what the sources of the last run give; what was read for earlier ones is kept to be used again. A run that was
cut off goes on where it stopped. Two runs on one folder are refused. The order of the sources does not matter.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from corpus.copies import PERMUTATIONS, Signatures, near_copies
from corpus.shards import MANIFEST, CorpusError, Manifest, Repository, Row, Shard, replacing, write, write_manifest
from corpus.sources import SourceError, at_revision, snapshot
from corpus.split import PARTS, part_of
from corpus.survey import Options, survey

WORK = "work"
VERSION = 2  # of what a survey keeps; a change of the rules changes it
EXACT, NEAR = "an exact copy", "a near copy"


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where to read, and what it is called ("owner/name"); '' for its folder's name."""

    place: str
    name: str = ""


class _Stored(msgspec.Struct, kw_only=True):
    """The head of a survey on disk; its files' texts and signatures stand beside it."""

    name: str
    revision: str
    licence: str
    files: list[tuple[str, str, str, int, list[tuple[int, int, str]]]]  # path, language, sha256, bytes, sites
    dropped: dict[str, tuple[int, int]]


def mine(
    sources: Sequence[Source],
    out: Path,
    options: Options,
    *,
    jobs: int = 1,
    excluded: Collection[str] = (),
    done: Callable[[str, int], object] = lambda name, size: None,
) -> Manifest:
    """Mine `sources` into the folder `out`; `done` hears of each. Raises CorpusError and OSError (a full disk)."""
    out.mkdir(parents=True, exist_ok=True)
    with _alone(out):
        work = out / WORK
        work.mkdir(exist_ok=True, mode=0o700)
        forgotten = {name.casefold() for name in excluded}
        wanted = [source for source in sources if (source.name or Path(source.place).name).casefold() not in forgotten]
        surveys, failed = _surveys(wanted, work, options, jobs, done)
        _forget(work, forgotten)
        surveys = {key: stored for key, stored in surveys.items() if (work / key).is_dir()}
        (out / MANIFEST).unlink(missing_ok=True)  # from here on the shards are not whole
        return _written(out, work, surveys, failed, options)


def rebuild(
    wanted: Manifest,
    places: Mapping[str, str],
    out: Path,
    *,
    jobs: int = 1,
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
    found = mine(sources, out, msgspec.convert(wanted.options, Options), jobs=jobs, done=done)
    different = [repository.name for repository in wanted.repositories if repository not in found.repositories]
    if different or found.shards != wanted.shards:
        names = ", ".join(different[:5]) or "the shards' bytes (another version of a library writes them otherwise)"
        raise CorpusError(out, f"is not what the manifest lists: {names}.", "Compare the two manifests.")
    return found


def _forget(work: Path, names: Collection[str]) -> None:
    """Remove what was read of these repositories, now or earlier. Other surveys stay for when they are asked for again."""
    for folder in work.iterdir():
        head = folder / "head.json"
        if folder.is_dir() and (not head.is_file() or _head(folder).name.casefold() in names):
            shutil.rmtree(folder)


def _surveys(
    sources: Sequence[Source], work: Path, options: Options, jobs: int, done: Callable[[str, int], object]
) -> tuple[dict[str, _Stored], dict[str, str]]:
    """Survey what is not yet there; by key, and why the others failed."""
    found: dict[str, _Stored] = {}
    failed: dict[str, str] = {}
    waiting = list(sources)
    suspects: list[Source] = []
    while waiting or suspects:
        # After a worker died, those that were under way are tried again one at a time, to know which it was.
        batch, alone = (waiting, False) if waiting else ([suspects.pop()], True)
        waiting = []
        # Spawned, not forked: libraries that are loaded here have threads that a fork would lack.
        with ProcessPoolExecutor(1 if alone else jobs, mp_context=get_context("spawn")) as pool:
            running: dict[Future[str], Source] = {}
            queue = iter(batch)
            for source in queue:
                running[pool.submit(_survey, source, str(work), options)] = source
                if len(running) < 2 * jobs:
                    continue
                if not _harvest(running, work, found, failed, done):
                    break
            while running and _harvest(running, work, found, failed, done):
                pass
            if running:
                if alone:
                    failed[batch[0].place] = "the process that read it died. Report it, and leave the source out."
                    done(batch[0].place, 0)
                else:
                    suspects += running.values()
                    waiting = list(queue)
    return found, failed


def _harvest(
    running: dict[Future[str], Source],
    work: Path,
    found: dict[str, _Stored],
    failed: dict[str, str],
    done: Callable[[str, int], object],
) -> bool:
    """Take in what is ready; False where a worker died, with what it may have been in `running`."""
    ready, _ = wait(running, return_when=FIRST_COMPLETED)
    for future in ready:
        source = running[future]
        size = 0
        try:
            key = future.result()
            found[key] = _head(work / key)
            size = sum(file[3] for file in found[key].files)
        except SourceError as error:
            failed[source.place] = f"{error.problem} {error.remedy}"
        except BrokenProcessPool:
            return False
        del running[future]
        done(source.name or source.place, size)
    return True


def _survey(source: Source, work: str, options: Options) -> str:
    """Survey one source unless that was done before; returns its key. In a worker process."""
    opened = snapshot(source.place, name=source.name)
    asked = msgspec.json.encode([VERSION, opened.name, opened.revision, asdict(options)])
    key = hashlib.sha256(asked).hexdigest()[:20]
    folder = Path(work, key)
    if (folder / "head.json").is_file():
        return key
    found = survey(opened, options)
    folder.mkdir(exist_ok=True, mode=0o700)
    files = [
        (file.path, file.language, file.sha256.hex(), len(file.data), [(s.start, s.end, s.kind) for s in file.sites])
        for file in found.files
    ]
    head = _Stored(
        name=found.name, revision=found.revision, licence=found.licence, files=files, dropped=dict(found.dropped)
    )
    with replacing(folder / "texts") as temporary, temporary.open("wb") as stream:
        for file in found.files:
            stream.write(file.data)
    with replacing(folder / "signatures") as temporary:
        found.signatures.tofile(temporary)
    with replacing(folder / "head.json") as temporary:  # last: with it the survey is whole
        temporary.write_bytes(msgspec.json.encode(head))
    return key


def _head(folder: Path) -> _Stored:
    return msgspec.json.decode((folder / "head.json").read_bytes(), type=_Stored)


def _written(out: Path, work: Path, surveys: dict[str, _Stored], failed: dict[str, str], options: Options) -> Manifest:
    """Drop copies, write shards part by part, then the manifest."""
    part = {key: part_of(stored.name, options.seed) for key, stored in surveys.items()}
    order = sorted(surveys, key=lambda key: (PARTS.index(part[key]), surveys[key].name, key))
    copies = _copies(work, [(key, surveys[key]) for key in order])
    shards: list[Shard] = []
    for name in PARTS:
        rows = (row for key in order if part[key] == name for row in _rows(work / key, surveys[key], name, copies[key]))
        shards += write(out, name, rows)
    repositories = [_repository(surveys[key], part[key], copies[key]) for key in order]
    manifest = Manifest(
        options=msgspec.to_builtins(asdict(options)),
        repositories=sorted(repositories, key=lambda repository: repository.name),
        failed=dict(sorted(failed.items())),
        shards=shards,
    )
    write_manifest(out, manifest)
    return manifest


def _copies(work: Path, surveys: Sequence[tuple[str, _Stored]]) -> dict[str, list[str]]:
    """For each survey, why each of its files is dropped as a copy of an earlier one, or ''."""
    total = sum(len(stored.files) for _, stored in surveys)
    seen: set[str] = set()
    reasons: list[str] = []
    with replacing(work / "signatures") as temporary:
        with temporary.open("wb") as stream:
            for key, stored in surveys:
                with (work / key / "signatures").open("rb") as part:
                    shutil.copyfileobj(part, stream)
                for _, _, digest, _, _ in stored.files:
                    reasons.append(EXACT if digest in seen else "")
                    seen.add(digest)
        if total:
            everything: Signatures = np.memmap(temporary, np.uint32, "r", shape=(total, PERMUTATIONS))
            for index in np.flatnonzero(near_copies(everything)).tolist():
                reasons[index] = reasons[index] or NEAR
            del everything
    (work / "signatures").unlink()
    out: dict[str, list[str]] = {}
    start = 0
    for key, stored in surveys:
        out[key] = reasons[start : start + len(stored.files)]
        start += len(stored.files)
    return out


def _rows(folder: Path, stored: _Stored, part: str, copies: Sequence[str]) -> Iterator[Row]:
    with (folder / "texts").open("rb") as texts:
        for (path, language, digest, size, sites), copy in zip(stored.files, copies, strict=True):
            data = texts.read(size)
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


def _repository(stored: _Stored, part: str, copies: Sequence[str]) -> Repository:
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


@contextlib.contextmanager
def _alone(folder: Path) -> Generator[Any]:
    """Hold the folder; CorpusError where another run does."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".lock", timeout=0)
    try:
        with lock:
            yield lock
    except Timeout:
        raise CorpusError(
            folder, "is being mined into by another run.", "Wait for it, or give another folder."
        ) from None


def jobs_by_default() -> int:
    """As many processes as processors may be used."""
    return max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
