"""What a model said of names after prompts, kept in Parquet: scored on one machine, used on another. Holds names and no code."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from tuning.files import replacing
from tuning.ranking.serving.features import Floats
from tuning.ranking.serving.model.errors import ScorerMissing
from tuning.ranking.serving.model.prompt import Prompt


def write_scores(path: Path, found: Iterable[tuple[str, Sequence[str], Sequence[float]]]) -> int:
    """Write what a model says: a prompt's key, names, and log P of each. Returns how many prompts."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{"prompt": prompt, "names": names, "log_p": scores} for prompt, names, scores in found]
    columns = [("prompt", pa.string()), ("names", pa.list_(pa.string())), ("log_p", pa.list_(pa.float32()))]
    with replacing(path) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, pa.schema(columns)), temporary, compression="zstd")
    return len(rows)


class KnownScores:
    """What `write_scores` wrote, asked as a scorer is."""

    def __init__(self, paths: Sequence[Path]) -> None:
        import pyarrow.parquet as pq

        self._paths = paths
        self._of: dict[str, dict[str, float]] = {}
        for path in paths:
            for batch in pq.ParquetFile(path).iter_batches():
                for row in batch.to_pylist():
                    self._of.setdefault(row["prompt"], {}).update(zip(row["names"], row["log_p"], strict=True))

    def log_p(self, prompt: Prompt, names: Sequence[str]) -> Floats:
        """float64[n], NaN for a name that was not scored. Raises ScorerMissing where none was after this prompt."""
        known = self._of.get(prompt.key)
        if known is None:
            files = ", ".join(map(str, self._paths))
            raise ScorerMissing(f"{files}: nothing was scored after a prompt; score the lists that are asked about")
        return np.array([known.get(name, math.nan) for name in names], np.float64)
