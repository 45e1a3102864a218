"""Laws of merging, for every method whose adapters are changes of weights; the others say that they are not."""

from __future__ import annotations

import copy

import pytest
import torch

import tuning
from tests.tuning.laws import LAYERS, MERGED, adapted, check_apart, check_close, logits, tiny_llama, weights, with_two
from tuning.kinds import Affine
from tuning.layers import adapted_layers


@pytest.mark.parametrize("method", MERGED)
def test_merging_equals_applying(method: str) -> None:
    model = adapted(method)
    before = logits(model)
    check_apart(before, logits(tiny_llama()))
    model.merge_adapter(safe_merge=True)
    assert all(layer.merged_adapters for layer in model.get_layer_status())
    check_close(logits(model), before)
    plain = model.merge_and_unload()
    assert not adapted_layers(plain)
    check_close(logits(plain), before)


@pytest.mark.parametrize("method", MERGED)
def test_unmerging_gives_the_base_back_to_a_millionth(method: str) -> None:
    model = adapted(method, torch.float32)
    before, applied = weights(model.get_base_model()), logits(model)
    model.merge_adapter()
    model.unmerge_adapter()
    for key, tensor in weights(model.get_base_model()).items():
        assert torch.allclose(tensor, before[key], rtol=0, atol=1e-6), key
    check_close(logits(model), applied, 1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("method", MERGED)
def test_unmerging_gives_a_kept_base_back_bit_for_bit(method: str, dtype: torch.dtype) -> None:
    model = adapted(method, dtype)
    before = weights(model.get_base_model())
    model.merge_adapter(keep_base=True)
    assert any(not torch.equal(tensor, before[key]) for key, tensor in weights(model.get_base_model()).items())
    with model.disable_adapter():
        assert torch.equal(logits(model), logits(tiny_llama().to(dtype)))
    model.unmerge_adapter()
    after = weights(model.get_base_model())
    assert all(torch.equal(tensor, before[key]) for key, tensor in after.items())


@pytest.mark.parametrize("method", MERGED)
def test_disabling_takes_merged_adapters_out_and_puts_them_back(method: str) -> None:
    model = adapted(method)
    before = logits(model)
    model.merge_adapter()
    with model.disable_adapter():
        check_close(logits(model), logits(tiny_llama()))
    assert model.get_model_status().merged_adapters == ["default"]
    check_close(logits(model), before)


@pytest.mark.parametrize("method", MERGED)
def test_merging_in_bfloat16_rounds_once(method: str) -> None:
    half = adapted(method, torch.bfloat16, autocast=True)
    whole = copy.deepcopy(half).float()
    for model in (half, whole):
        model.merge_adapter()
    exact = whole.get_base_model().state_dict()
    for key, tensor in weights(half.get_base_model()).items():
        assert tensor.dtype == torch.bfloat16
        assert torch.allclose(tensor.float(), exact[key], rtol=2**-7, atol=1e-6), key


@pytest.mark.parametrize("method", MERGED)
def test_merging_two_adapters_equals_stacking_them(method: str) -> None:
    model = with_two(method)
    model.set_adapter(["other", "default"])
    stacked = logits(model)
    model.merge_adapter()
    check_close(logits(model), stacked)
    model.unmerge_adapter()
    check_close(logits(model), stacked)
    check_close(logits(model.merge_and_unload()), stacked)


@pytest.mark.parametrize("method", sorted(set(LAYERS) - set(MERGED)))
def test_what_is_no_change_of_weights_is_not_merged(method: str) -> None:
    model = with_two(method)
    before = logits(model)
    for merge in (model.merge_adapter, model.merge_and_unload):
        with pytest.raises(tuning.AdapterError, match="can't be merged"):
            merge()
    assert torch.equal(logits(model), before)
    layer = next(iter(adapted_layers(model).values()))
    with pytest.raises(tuning.AdapterError, match="can't be merged"):
        layer.adapters["default"].merged(Affine(torch.zeros(1), None), layer.frozen)


@pytest.mark.parametrize("method", MERGED)
def test_merged_adapters_are_not_deleted(method: str) -> None:
    model = with_two(method)
    model.merge_adapter()
    with pytest.raises(tuning.AdapterError, match="while they are merged"):
        model.delete_adapter(model.base_model.merged()[0])
