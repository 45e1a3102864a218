"""Data as a run sees it: rows in an order that a seed and an epoch give, and batches of them."""

from __future__ import annotations

import random
import zlib
from array import array
from collections.abc import Callable, Sequence
from typing import Any, Protocol, final

from tuning.errors import TrainingError
from tuning.training.packing import Window, packed_batch, padded_batch, windows


class Feed(Protocol):
    def epoch(self, number: int) -> Sequence[Any]:
        """All rows, in this epoch's order; as many in each epoch."""
        ...

    def batch(self, rows: Sequence[Any]) -> Any:
        """What the loss takes. Without rows: something that no loss comes of."""
        ...

    def names(self, rows: Sequence[Any]) -> list[int]:
        """Which documents or examples of the data rows hold."""
        ...

    def fingerprint(self) -> str:
        """Says whether data is the same as it was."""
        ...


@final
class Documents:
    """Token ids, a sequence a document, in windows."""

    def __init__(self, documents: Sequence[Sequence[int]], *, window: int, packing: bool, seed: int) -> None:
        if not any(len(document) > 1 for document in documents):
            raise TrainingError(f"of {len(documents)} documents none has two tokens: there is nothing to predict")
        self._documents, self._window, self.packing, self._seed = documents, window, packing, seed
        self._lengths = [len(document) for document in documents]

    def epoch(self, number: int) -> Sequence[Window]:
        return windows(self._lengths, self._window, seed=f"{self._seed}/{number}", packing=self.packing)

    def batch(self, rows: Sequence[Window]) -> Any:
        made = packed_batch if self.packing else padded_batch
        if rows:
            return made(rows, self._documents)
        batch = made(self.epoch(0)[:1], self._documents)
        batch["labels"].fill_(-100)
        return batch

    def names(self, rows: Sequence[Window]) -> list[int]:
        return sorted({piece.document for row in rows for piece in row})

    def fingerprint(self) -> str:
        check = 0
        for document in self._documents:
            check = zlib.crc32(array("q", document).tobytes(), check)
        return f"{len(self._documents)} documents, {sum(self._lengths)} tokens, {check:08x}"


@final
class Examples:
    """A caller's own examples; `collate` makes a batch of some."""

    def __init__(self, examples: Sequence[Any], collate: Callable[[list[Any]], Any], *, seed: int) -> None:
        if not len(examples):
            raise TrainingError("there are no examples")
        self._examples, self._collate, self._seed = examples, collate, seed

    def epoch(self, number: int) -> Sequence[int]:
        order = list(range(len(self._examples)))
        random.Random(f"examples {self._seed}/{number}").shuffle(order)
        return order

    def batch(self, rows: Sequence[int]) -> Any:
        return self._collate([self._examples[row] for row in rows]) if rows else None

    def names(self, rows: Sequence[int]) -> list[int]:
        return sorted(rows)

    def fingerprint(self) -> str:
        return f"{len(self._examples)} examples"
