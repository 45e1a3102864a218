"""Laws that hold for every method there is: a new file in `tuning/methods/` is found and tested here by itself."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import tuning
from tests.tuning import oracle
from tests.tuning.cases_apart import NEEDED_APART
from tests.tuning.oracle import shaken, tasks, tokens
from tuning.layers import adapted_layers
from tuning.registry import LayerFamily, methods
from tuning.routing import NO_ADAPTER

NEEDED: dict[str, dict[str, Any]] = {  # what a method's config can't do without, or what a tiny model needs
    "ADALORA": {"total_step": 100},
    "TRAINABLE_TOKENS": {"token_indices": [1, 5, 7, 30, 40]},
    "FOURIERFT": {"n_frequency": 100},
    "MISS": {"r": 8},
    "ROAD": {"group_size": 16},
    "SHIRA": {"r": 2},
    "C3A": {"block_size": 8},
    "WAVEFT": {"n_frequency": 100},
    "VBLORA": {"vector_length": 8, "num_vectors": 16},
    "ADAMSS": {"r": 8, "subspace_rank": 3},
    "PVERA": {"r": 4},  # more of its draws would hide in a few steps what they learn
    **NEEDED_APART,
}
NOT_THE_IDENTITY: dict[str, dict[str, Any]] = {  # their default start is random
    "FOURIERFT": {"init_weights": True},
    "C3A": {"init_weights": True},
    "VBLORA": {"init_vector_bank_bound": 0.0},
    "UNILORA": {"init_theta_d_bound": 1e-9},
}
ONE_AT_A_TIME: set[str] = {"LN_TUNING", "TRAINABLE_TOKENS"}  # takes the layer's place: of two the last one holds
REPLACES: set[str] = {"DEFT"}  # starts by putting back what the base alone has, whatever the layer below it has

tiny_llama = partial(oracle.tiny_llama, bias=True)  # some methods are merged into biases alone
ALL = sorted(methods())
LAYERS = [name for name in ALL if isinstance(methods()[name], LayerFamily)]

MERGED = [name for name in LAYERS if methods()[name].merges]


def config(method: str, **options: Any) -> tuning.PeftConfig:
    needed = {} if isinstance(methods()[method], LayerFamily) else {"num_virtual_tokens": 4}
    return methods()[method].config(task_type="CAUSAL_LM", **needed, **NEEDED.get(method, {}), **options)


def adapted(
    method: str, dtype: torch.dtype = torch.float64, *, start: bool = False, autocast: bool = False, **options: Any
) -> tuning.PeftModel:
    """A tiny Llama with an adapter of the method; trained a bit, as it were, unless it is to stand at its `start`."""
    torch.manual_seed(7)
    model = tuning.get_peft_model(tiny_llama().to(dtype), config(method, **options), autocast_adapter_dtype=autocast)
    if not start:
        shaken(model)
    return model.eval()


def with_two(method: str) -> tuning.PeftModel:
    model = adapted(method)
    torch.manual_seed(8)
    model.add_adapter("other", config(method), autocast_adapter_dtype=False)
    model.set_adapter("other")
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.05 * torch.randn_like(parameter)
    model.set_adapter("default")
    return model.eval()


def logits(model: nn.Module, x: Tensor | None = None, **options: Any) -> Tensor:
    with torch.no_grad():
        x = tokens() if x is None else x
        return model(input_ids=x, **{**tasks(model, len(x)), **options}).logits


def check_close(one: Tensor, other: Tensor, atol: float = 1e-9) -> None:
    assert one.shape == other.shape
    assert torch.allclose(one, other, rtol=0, atol=atol), f"{(one - other).abs().max():.2e} apart"


def check_apart(one: Tensor, other: Tensor) -> None:
    assert (one - other).abs().max() > 1e-3


def weights(model: nn.Module) -> dict[str, Tensor]:
    """The base's own tensors, by path."""
    return {key: value.clone() for key, value in model.state_dict().items() if not _is_adapters(key, model)}


def _is_adapters(key: str, model: nn.Module) -> bool:
    return any(key == f"{path}.{own}" for path, own in _adapters(model))


def _adapters(model: nn.Module) -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    for path, layer in adapted_layers(model).items():
        found |= {(path, key) for key in layer.state_dict() if not key.startswith("base_layer.")}
    return found


@pytest.mark.parametrize("method", LAYERS)
def test_an_adapter_starts_as_the_identity(method: str) -> None:
    model = adapted(method, start=True, **NOT_THE_IDENTITY.get(method, {}))
    check_close(logits(model), logits(tiny_llama()))


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


