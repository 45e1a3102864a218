"""Builds the ranker's tables from counts, within a size limit, and describes them on a card."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from corpus.mining.shards import alone, replacing
from corpus.usage.counts import WHOLE, Counts, UsageManifest, read_counted, write_counted
from corpus.usage.table import FOLDER, STEPS, SUFFIX, Table

FEWEST = 3  # repositories: a name that fewer use in a context is dropped, which removes private names
LARGEST = 2_900_000  # bytes of a table: one group of languages
MOST_NAMES = 4_000  # maximum number of names of a context
PAIR, CONTEXT = 7, 14  # bytes of each in a table
WIDEST = 65_535


def build(counts: Path, out: Path = FOLDER, *, largest: int = LARGEST, fewest: int = FEWEST) -> dict[str, Table]:
    """Build a table for each group of languages in the folder `counts`, and write it into `out`.

    A name has to be in `fewest` repositories of a context. Raises CorpusError and OSError.
    """
    manifest = read_counted(counts)
    out.mkdir(parents=True, exist_ok=True)
    found: dict[str, Table] = {}
    for file in sorted(counts.glob("*.parquet")):
        counted = sum(1 for one in manifest.repositories if one.files.get(file.stem))
        found[file.stem] = table_of_counts(Counts.load(file), counted, largest, fewest)
        with replacing(out / f"{file.stem}{SUFFIX}") as temporary:
            found[file.stem].save(temporary)
    return found


def compact(counts: Path, out: Path, *, fewest: int = 2) -> None:
    """Copy counts without the pairs of fewer than `fewest` repositories, so that they are small enough to share.

    More can be added to them. Up to FEWEST, the same tables can be built of them.
    """
    out.mkdir(parents=True, exist_ok=True)
    with alone(out):
        for file in sorted(counts.glob("*.parquet")):
            whole = Counts.load(file)
            whole.only(whole.repositories >= fewest).save(out / file.name)
        write_counted(out, read_counted(counts))


def table_of_counts(counts: Counts, counted: int, largest: int = LARGEST, fewest: int = FEWEST) -> Table:
    """Keep the pairs of at least `fewest` repositories. If they take more than `largest` bytes, require more repositories."""
    kept = _kept(counts, fewest)
    while _size(kept) > largest:
        fewest += 1
        kept = _kept(counts, fewest)
    whole = kept.names == 0
    contexts = kept.contexts[whole]
    pairs = kept.only(~whole)
    starts = np.searchsorted(pairs.contexts, contexts)
    totals = kept.repositories[whole]
    owner = np.searchsorted(contexts, pairs.contexts)
    share = pairs.shares / (totals[owner] * float(WHOLE))
    return Table(
        contexts=contexts,
        starts=np.append(starts, len(pairs.names)).astype(np.uint32),
        names=pairs.names,
        repositories=np.minimum(pairs.repositories, WIDEST).astype(np.uint16),
        totals=np.minimum(totals, WIDEST).astype(np.uint16),
        shares=np.clip(np.rint(-STEPS * np.log(np.maximum(share, 1e-9))), 0, 255).astype(np.uint8),
        counted=counted,
    )


def _kept(counts: Counts, fewest: int) -> Counts:
    """Keep pairs of at least `fewest` repositories, at most MOST_NAMES of a context. Contexts without names are removed."""
    found = counts.only(counts.repositories >= fewest)
    whole = found.names == 0
    rank = np.lexsort((found.names, -found.shares.astype(np.int64), ~whole, found.contexts))
    first = np.flatnonzero(whole[rank])
    place = np.arange(len(rank)) - np.repeat(first, np.diff(np.append(first, len(rank))))
    within = np.empty(len(rank), np.int64)
    within[rank] = place
    found = found.only(within <= MOST_NAMES)
    whole = found.names == 0
    names_of = np.diff(np.append(np.flatnonzero(whole), len(whole))) - 1
    return found.only(np.repeat(names_of > 0, names_of + 1))


def _size(counts: Counts) -> int:
    contexts = int((counts.names == 0).sum())
    return PAIR * (len(counts.names) - contexts) + CONTEXT * contexts


def card(manifest: UsageManifest, tables: dict[str, Table]) -> str:
    """Describe the tables in Markdown."""
    lines = [
        "| table | repositories | contexts | names in contexts | MB |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for group, table in sorted(tables.items()):
        size = (PAIR * len(table.names) + CONTEXT * len(table.contexts)) / 1e6
        lines.append(f"| {group} | {table.counted:,} | {len(table.contexts):,} | {len(table.names):,} | {size:.2f} |")
    licences = Counter(one.licence for one in manifest.repositories)
    lines += ["", "| licence | repositories |", "| --- | ---: |"]
    lines += [
        f"| {licence} | {count:,} |" for licence, count in sorted(licences.items(), key=lambda one: (-one[1], one[0]))
    ]
    return "\n".join(lines) + "\n"
