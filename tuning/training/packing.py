"""Documents into windows of a fixed length, several in one where they fit, none seeing another.

Positions restart with each document. That is all a model needs to be told: `transformers` reads documents off the positions where no
attention mask and no cache is given, for every kind of attention, sliding windows too, which a mask made here could not
know of. `objective.check` proves it for the model at hand.
"""

from __future__ import annotations

import random
from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

IGNORED = -100  # a label that is not learned, by the convention of torch and transformers


class Piece(NamedTuple):
    """A document, or what fits of it in a window: its tokens from `start` to `stop`."""

    document: int
    start: int
    stop: int

    @property
    def length(self) -> int:
        return self.stop - self.start


Window = tuple[Piece, ...]


def windows(lengths: Sequence[int], size: int, *, seed: str | int = 0, packing: bool = True) -> list[Window]:
    """All documents, of these lengths, in windows of `size` tokens or fewer. The same seed gives the same windows in the same order.

    Pieces go, longest first, where they leave the least room (best-fit decreasing; for training: Ding et al. 2024,
    https://arxiv.org/abs/2404.10830). How many windows there are does not depend on the seed.
    """
    order = random.Random(f"windows {seed}")
    pieces = [piece for document, length in enumerate(lengths) for piece in _cut(document, length, size)]
    order.shuffle(pieces)
    if not packing:
        return [(piece,) for piece in pieces]
    packed = _packed(pieces, size)
    order.shuffle(packed)
    return packed


def _cut(document: int, length: int, size: int) -> list[Piece]:
    return [Piece(document, start, min(start + size, length)) for start in range(0, length, size)]


def _packed(pieces: Sequence[Piece], size: int) -> list[Window]:
    found: list[list[Piece]] = []
    with_room: list[list[int]] = [[] for _ in range(size + 1)]  # room left -> windows
    rooms: list[int] = []  # those that there are, rising
    for piece in sorted(pieces, key=lambda piece: -piece.length):  # stable: equal lengths stay shuffled
        place = bisect_left(rooms, piece.length)
        if place == len(rooms):
            room, window = size, len(found)
            found.append([])
        else:
            room = rooms[place]
            window = with_room[room].pop()
            if not with_room[room]:
                del rooms[place]
        found[window].append(piece)
        left = room - piece.length
        if left and not with_room[left]:
            insort(rooms, left)
        if left:
            with_room[left].append(window)
    return [tuple(window) for window in found]


def packed_batch(rows: Sequence[Window], documents: Sequence[Sequence[int]]) -> dict[str, Any]:
    """What a model's forward takes, of windows: token ids, positions and labels, (rows, longest window) each.

    The first token of each piece is no label: what stands before it is another document's. Padding is a document of its own.
    """
    width = max(sum(piece.length for piece in row) for row in rows)
    tokens = torch.zeros(len(rows), width, dtype=torch.long)
    positions = torch.zeros_like(tokens)
    labels = torch.full_like(tokens, IGNORED)
    for number, row in enumerate(rows):
        place = 0
        for piece in row:
            end = place + piece.length
            ids = torch.tensor(documents[piece.document][piece.start : piece.stop])
            tokens[number, place:end] = ids
            labels[number, place + 1 : end] = ids[1:]
            positions[number, place:end] = torch.arange(piece.length)
            place = end
        positions[number, place:] = torch.arange(width - place)
    return {"input_ids": tokens, "position_ids": positions, "labels": labels, "use_cache": False}


def padded_batch(rows: Sequence[Window], documents: Sequence[Sequence[int]]) -> dict[str, Any]:
    """As `packed_batch`, of windows of one piece each, with an attention mask in the place of positions."""
    batch = packed_batch(rows, documents)
    del batch["position_ids"]
    lengths = torch.tensor([row[0].length for row in rows])
    batch["attention_mask"] = (torch.arange(batch["input_ids"].shape[1]) < lengths[:, None]).long()
    return batch


def count_labels(batch: Mapping[str, Any]) -> int:
    """How many tokens of a batch are predicted."""
    labels: Tensor = batch["labels"]
    return int((labels[:, 1:] != IGNORED).sum())
