"""Laws that hold for every method there is: a new file in `tuning/methods/` is found and tested here by itself."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest
import torch
from torch import nn

import tuning
from tests.tuning.laws import (
    ALL,
    LAYERS,
    MERGED,
    NOT_THE_IDENTITY,
    ONE_AT_A_TIME,
    REPLACES,
    WITHOUT_GRADIENT,
    adapted,
    check_apart,
    check_close,
    config,
    logits,
    tiny_llama,
    with_two,
)
from tests.tuning.oracle import shaken, tasks, tokens
from tuning.routing import NO_ADAPTER


@pytest.mark.parametrize("method", LAYERS)
def test_an_adapter_starts_as_the_identity(method: str) -> None:
    model = adapted(method, start=True, **NOT_THE_IDENTITY.get(method, {}))
    check_close(logits(model), logits(tiny_llama()))


@pytest.mark.parametrize("method", ALL)
def test_disabling_gives_the_base_exactly(method: str) -> None:
    model = adapted(method)
    before, base = logits(model), logits(tiny_llama())
    check_apart(before[:, -1], base[:, -1])
    with model.disable_adapter():
        assert torch.equal(logits(model), base)
    assert torch.equal(logits(model), before)


@pytest.mark.parametrize("method", LAYERS)
def test_two_adapters_stack(method: str) -> None:
    model = with_two(method)
    alone = logits(model)
    model.set_adapter(["other", "default"])
    assert model.active_adapters == ["other", "default"]
    if method in ONE_AT_A_TIME:
        check_close(logits(model), alone)
    else:
        check_apart(logits(model), alone)


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


@pytest.mark.parametrize("method", LAYERS)
def test_deleting_all_gives_the_bases_classes_and_keys_back(method: str) -> None:
    plain = tiny_llama()
    model = with_two(method)
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
    without = {key for key in trainable if model.get_parameter(key).grad is None}
    assert not [key for key in without if not re.search(WITHOUT_GRADIENT.get(method, "$^"), key)]
    assert not [key for key, value in model.named_parameters() if value.grad is not None and key not in trainable]
    copy.deepcopy(model)  # what the call left behind does not hinder
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
