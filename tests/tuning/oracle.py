"""HF peft as the oracle: the same weights in, the same outputs, gradients, steps and files out."""

from __future__ import annotations

import copy
import re
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import peft
import torch
from peft.tuners.c3a import layer as c3a
from peft.tuners.c3a.utils import get_circulant_fast
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedModel

import tuning

HIDDEN, VOCABULARY = 32, 64
EXACT = 1e-9
ATOL = {
    "C3AConfig": 1e-4
}  # PEFT computes it in single precision, whatever the base's is; a step of AdamW magnifies that


def tiny_llama(hidden: int = HIDDEN, *, bias: bool = False, cached: bool = True) -> PreTrainedModel:
    """Two layers, double precision, the same each time; with `bias` attention's projections have biases; unless `cached` it keeps no keys and values."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=hidden,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        initializer_range=0.2,
        tie_word_embeddings=False,
        attention_bias=bias,
        use_cache=cached,
    )
    return LlamaForCausalLM(config).double().eval()


def tiny_gpt2() -> PreTrainedModel:
    """As `tiny_llama`, with Conv1D layers and tied embeddings."""
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=VOCABULARY, n_embd=HIDDEN, n_layer=2, n_head=4, n_positions=64, initializer_range=0.2,
        attn_pdrop=0.0, embd_pdrop=0.0, resid_pdrop=0.0,
    )  # fmt: skip
    return GPT2LMHeadModel(config).double().eval()


class _Convolution:
    """C3A's circular convolution with its true gradient: PEFT 0.21.2's own backward pass turns the kernel round for the input's."""

    @staticmethod
    def apply(x: Tensor, kernel: Tensor) -> Tensor:
        return x @ get_circulant_fast(kernel).T


c3a.BlockCircularConvolution = _Convolution

BASES = {"llama": tiny_llama, "gpt2": tiny_gpt2}
MADE = {**BASES, "biased llama": partial(tiny_llama, bias=True), "uncached llama": partial(tiny_llama, cached=False)}


def tokens(rows: int = 3, length: int = 7) -> Tensor:
    return torch.randint(0, VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(1))


def tasks(model: Any, rows: int = 3) -> dict[str, Tensor]:
    """What a model's methods have to be told of each row, beside its tokens."""
    known = [config.peft_type.value for config in getattr(model, "peft_config", {}).values()]
    return {"task_ids": torch.arange(rows) % 2} if {"MULTITASK_PROMPT_TUNING", "POLY"} & set(known) else {}


def shaken(model: nn.Module, name: str = "default") -> None:
    """Give everything trainable small random values: adapters start as the identity, which would show little."""
    generator = torch.Generator().manual_seed(2)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64).to(
                parameter.dtype
            )


def both(
    base: str, config: str, folder: Path, *, single: bool = False, reread: bool = False, **options: Any
) -> tuple[peft.PeftModel, tuning.PeftModel]:
    """PEFT's model with a shaken adapter, and ours with that adapter read from the file that PEFT wrote.

    `single`: PEFT's is put on in single precision, and in double precision from then on. `reread`: PEFT's
    words are what was saved, with nothing added to them.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = peft.get_peft_model(
            MADE[base]().float() if single else MADE[base](),
            getattr(peft, config)(task_type="CAUSAL_LM", **copy.deepcopy(options)),
            autocast_adapter_dtype=False,
        )
        theirs = theirs.double() if single else theirs
        for name, parameter in theirs.named_parameters():
            if ".ranknum." in name:  # a constant of AdaLoRA's, which PEFT 0.21.2 trains by mistake, and does not save
                parameter.requires_grad_(False)
        shaken(theirs)
        theirs.save_pretrained(folder)
        if (
            config == "XLoraConfig"
        ):  # PEFT 0.21.2 leaves out the classifier's first layer, whose number it takes for an expert's name
            state = {key: value for key, value in theirs.state_dict().items() if "internal_xlora_classifier" in key}
            save_file(state, folder / "adapter_model.safetensors")
        if reread:
            peft.set_peft_model_state_dict(theirs, peft.get_peft_model_state_dict(theirs))
            theirs.prompt_encoder["default"].delta_embedding.weight.data.zero_()
    ours = tuning.PeftModel.from_pretrained(MADE[base](), folder, is_trainable=True, autocast_adapter_dtype=False)
    return theirs.eval(), ours.eval()


def check_same(theirs: peft.PeftModel, ours: tuning.PeftModel, *, steps: int = 3, atol: float = EXACT) -> None:
    """The same logits, loss, gradients, and parameters after some optimiser's steps, in double precision."""
    kind: Any = (
        torch.optim.AdamW if atol < 1e-6 else torch.optim.SGD
    )  # AdamW makes much of gradients that are next to nothing
    x = tokens()
    more = tasks(ours)
    assert torch.allclose(ours(input_ids=x, **more).logits, theirs(input_ids=x, **more).logits, rtol=0, atol=atol)
    optimisers = [kind(_trainable(model), lr=1e-2) for model in (theirs, ours)]
    for _ in range(steps):
        for model, optimiser in zip((theirs, ours), optimisers, strict=True):
            optimiser.zero_grad()
            model(input_ids=x, labels=x, **more).loss.backward()
        gradients = [{key: parameter.grad for key, parameter in _named(model).items()} for model in (theirs, ours)]
        check_tensors(gradients[1], gradients[0], atol)
        for optimiser in optimisers:
            optimiser.step()
    check_tensors(_named(ours), _named(theirs), atol)


def check_tensors(ours: dict[str, Any], theirs: dict[str, Any], atol: float = EXACT) -> None:
    assert sorted(ours) == sorted(theirs)
    for key, tensor in theirs.items():
        if tensor is None:
            assert ours[key] is None or not ours[key].any(), key
        else:
            assert ours[key] is not None, key
            assert torch.allclose(ours[key].double(), tensor.double(), rtol=0, atol=atol), key


def check_file_written_by_us(
    theirs: peft.PeftModel,
    ours: tuning.PeftModel,
    base: str,
    folder: Path,
    *,
    single: bool = False,
    atol: float = EXACT,
) -> None:
    """PEFT reads what we wrote, and computes what we do."""
    ours.save_pretrained(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = MADE[base]().float() if single else MADE[base]()
        again = peft.PeftModel.from_pretrained(plain, folder, autocast_adapter_dtype=False).eval()
        again = again.double() if single else again
    x = tokens()
    more = tasks(ours)
    assert torch.allclose(again(input_ids=x, **more).logits, ours(input_ids=x, **more).logits, rtol=0, atol=atol)


def _trainable(model: nn.Module) -> list[nn.Parameter]:
    return list(dict.fromkeys(parameter for _, parameter in sorted(_named(model).items())))


def _named(model: nn.Module) -> dict[str, Any]:
    """Trainable parameters by the names of PEFT's state dict."""
    return {
        re.sub(
            r"(\.adaption_\w+|classifier\.layers)\.default\b", r"\1", key
        ): value  # PEFT has one adapter of these at a time
        for key, value in model.state_dict(keep_vars=True).items()
        if isinstance(value, nn.Parameter) and value.requires_grad
    }
