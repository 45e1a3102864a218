"""What one repository gives: its kept files with their sites and signatures, and what was left out and why.

Pure reading: nothing of it is run, written or asked of anyone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from corpus.mining.copies import Signatures, shingles_of, signatures
from corpus.mining.filters import LARGEST, SMALLEST, File, by_content, by_path, language_of, name_ending
from corpus.mining.licences import LONGEST, PERMISSIVE, allowed, is_licence_file, licence_of
from corpus.mining.limits import KEPT, LICENCE_FILES
from corpus.mining.sites import PER_FILE, Site, sites
from corpus.mining.snapshots import Entry, Snapshot, SourceBroken, SourceRefused
from corpus.syntax.language import Language
from corpus.syntax.parse import grammar
from corpus.syntax.tokens import U64, cut

if TYPE_CHECKING:
    import tree_sitter

# Bytes cut into tokens, then parsed: each works in the processor's cache, and turns the other's tables out of it.
BATCH = 1 << 20
WAITING = 1_000_000  # shingles held at once


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is kept. Part of what a survey is known by: another choice is another survey."""

    languages: tuple[str, ...] = ()  # ids; empty for all
    licences: tuple[str, ...] = tuple(sorted(PERMISSIVE))  # empty for any
    sites_per_file: int = PER_FILE
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Kept:
    """One file that is kept."""

    path: str
    language: str
    sha256: bytes
    data: bytes
    sites: list[Site]


@dataclass(frozen=True, kw_only=True)
class Survey:
    """One source. `dropped` counts files and bytes by reason; `signatures` is uint32 [len(files), PERMUTATIONS]."""

    name: str
    revision: str
    licence: str
    files: list[Kept]
    signatures: Signatures
    dropped: Mapping[str, tuple[int, int]]


def survey(snapshot: Snapshot, options: Options) -> Survey:
    """Read a source to its end. Raises SourceError."""
    licence = licence_of(_licence_texts(snapshot))
    refused = "" if not options.licences or allowed(licence, options.licences) else f"licence {licence}"
    dropped: dict[str, tuple[int, int]] = {}
    files: list[Kept] = []
    signed: list[Signatures] = []
    waiting: list[U64] = []
    held = size = 0
    for batch in _batches(_wanted(snapshot, options, refused, dropped)):
        kept, shingled = _kept(batch, options)
        files += kept
        size += sum(len(file.data) for file in kept)
        if size > KEPT:
            problem = f"has more than {KEPT // 1_000_000:,} MB of code."
            raise SourceRefused(snapshot.name, problem, "Give its folders as sources of their own.")
        waiting += shingled
        held += sum(map(len, shingled))
        if held > WAITING:
            signed.append(signatures(waiting))
            waiting, held = [], 0
    return Survey(
        name=snapshot.name,
        revision=snapshot.revision,
        licence=licence,
        files=files,
        signatures=np.concatenate([*signed, signatures(waiting)]),
        dropped=dict(sorted(dropped.items())),
    )


def _licence_texts(snapshot: Snapshot) -> dict[str, bytes]:
    """What may state the licence of all: path to the text, as far as it is looked at."""
    found: dict[str, bytes] = {}
    for entry in snapshot.entries():
        if is_licence_file(entry.path) and 0 < entry.size <= LARGEST:
            found[entry.path] = entry.read()[:LONGEST]
            if len(found) > LICENCE_FILES:
                problem = f"has more than {LICENCE_FILES:,} licence files."
                raise SourceRefused(snapshot.name, problem, "Give its folders as sources of their own.")
    return found


def _wanted(snapshot: Snapshot, options: Options, refused: str, dropped: dict[str, tuple[int, int]]) -> Iterator[File]:
    """The files to keep; the others are counted in `dropped`, with their bytes."""
    for entry in snapshot.entries():
        found = _read(entry, options, refused)
        if isinstance(found, str):
            count, size = dropped.get(found, (0, 0))
            dropped[found] = count + 1, size + max(0, entry.size)
        elif found is not None:
            yield found


def _read(entry: Entry, options: Options, refused: str) -> File | str | None:
    """The file, or the reason to leave it out; None for what is no code in a wanted language, as far as is known unread."""
    data = b""
    try:
        if not name_ending(entry.path):  # its first line says what it is, however small it is
            if entry.size <= 0 or by_path(entry.path, max(entry.size, SMALLEST)):
                return None
            data = entry.read()
        language = language_of(entry.path, data)
        if language is None or (options.languages and language.id not in options.languages):
            return None
        reason = refused or by_path(entry.path, entry.size)
        if reason:
            return reason
        file = File(path=entry.path, language=language, data=data or entry.read())
    except SourceBroken:
        return "absent"
    return by_content(file) or file


def _batches(files: Iterator[File]) -> Iterator[list[File]]:
    """Files in groups of some BATCH bytes."""
    batch: list[File] = []
    size = 0
    for file in files:
        batch.append(file)
        size += len(file.data)
        if size >= BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _kept(batch: Sequence[File], options: Options) -> tuple[list[Kept], list[U64]]:
    """The files with their sites, and the shingles of each."""
    tokens = cut([file.data for file in batch])
    kept: list[Kept] = []
    for file, names in zip(batch, tokens.names, strict=True):
        digest = hashlib.sha256(file.data).digest()
        seed = int.from_bytes(digest[:8], "big") ^ options.seed
        tree = _parser(file.language).parse(file.data)
        chosen = sites(file.data, names, tree, file.language, seed, options.sites_per_file)
        kept.append(Kept(path=file.path, language=file.language.id, sha256=digest, data=file.data, sites=chosen))
    return kept, shingles_of(tokens.hashes, tokens.tokens)


@cache
def _parser(language: Language) -> tree_sitter.Parser:
    import tree_sitter

    return tree_sitter.Parser(grammar(language))
