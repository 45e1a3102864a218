"""Models in torch: for training, and as the runtime of bases that the graph of `serving` does not cover.

Reads safetensors only, and runs no code of a model's.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tuning.files import replacing
from tuning.ranking.serving.model import model_store
from tuning.ranking.serving.model.adapter_spec import NONE, SHIPPED, Wanted, stack
from tuning.ranking.serving.model.errors import ScorerMissing
from tuning.ranking.serving.model.gguf import Gguf
from tuning.ranking.serving.model.llama_weights import EMBEDDING, LINEAR, NORM, LlamaWeights, weights_of
from tuning.ranking.serving.model.runtime import Logits
from tuning.ranking.serving.model.scorer import Scorer
from tuning.ranking.serving.model.tokenizer import ModelTokenizer, from_gguf
from tuning.virtual import cache_name

BLOCKED = torch.finfo(torch.float32).min


class TorchContext:
    """transformers' cache of keys and values."""

    def __init__(self, cache: Any) -> None:
        self.cache = cache

    @property
    def length(self) -> int:
        return int(self.cache.get_seq_length())

    def crop(self, length: int) -> None:
        for layer in self.cache.layers:  # after a pass that failed, some are longer than others
            if (more := layer.get_seq_length() - length) > 0:
                layer.crop(-more)


class TorchRuntime:
    """Any causal language model of transformers that takes a four-dimensional mask."""

    chunk, nodes = 96, 8

    def __init__(self, model: Any) -> None:
        self.model = model.eval()

    @property
    def vocabulary(self) -> int:
        return int(self.model.config.vocab_size)

    @property
    def positions(self) -> int:
        return int(getattr(self.model.config, "max_position_embeddings", None) or 2048)

    def context(self) -> TorchContext:
        from transformers import DynamicCache

        return TorchContext(DynamicCache(config=self.model.config))

    def bytes_of(self, tokens: int) -> int:
        config = self.model.config
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return tokens * config.num_hidden_layers * 2 * heads * size * 4

    @torch.inference_mode()
    def read(self, context: TorchContext, tokens: Sequence[int]) -> Logits:
        out = self.model(torch.tensor([tokens]), use_cache=True, logits_to_keep=1, **self._cached(context))
        return out.logits[0, -1].float().numpy()

    @torch.inference_mode()
    def expand(
        self,
        context: TorchContext,
        tokens: Sequence[int],
        depths: Sequence[int],
        ancestors: Sequence[Sequence[int]],
        prompt: int,
    ) -> Logits:
        before, count = context.length, len(tokens)
        mask = torch.full((count, before + count), BLOCKED)
        mask[:, :prompt] = 0.0
        for row, seen in enumerate(ancestors):
            mask[row, [prompt + place for place in seen]] = 0.0
            mask[row, before + row] = 0.0
        out = self.model(
            torch.tensor([tokens]),
            attention_mask=mask[None, None],
            position_ids=torch.tensor([[prompt + depth for depth in depths]]),
            use_cache=True,
            **self._cached(context),
        )
        return out.logits[0].float().numpy()

    def _cached(self, context: TorchContext) -> dict[str, Any]:
        return {cache_name(self.model): context.cache}


def load_runtime(
    base: str, wanted: Sequence[Wanted], *, threads: int, quantize: bool, allow_download: bool
) -> tuple[TorchRuntime, ModelTokenizer]:
    """A model folder's or a hub id's model, with adapters in its weights. Raises ScorerError, TuningError."""
    remote = allow_download and not Path(base).is_dir()
    if not remote:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    warnings.filterwarnings("ignore", message=".*quantize_per_tensor.*")  # known
    torch.set_num_threads(threads)
    try:
        try:
            model, tokenizer = _from_pretrained(base, local=True)
        except (OSError, ValueError):
            if not remote:
                raise
            model, tokenizer = _from_pretrained(base, local=False)
    except (OSError, ValueError) as error:
        raise ScorerMissing(f"no usable model in {base} (a folder with safetensors, or a hub id): {error}") from error
    runtime, tokens = TorchRuntime(merged(model, wanted)), tokens_of(tokenizer)
    Scorer(runtime, tokens).check()
    if quantize:
        # Deprecated in torch for a package that would be one more dependency; pinned with torch, and tested.
        runtime.model = torch.ao.quantization.quantize_dynamic(  # pyright: ignore[reportDeprecated]
            runtime.model, {torch.nn.Linear}, dtype=torch.qint8
        )
    return runtime, tokens


def tokens_of(tokenizer: Any) -> ModelTokenizer:
    """A tokenizer of transformers as the scorer takes it."""
    return ModelTokenizer(tokenizer.backend_tokenizer, end_of_text=tokenizer.eos_token_id or 0)


def base_and_tokenizer(base: str, adapter: str = NONE) -> tuple[Any, Any]:
    """A model folder's, or the default's, in single precision, with adapters in its weights. Raises ScorerMissing, TuningError."""
    if not base and not model_store.is_installed():
        raise ScorerMissing("the default base is not installed; run: starling install-model")
    try:
        model, tokenizer = _from_pretrained(base or default_folder(), local=True)
    except (OSError, ValueError) as error:
        raise ScorerMissing(f"no usable model in {base} (a folder with safetensors): {error}") from error
    return on_base(model, base, adapter), tokenizer


