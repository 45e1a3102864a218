"""What one repository gives: its kept files with their sites and signatures, and what was left out and why.

Pure reading: nothing of it is run, written or asked of anyone.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from corpus.copies import Signatures, shingles, signatures
from corpus.filters import LARGEST, File, by_content, by_path, language_of
from corpus.licences import PERMISSIVE, allowed, is_licence_file, licence_of
from corpus.sites import PER_FILE, Site, sites
from corpus.sources import Entry, Snapshot, SourceBroken
from corpus.syntax.language import Language
from corpus.syntax.parse import grammar
from corpus.syntax.tokens import U64, spanned

if TYPE_CHECKING:
    import tree_sitter

WAITING = 1_000_000  # shingles held at once


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is kept. Part of what a survey is known by: another choice is another survey."""

    languages: tuple[str, ...] = ()  # ids; empty for all
    licences: tuple[str, ...] = tuple(sorted(PERMISSIVE))
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
    counted: Counter[str] = Counter()
    dropped_bytes: Counter[str] = Counter()
    files: list[Kept] = []
    signed: list[Signatures] = []
    waiting: list[U64] = []
    licence = licence_of(
        {
            entry.path: entry.read()
            for entry in snapshot.entries()
            if is_licence_file(entry.path) and 0 < entry.size <= LARGEST
        }
    )
    refused = "" if allowed(licence, options.licences) else f"licence {licence}"
    for entry in snapshot.entries():
        found = _kept(entry, options, refused)
        if isinstance(found, str):
            counted[found] += 1
            dropped_bytes[found] += max(0, entry.size)
        elif found is not None:
            files.append(found[0])
            waiting.append(found[1])
            if sum(map(len, waiting)) > WAITING:
                signed.append(signatures(waiting))
                waiting = []
    return Survey(
        name=snapshot.name,
        revision=snapshot.revision,
        licence=licence,
        files=files,
        signatures=np.concatenate([*signed, signatures(waiting)]),
        dropped={reason: (counted[reason], dropped_bytes[reason]) for reason in sorted(counted)},
    )


def _kept(entry: Entry, options: Options, refused: str) -> tuple[Kept, U64] | str | None:
    """The file and its shingles, or the reason to leave it out; None for what is no code in a wanted language."""
    data = b""
    suffix = PurePosixPath(entry.path).suffix
    if not suffix and 0 < entry.size <= LARGEST:
        data = entry.read()
    language = language_of(entry.path, data)
    if language is None or (options.languages and language.id not in options.languages):
        return None
    reason = refused or by_path(entry.path, entry.size)
    if reason:
        return reason
    try:
        data = data or entry.read()
    except SourceBroken:
        return "absent"
    reason = by_content(File(path=entry.path, language=language, data=data))
    if reason:
        return reason
    digest = hashlib.sha256(data).digest()
    tokens, first, last = spanned(data)
    names = first[tokens.names], last[tokens.names]
    seed = int.from_bytes(digest[:8], "big") ^ options.seed
    chosen = sites(data, names, _parser(language).parse(data), language, seed, options.sites_per_file)
    kept = Kept(path=entry.path, language=language.id, sha256=digest, data=data, sites=chosen)
    return kept, shingles(tokens.hashes)


@cache
def _parser(language: Language) -> tree_sitter.Parser:
    import tree_sitter

    return tree_sitter.Parser(grammar(language))
