"""Methods that the common cases can't hold, beside HF peft."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.tuning.cases_apart import APART, Apart
from tests.tuning.oracle import both, check_file_written_by_us, check_same, tokens
from tuning.registry import method_named


@pytest.mark.parametrize("case", APART, ids=str)
def test_a_method_is_pefts(case: Apart, tmp_path: Path) -> None:
    theirs, ours = both(
        case.base, case.config, tmp_path / "theirs", single=case.single, reread=case.reread, **case.chosen()
    )
    check_same(theirs, ours, atol=case.atol)
    rounded = 1e-5 if case.single else case.atol  # our steps in double precision, read in single
    check_file_written_by_us(theirs, ours, case.base, tmp_path / "ours", single=case.single, atol=rounded)
    if not getattr(method_named(ours.active_peft_config.METHOD), "merges", False):
        return
    before = ours(input_ids=tokens()).logits
    ours.merge_adapter()
    assert torch.allclose(ours(input_ids=tokens()).logits, before, rtol=0, atol=1e-9)
    if case.base != "gpt2":  # whose head is tied: PEFT's merging changes the embedding too
        theirs.merge_adapter()
        assert torch.allclose(theirs(input_ids=tokens()).logits, before, rtol=0, atol=case.atol)
    ours.unmerge_adapter()
    assert torch.allclose(ours(input_ids=tokens()).logits, before, rtol=0, atol=1e-9)