def default_folder() -> Path:
    """The default base as transformers reads it; made of the published file where it is not there. Raises OSError, ScorerError."""
    folder = model_store.training_folder()
    if not (folder / "config.json").is_file():
        write_folder(model_store.gguf_file(), folder)
    return folder


def write_folder(gguf: Path, folder: Path) -> None:
    """A GGUF file of a Llama as a folder of transformers': bfloat16 loses nothing that four bits had."""
    from safetensors.torch import save_file

    weights, metadata = weights_of(gguf), Gguf(gguf).metadata
    shape = weights.shape
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    names = [EMBEDDING, NORM, *(() if weights.tied else ("lm_head.weight",))]
    parts = (*LINEAR, "input_layernorm", "post_attention_layernorm")
    names += [f"layers.{number}.{part}.weight" for number in range(shape.layers) for part in parts]
    tensors = {
        name if name == "lm_head.weight" else f"model.{name}": torch.from_numpy(weights[name].copy()).bfloat16()
        for name in names
    }
    with replacing(folder / "model.safetensors") as temporary:
        save_file(tensors, temporary, {"format": "pt"})
    (folder / "tokenizer.json").write_text(from_gguf(metadata, gguf), "utf-8")
    ends = {name: metadata[f"tokenizer.ggml.{name}_token_id"] for name in ("bos", "eos", "padding", "unknown")}
    tokens = metadata["tokenizer.ggml.tokens"]
    about = {
        "tokenizer_class": "TokenizersBackend",
        "bos_token": tokens[ends["bos"]],
        "eos_token": tokens[ends["eos"]],
        "pad_token": tokens[ends["padding"]],
        "unk_token": tokens[ends["unknown"]],
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(about, indent=1), "utf-8")
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": shape.width,
        "intermediate_size": shape.inner,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_size,
        "vocab_size": shape.vocabulary,
        "max_position_embeddings": metadata["llama.context_length"],
        "rms_norm_eps": shape.epsilon,
        "rope_parameters": {"rope_theta": shape.theta, "rope_type": "default"},
        "hidden_act": "silu",
        "tie_word_embeddings": weights.tied,
        "bos_token_id": ends["bos"],
        "eos_token_id": ends["eos"],
        "pad_token_id": ends["padding"],
        "dtype": "bfloat16",
    }
    with replacing(folder / "config.json") as temporary:  # last: it says that the folder is whole
        temporary.write_text(json.dumps(config, indent=1), "utf-8")


def on_base(model: Any, base: str | Path, spec: str) -> Any:
    """The model of a base with all that a text names in its weights, and with Starling's own beneath where that belongs.

    Raises TuningError, AdapterRegistryError.
    """
    return merged(model, stack(base, spec))


def merged(model: Any, wanted: Sequence[Wanted]) -> Any:
    """The base with these adapters in its weights: one after the other, or summed where they have weights. Raises TuningError."""
    from tuning.config import PeftConfig
    from tuning.tasks import PeftModel

    if len(wanted) > 1 and wanted[0].folder == SHIPPED:  # it lies beneath the others, and is not weighed with them
        model, wanted = merged(model, wanted[:1]), wanted[1:]
    if not wanted:
        return model
    names = [f"adapter{number}" for number in range(len(wanted))]
    config = PeftConfig.from_pretrained(wanted[0].folder)
    config.base_model_name_or_path = None  # the base lay in another folder where the adapter was trained: no warning
    adapted = PeftModel.from_pretrained(model, wanted[0].folder, adapter_name=names[0], config=config, strict=True)
    for name, one in zip(names[1:], wanted[1:], strict=True):
        adapted.load_adapter(one.folder, name, strict=True)
    if all(one.weight == 1 for one in wanted):
        return adapted.merge_and_unload(adapter_names=names)
    adapted.add_weighted_adapter(names, [one.weight for one in wanted], "sum", combination_type="cat")
    return adapted.merge_and_unload(adapter_names=["sum"])


def with_adapters(weights: LlamaWeights, wanted: Sequence[Wanted]) -> LlamaWeights:
    """As `adapter_merging.with_adapters`, by the PEFT engine, which knows all methods that merge. Raises TuningError."""
    import transformers

    shape = weights.shape
    config = transformers.LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_size,
        tie_word_embeddings=weights.tied,
    )
    model: Any = transformers.LlamaForCausalLM(config)
    state = {
        name: torch.from_numpy(np.array(weights[name if name == "lm_head.weight" else name.removeprefix("model.")]))
        for name in model.state_dict()
        if not (weights.tied and name == "lm_head.weight")
    }
    model.load_state_dict(state, strict=not weights.tied)
    after = merged(model, wanted).state_dict()
    changed = {name.removeprefix("model."): tensor.detach().float().numpy() for name, tensor in after.items()}
    return replace(weights, changed=changed)


def _from_pretrained(base: str | Path, *, local: bool) -> tuple[Any, Any]:
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    options = {"local_files_only": local, "trust_remote_code": False}
    model = transformers.AutoModelForCausalLM.from_pretrained(
        str(base), dtype=torch.float32, use_safetensors=True, **options
    )
    return model, transformers.AutoTokenizer.from_pretrained(str(base), **options)
