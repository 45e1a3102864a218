"""Every method beside HF peft: one case a way of using it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tuning.cases import CASES
from tests.tuning.oracle import ATOL, BASES, EXACT, both, check_file_written_by_us, check_same, tokens
from tuning.registry import LayerFamily, method_named


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize(
    ("config", "options"), CASES, ids=lambda value: value if isinstance(value, str) else "-".join(value)
)
def test_a_method_is_pefts(config: str, options: dict[str, Any], base: str, tmp_path: Path) -> None:
    options = {
        key: value[base] if isinstance(value, dict) and base in value else value for key, value in options.items()
    }
    theirs, ours = both(base, config, tmp_path / "theirs", **options)
    atol = ATOL.get(config, EXACT)
    check_same(theirs, ours, atol=atol)
    check_file_written_by_us(theirs, ours, base, tmp_path / "ours", atol=atol)
    if isinstance(family := method_named(ours.active_peft_config.METHOD), LayerFamily) and family.merges:
        before = ours(input_ids=tokens()).logits
        ours.merge_adapter()
        assert torch.allclose(ours(input_ids=tokens()).logits, before, rtol=0, atol=1e-9)
        ours.unmerge_adapter()
        assert torch.allclose(ours(input_ids=tokens()).logits, before, rtol=0, atol=1e-9)
