"""Two adapters on the same layers, in every way of using each method: merging them equals applying them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import tuning
from tests.tuning.cases import CASES
from tests.tuning.oracle import BASES, tokens
from tuning.registry import LayerFamily, methods

FAMILIES = {
    family.config.__name__ for family in methods().values() if isinstance(family, LayerFamily) and family.merges
}
LAYER_CASES = [(name, options) for name, options in CASES if name in FAMILIES]


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize(("name", "options"), LAYER_CASES, ids=str)
def test_two_merge_as_they_apply(name: str, options: dict[str, Any], base: str) -> None:
    options = {
        key: value[base] if isinstance(value, dict) and base in value else value for key, value in options.items()
    }
    torch.manual_seed(3)
    model = tuning.get_peft_model(BASES[base](), getattr(tuning, name)(**options), autocast_adapter_dtype=False).eval()
    second = {
        key: value for key, value in options.items() if key not in ("bias", "modules_to_save")
    }  # one adapter's only
    model.add_adapter("other", getattr(tuning, name)(**second), autocast_adapter_dtype=False)
    for adapter in ("default", "other"):
        model.set_adapter(adapter)
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data += 0.05 * torch.randn_like(parameter)
    with torch.no_grad():
        for stack in (["default", "other"], ["other", "default"]):
            model.set_adapter(stack)
            applied = model(input_ids=tokens()).logits
            model.merge_adapter()
            assert torch.allclose(model(input_ids=tokens()).logits, applied, rtol=0, atol=1e-9)
            model.unmerge_adapter()
            assert torch.allclose(model(input_ids=tokens()).logits, applied, rtol=0, atol=1e-9)
