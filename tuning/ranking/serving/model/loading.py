"""A scorer for a base with adapters: on ONNX Runtime where the graph covers the base, else in torch where that is installed."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from corpus.interpreter import install_command, missing
from tuning.ranking.serving.model import model_store
from tuning.ranking.serving.model.adapter_spec import Wanted, stack
from tuning.ranking.serving.model.compiling import TOKENIZER, Compiled, Say, compiled, tokenizer_of
from tuning.ranking.serving.model.errors import ModelFileBroken, ModelUnsupported, NeedsEngine, ScorerMissing
from tuning.ranking.serving.model.quantisation import FLOAT32, SERVED, Scheme
from tuning.ranking.serving.model.scorer import Scorer
from tuning.ranking.serving.model.tokenizer import ModelTokenizer

TORCH = "tuning.ranking.learning.torch_models"  # by its name: what serves imports no torch
IN_TORCH = ("torch", "transformers")
UNLIKE = 0.5  # of a logit: more than threads and rounding change, less than another layout does
HUB_ID = re.compile(r"\w[\w.-]*(/[\w.-]+)?")  # OWNER/NAME, or NAME


def load_scorer(
    base: str | Path = "",
    *,
    adapter: str = "",
    threads: int | None = None,
    quantize: bool = True,
    allow_download: bool = False,
    say: Say = lambda step: None,
    anew: bool = False,
) -> Scorer:
    """Load the default base (""), a GGUF file, a model folder, or a hub id whose files are on this machine or may be downloaded.

    `adapter`: what `adapter_spec` takes. `quantize`: fewer bits for the weights. `say` hears the steps of what takes long; `anew`:
    do them again. Raises ScorerError, AdapterError, AdapterRegistryError, OSError.
    """
    wanted = chosen(base, adapter)
    path = Path(base) if base else model_store.default_base()
    threads = threads or default_threads()
    if not path.exists():
        return _in_torch(str(base), wanted, threads, quantize, allow_download)
    make = partial(_made, path, wanted, scheme=SERVED if quantize else FLOAT32, say=say)
    try:
        found = make(anew=anew)
    except ModelUnsupported as error:
        if not has_torch():
            raise ModelUnsupported(f"{error}. torch may run it: {install_command('train')}") from error
        return _in_torch(str(base), wanted, threads, quantize, allow_download)
    try:
        return on_onnx(found, threads)
    except ModelFileBroken:  # made on a processor that describes itself as this one does
        return on_onnx(make(anew=True), threads)


def _made(base: Path, wanted: Sequence[Wanted], *, scheme: Scheme, say: Say, anew: bool) -> Compiled:
    try:
        return compiled(base, wanted, scheme=scheme, say=say, anew=anew)
    except NeedsEngine:
        if not has_torch():
            raise
        merge = importlib.import_module(TORCH).with_adapters
        return compiled(base, wanted, scheme=scheme, merge=merge, say=say, anew=anew)


def chosen(base: str | Path, adapter: str) -> list[Wanted]:
    """The adapters that go into a base. Raises what is wrong with the choice itself, before a model is read: ScorerMissing,
    AdapterError, AdapterRegistryError.
    """
    if not base and not model_store.is_installed():
        raise ScorerMissing("the default base is not installed, or not whole; run: starling install-model")
    if base and not Path(base).exists():
        if not HUB_ID.fullmatch(str(base)) or str(base).endswith(".gguf"):
            raise ScorerMissing(f"the base {base} is not there: no such file or folder")
        if not has_torch():
            raise ScorerMissing(
                f"the base {base} is no file or folder here, and a hub id needs torch. {missing('torch', extra='train')}"
            )
    if base and Path(base).is_dir() and not (Path(base) / "config.json").is_file():
        raise ScorerMissing(f"the base {base} is no model's folder: it has no config.json")
    return stack(base, adapter)


def on_onnx(found: Compiled, threads: int) -> Scorer:
    """A scorer of a compiled model. Raises ScorerMissing, and ModelFileBroken where it gives other logits than when it was made."""
    runtime = found.runtime(threads=threads)
    if not np.allclose(runtime.sample(), found.about.sample, atol=UNLIKE, rtol=0):
        raise ModelFileBroken(f"{found.folder} was made for another processor; run: starling install-model --force")
    tokenizer = ModelTokenizer.load(found.folder / TOKENIZER, end_of_text=found.about.end_of_text)
    return Scorer(runtime, tokenizer)


def load_tokenizer(base: str | Path = "") -> ModelTokenizer:
    """A base's tokenizer alone: of the default base (""), a GGUF file, or a folder with tokenizer.json. Raises ScorerError, OSError."""
    if not base and not model_store.is_installed():
        raise ScorerMissing("the default base's tokenizer is not installed; run: starling install-model")
    path = Path(base) if base else model_store.default_base()
    if not path.exists():
        raise ScorerMissing(f"the base {base} is not there: no such file or folder")
    text, end_of_text = tokenizer_of(path)
    return ModelTokenizer.parse(text, end_of_text=end_of_text)


def has_torch() -> bool:
    return all(importlib.util.find_spec(name) is not None for name in IN_TORCH)


def default_threads() -> int:
    """One core stays free: the wrapped server and signals must answer while the model works."""
    return max(1, min(4, (os.cpu_count() or 1) - 1))


def _in_torch(base: str, wanted: Any, threads: int, quantize: bool, allow_download: bool) -> Scorer:
    load = importlib.import_module(TORCH).load_runtime
    return Scorer(*load(base, wanted, threads=threads, quantize=quantize, allow_download=allow_download))
