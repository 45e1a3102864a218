"""Windows and their scores on disk, in Parquet: what training and scoring on another machine need, and no more.

Windows hold what a repository's code says (as tokens): keep such a file as private as the code. Scores hold names alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tuning.files import replacing
from tuning.ranking.learning.windows import ListedSite, Window
from tuning.ranking.serving.model.errors import ScorerMissing

if TYPE_CHECKING:
    import pyarrow as pa

VERSION_KEY, VERSION = b"starling.windows", b"1"
ROWS = 500  # a row group


def write_windows(path: Path, found: Iterable[Window]) -> int:
    """Write a file of windows, whole or not at all; returns how many."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    count = 0
    with replacing(path) as temporary, pq.ParquetWriter(temporary, _schema(), compression="zstd") as out:
        waiting: list[dict[str, Any]] = []
        for window in found:
            waiting.append(_row(window))
            count += 1
            if len(waiting) == ROWS:
                out.write_table(pa.Table.from_pylist(waiting, _schema()))
                waiting = []
        out.write_table(pa.Table.from_pylist(waiting, _schema()))
    return count


def read_windows(path: Path, languages: Sequence[str] = ()) -> Iterator[Window]:
    """The windows of a file, all or those of some languages. Raises ScorerMissing for a file of another kind."""
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    if (file.schema_arrow.metadata or {}).get(VERSION_KEY) != VERSION:
        raise ScorerMissing(f"{path} holds no windows that this version reads: make it again")
    for batch in file.iter_batches(batch_size=ROWS):
        for row in batch.to_pylist():
            if not languages or row["language"] in languages:
                yield _window(row)


def _schema() -> pa.Schema:
    import pyarrow as pa

    ints, texts = pa.list_(pa.int32()), pa.list_(pa.string())
    columns = {
        "repository": pa.string(), "language": pa.string(), "tokens": ints, "places": ints, "truths": ints,
        "prompts": texts, "kinds": texts, "counts": ints, "names": texts, "beside": pa.list_(pa.float32()),
        "lengths": ints, "candidates": ints,
    }  # fmt: skip
    return pa.schema(list(columns.items()), metadata={VERSION_KEY: VERSION})


def _row(window: Window) -> dict[str, Any]:
    """Sites as columns, with the candidates of all of them behind one another."""
    sites = window.sites
    sequences = [sequence for site in sites for sequence in site.sequences]
    return {
        "repository": window.repository,
        "language": window.language,
        "tokens": window.tokens,
        "places": [site.place for site in sites],
        "truths": [site.truth for site in sites],
        "prompts": [site.prompt for site in sites],
        "kinds": [site.kind for site in sites],
        "counts": [len(site.sequences) for site in sites],
        "names": [name for site in sites for name in site.names],
        "beside": [odds for site in sites for odds in site.beside],
        "lengths": [len(sequence) for sequence in sequences],
        "candidates": [token for sequence in sequences for token in sequence],
    }


def _window(row: Mapping[str, Any]) -> Window:
    ends = np.cumsum(row["lengths"]).tolist()
    sequences = [row["candidates"][end - length : end] for end, length in zip(ends, row["lengths"], strict=True)]
    sites: list[ListedSite] = []
    first = 0
    for place, truth, prompt, kind, count in zip(
        row["places"], row["truths"], row["prompts"], row["kinds"], row["counts"], strict=True
    ):
        rows = slice(first, first + count)
        first += count
        sites.append(
            ListedSite(
                place=place,
                sequences=sequences[rows],
                truth=truth,
                beside=row["beside"][rows],
                names=row["names"][rows],
                prompt=prompt,
                kind=kind,
            )
        )
    return Window(tokens=row["tokens"], sites=sites, repository=row["repository"], language=row["language"])