@pytest.mark.parametrize("method", ALL)
def test_disabling_gives_the_base_exactly(method: str) -> None:
    model = adapted(method)
    before, base = logits(model), logits(tiny_llama())
    check_apart(before[:, -1], base[:, -1])
    with model.disable_adapter():
        assert torch.equal(logits(model), base)
    assert torch.equal(logits(model), before)


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
def test_two_adapters_stack(method: str) -> None:
    model = with_two(method)
    alone = logits(model)
    model.set_adapter(["other", "default"])
    assert model.active_adapters == ["other", "default"]
    stacked = logits(model)
    if method in ONE_AT_A_TIME:
        check_close(stacked, alone)
    else:
        check_apart(stacked, alone)
    if method not in MERGED:
        check_not_merged(model)
        return
    model.merge_adapter()
    check_close(logits(model), stacked)
    model.unmerge_adapter()
    check_close(logits(model), stacked)
    check_close(logits(model.merge_and_unload()), stacked)


def check_not_merged(model: tuning.PeftModel) -> None:
    before = logits(model)
    for merge in (model.merge_adapter, model.merge_and_unload):
        with pytest.raises(tuning.AdapterError, match="can't be merged"):
            merge()
    assert torch.equal(logits(model), before)


def test_switching_trains_what_is_used_alone() -> None:
    model = with_two("LORA")
    model.add_adapter("third", config("LORA"))
    model.set_adapter(["other", "default"])
    assert trained(model) == {"default", "other"}
    model.set_adapter("third")
    assert trained(model) == {"third"}
    model.delete_adapter("third")
    assert trained(model) == {"default"}


def test_loading_one_more_leaves_the_others_as_they_are(tmp_path: Path) -> None:
    with_two("LORA").save_pretrained(tmp_path)
    model = tuning.PeftModel.from_pretrained(tiny_llama(), tmp_path)
    assert trained(model) == set()
    model.load_adapter(tmp_path / "other", "other")
    assert trained(model) == set()
    model.load_adapter(tmp_path / "other", "third", is_trainable=True)
    assert trained(model) == {"third"}
    assert model.active_adapters == ["default"]


def trained(model: tuning.PeftModel) -> set[str]:
    """The adapters that take gradients."""
    grads = model.get_model_status().requires_grad
    assert set(grads.values()) <= {True, False}
    return {name for name, on in grads.items() if on}


@pytest.mark.parametrize("method", LAYERS)
def test_stacking_the_identity_changes_nothing(method: str) -> None:
    if method in ONE_AT_A_TIME | REPLACES:
        return  # its start is the base's own weights, which is what it puts in the other's place
    model = adapted(method)
    before = logits(model)
    model.add_adapter("other", config(method, **NOT_THE_IDENTITY.get(method, {})), autocast_adapter_dtype=False)
    for names in (["default", "other"], ["other", "default"]):
        model.set_adapter(names)
        check_close(logits(model.eval()), before)


@pytest.mark.parametrize("method", MERGED)
def test_deleting_all_gives_the_bases_classes_and_keys_back(method: str) -> None:
    plain = tiny_llama()
    model = with_two(method)
    if method in MERGED:
        model.merge_adapter()
        merged = model.base_model.merged()
        with pytest.raises(tuning.AdapterError, match="while they are merged"):
            model.delete_adapter(merged[0])
        model.unmerge_adapter()
    model.delete_adapter("default")
    assert model.active_adapters == ["other"]
    model.delete_adapter("other")
    assert model.active_adapters == []
    base = model.get_base_model()
    assert [(name, type(module)) for name, module in base.named_modules()] == [
        (name, type(module)) for name, module in plain.named_modules()
    ]
    assert list(base.state_dict()) == list(plain.state_dict())
    check_close(logits(model), logits(plain))


@pytest.mark.parametrize("method", LAYERS)
def test_unloading_gives_the_base_back(method: str) -> None:
    plain = tiny_llama()
    base = adapted(method).unload()
    assert [(name, type(module)) for name, module in base.named_modules()] == [
        (name, type(module)) for name, module in plain.named_modules()
    ]
    assert torch.equal(logits(base), logits(plain))


@pytest.mark.parametrize("method", LAYERS)
def test_each_row_uses_its_own_adapter(method: str) -> None:
    model, x = with_two(method), tokens(5)
    names = ["other", NO_ADAPTER, "default", "other", NO_ADAPTER]
    mixed = logits(model, x, adapter_names=names)
    for name in ("other", "default", NO_ADAPTER):
        rows = [row for row, own in enumerate(names) if own == name]
        its = {key: value[rows] for key, value in tasks(model, 5).items()}
        if name == NO_ADAPTER:
            with model.disable_adapter():
                alone = logits(model, x[rows], **its)
        else:
            model.set_adapter(name)
            alone = logits(model, x[rows], **its)
        check_close(mixed[rows], alone)


