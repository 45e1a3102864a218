"""HF peft as the oracle: the same weights in, the same outputs, gradients, steps and files out."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import peft
import torch
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedModel

import tuning

HIDDEN, VOCABULARY = 32, 64


def tiny_llama(hidden: int = HIDDEN) -> PreTrainedModel:
    """Two layers, double precision, the same each time."""
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


BASES = {"llama": tiny_llama, "gpt2": tiny_gpt2}


def tokens(rows: int = 3, length: int = 7) -> Tensor:
    return torch.randint(0, VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(1))


def shaken(model: nn.Module, name: str = "default") -> None:
    """Give everything trainable small random values: adapters start as the identity, which would show little."""
    generator = torch.Generator().manual_seed(2)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64).to(
                parameter.dtype
            )


def both(base: str, config: str, folder: Path, **options: Any) -> tuple[peft.PeftModel, tuning.PeftModel]:
    """PEFT's model with a shaken adapter, and ours with that adapter read from the file that PEFT wrote."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = peft.get_peft_model(
            BASES[base](),
            getattr(peft, config)(task_type="CAUSAL_LM", **copy.deepcopy(options)),
            autocast_adapter_dtype=False,
        )
        for name, parameter in theirs.named_parameters():
            if ".ranknum." in name:  # a constant of AdaLoRA's, which PEFT 0.21.2 trains by mistake, and does not save
                parameter.requires_grad_(False)
        shaken(theirs)
        theirs.save_pretrained(folder)
    ours = tuning.PeftModel.from_pretrained(BASES[base](), folder, is_trainable=True, autocast_adapter_dtype=False)
    return theirs.eval(), ours.eval()


def check_same(theirs: peft.PeftModel, ours: tuning.PeftModel, *, steps: int = 3) -> None:
    """The same logits, loss, gradients, and parameters after some optimiser's steps, to 1e-9 in double precision."""
    x = tokens()
    assert torch.allclose(ours(input_ids=x).logits, theirs(input_ids=x).logits, rtol=0, atol=1e-9)
    optimisers = [torch.optim.AdamW(_trainable(model), lr=1e-2) for model in (theirs, ours)]
    for _ in range(steps):
        for model, optimiser in zip((theirs, ours), optimisers, strict=True):
            optimiser.zero_grad()
            model(input_ids=x, labels=x).loss.backward()
        gradients = [{key: parameter.grad for key, parameter in _named(model).items()} for model in (theirs, ours)]
        check_tensors(gradients[1], gradients[0])
        for optimiser in optimisers:
            optimiser.step()
    check_tensors(_named(ours), _named(theirs))


def check_tensors(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    assert sorted(ours) == sorted(theirs)
    for key, tensor in theirs.items():
        if tensor is None:
            assert ours[key] is None or not ours[key].any(), key
        else:
            assert ours[key] is not None, key
            assert torch.allclose(ours[key].double(), tensor.double(), rtol=0, atol=1e-9), key


def check_file_written_by_us(theirs: peft.PeftModel, ours: tuning.PeftModel, base: str, folder: Path) -> None:
    """PEFT reads what we wrote, and computes what we do."""
    ours.save_pretrained(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again = peft.PeftModel.from_pretrained(BASES[base](), folder, autocast_adapter_dtype=False).eval()
    x = tokens()
    assert torch.allclose(again(input_ids=x).logits, ours(input_ids=x).logits, rtol=0, atol=1e-9)


def _trainable(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for _, parameter in sorted(_named(model).items())]


def _named(model: nn.Module) -> dict[str, Any]:
    """Trainable parameters by the names of PEFT's state dict."""
    return {
        key: value
        for key, value in model.state_dict(keep_vars=True).items()
        if isinstance(value, nn.Parameter) and value.requires_grad
    }
