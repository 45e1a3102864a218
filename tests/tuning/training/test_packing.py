"""Documents in windows: all tokens once, in a seed's order, none seeing another's."""

import random

import pytest
import torch
from torch.nn import functional

from tests.tuning.oracle import BASES, VOCABULARY
from tuning.training.packing import IGNORED, packed_batch, padded_batch, windows

LENGTHS = [3, 30, 7, 16, 1, 9, 40, 5, 2, 11]


def documents() -> list[list[int]]:
    chance = random.Random(1)
    return [[chance.randrange(VOCABULARY) for _ in range(length)] for length in LENGTHS]


@pytest.mark.parametrize("packing", [True, False])
def test_every_token_is_in_one_window(packing: bool) -> None:
    found = windows(LENGTHS, 16, packing=packing)
    tokens = [
        (piece.document, place) for window in found for piece in window for place in range(piece.start, piece.stop)
    ]
    assert sorted(tokens) == [(number, place) for number, length in enumerate(LENGTHS) for place in range(length)]
    assert all(sum(piece.length for piece in window) <= 16 for window in found)


def test_windows_are_nearly_full() -> None:
    chance = random.Random(2)
    lengths = [chance.randrange(1, 200) for _ in range(2000)]
    assert len(windows(lengths, 128)) <= 1.01 * sum(lengths) / 128 + 1


def test_a_seed_gives_an_order_and_another_gives_another() -> None:
    first, again, other = (windows(LENGTHS, 16, seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    assert len(first) == len(other)


def test_labels_are_tokens_but_for_a_pieces_first() -> None:
    batch = packed_batch([windows([3, 2], 8, seed=0)[0]], [[1, 2, 3], [4, 5]])
    assert batch["input_ids"].tolist() == [[1, 2, 3, 4, 5]]
    assert batch["labels"].tolist() == [[IGNORED, 2, 3, IGNORED, 5]]
    assert batch["position_ids"].tolist() == [[0, 1, 2, 0, 1]]


def test_without_packing_rows_are_padded_and_masked() -> None:
    batch = padded_batch(windows([3, 2], 8, packing=False, seed=3), [[1, 2, 3], [4, 5]])
    rows = sorted(zip(batch["input_ids"].tolist(), batch["attention_mask"].tolist(), strict=True))
    assert rows == [([1, 2, 3], [1, 1, 1]), ([4, 5, 0], [1, 1, 0])]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("base", BASES)
def test_packed_logits_are_each_documents_own(base: str, attention: str) -> None:
    """Eager attention takes its softmax in single precision, whatever the model's."""
    model = BASES[base]()
    model.set_attn_implementation(attention)
    precision = 1e-9 if attention == "sdpa" else 1e-5
    texts = documents()
    rows = windows(LENGTHS, 16)
    batch = packed_batch(rows, texts)
    batch.pop("labels")
    packed = model(**batch).logits
    for row, window in enumerate(rows):
        place = 0
        for piece in window:
            alone = model(input_ids=torch.tensor([texts[piece.document][piece.start : piece.stop]])).logits[0]
            assert torch.allclose(packed[row, place : place + piece.length], alone, rtol=0, atol=precision)
            place += piece.length


def test_packed_loss_is_the_sum_over_documents() -> None:
    model = BASES["llama"]()
    texts = documents()
    batch = packed_batch(windows(LENGTHS, 16), texts)
    logits = model(**{key: value for key, value in batch.items() if key != "labels"}).logits
    packed = functional.cross_entropy(logits[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten(), reduction="sum")
    alone = 0.0
    for piece in (piece for window in windows(LENGTHS, 16) for piece in window):
        ids = torch.tensor([texts[piece.document][piece.start : piece.stop]])
        if piece.length > 1:
            alone += functional.cross_entropy(model(input_ids=ids).logits[0, :-1], ids[0, 1:], reduction="sum").item()
    assert packed.item() == pytest.approx(alone, abs=1e-9)