@pytest.mark.parametrize("method", ALL)
def test_weights_are_swapped_in_place(method: str) -> None:
    model, other = adapted(method), adapted(method)
    torch.manual_seed(9)
    for parameter in other.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn_like(parameter)
    before = {key: value.data_ptr() for key, value in model.state_dict().items()}
    check_apart(logits(model), logits(other))
    result = tuning.set_peft_model_state_dict(model, tuning.get_peft_model_state_dict(other))
    assert not result.missing_keys and not result.unexpected_keys
    check_close(logits(model), logits(other))
    if method in LAYERS:  # a prompt's encoder becomes the table that it computed
        assert before == {key: value.data_ptr() for key, value in model.state_dict().items()}


@pytest.mark.parametrize("method", ALL)
def test_a_copy_is_whole_and_its_own(method: str) -> None:
    model = adapted(method)
    before = logits(model)
    copied = copy.deepcopy(model)
    assert torch.equal(logits(copied), before)
    assert list(copied.state_dict()) == list(model.state_dict())
    shaken(copied)
    check_apart(logits(copied), before)
    assert torch.equal(logits(model), before)
    if method in MERGED:
        copied.merge_adapter()
        check_close(logits(copied, adapter_names=None), logits(copied))
        assert torch.equal(logits(model), before)


@pytest.mark.parametrize("method", ALL)
def test_the_adapter_alone_is_trained(method: str) -> None:
    model = adapted(method).train()
    trainable = {key for key, value in model.named_parameters() if value.requires_grad}
    base = {id(parameter) for parameter in tiny_llama_parameters(model)}
    assert trainable
    assert all(id(value) not in base for key, value in model.named_parameters() if key in trainable)
    model(input_ids=tokens(), labels=tokens(), **tasks(model)).loss.backward()
    assert {key for key, value in model.named_parameters() if value.grad is not None} == trainable
    count, total = model.get_nb_trainable_parameters()
    assert 0 < count < total


def tiny_llama_parameters(model: tuning.PeftModel) -> list[nn.Parameter]:
    """The parameters that the base had before: those that are left when the adapters are taken off a copy's paths."""
    found: list[nn.Parameter] = []
    for path, parameter in model.get_base_model().named_parameters():
        if path.replace(".base_layer", "") in BASE:
            found.append(parameter)
    return found


BASE = {path for path, _ in tiny_llama().named_parameters()}


@pytest.mark.parametrize("method", ALL)
def test_what_is_saved_is_what_is_loaded(method: str, tmp_path: Path) -> None:
    model = adapted(method)
    model.save_pretrained(tmp_path)
    again = tuning.PeftModel.from_pretrained(tiny_llama(), tmp_path, autocast_adapter_dtype=False)
    assert torch.equal(logits(again), logits(model))
    assert not any(parameter.requires_grad for parameter in again.parameters())
    ours, theirs = (tuning.get_peft_model_state_dict(one) for one in (model, again))
    assert list(ours) == list(theirs)
    assert all(torch.equal(tensor, theirs[key]) for key, tensor in ours.items())


@pytest.mark.parametrize("method", LAYERS)
def test_an_adapter_is_loaded_without_memory_for_its_start(method: str, tmp_path: Path) -> None:
    model = adapted(method)
    model.save_pretrained(tmp_path)
    again = tuning.PeftModel.from_pretrained(
        tiny_llama(), tmp_path, low_cpu_mem_usage=True, autocast_adapter_dtype=False
    )
    assert not any(tensor.is_meta for tensor in (*again.parameters(), *again.buffers()))
    assert torch.equal(logits(again), logits(model))


@pytest.mark.parametrize("method", LAYERS)
def test_a_second_adapter_is_loaded_beside_the_first(method: str, tmp_path: Path) -> None:
    model = with_two(method)
    model.save_pretrained(tmp_path)
    assert (tmp_path / "other" / "adapter_config.json").is_file()
    again = tuning.PeftModel.from_pretrained(tiny_llama(), tmp_path, autocast_adapter_dtype=False)
    assert not again.load_adapter(tmp_path / "other", "other", autocast_adapter_dtype=False).missing_keys
    assert again.active_adapters == ["default"]
    for name in ("other", "default"):
        for one in (model, again):
            one.set_adapter(name)
        assert torch.equal(logits(again), logits(model))


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
