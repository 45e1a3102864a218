"""Base models and tokenizers from a folder, or from the hub where that is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from corpus.interpreter import missing
from tuning.errors import CheckpointError, LibraryMissing


def base_model(where: str, *, dtype: str = "auto", quantise: str = "none", online: bool = False) -> Any:
    """A causal language model. `dtype` auto: as it was saved. Raises CheckpointError, LibraryMissing."""
    options: dict[str, Any] = {"dtype": dtype if dtype == "auto" else getattr(torch, dtype)}
    if quantise != "none":
        options["quantization_config"] = _quantised(quantise)
    return _from("AutoModelForCausalLM", where, online, **options)


def tokenizer(where: str, *, online: bool = False) -> Any:
    return _from("AutoTokenizer", where, online)


def _from(kind: str, where: str, online: bool, **options: Any) -> Any:
    try:
        import transformers
    except ImportError as error:
        raise LibraryMissing("A base model: " + missing("transformers", extra="train")) from error
    if not online and not (Path(where) / "config.json").is_file():
        there = ", ".join(sorted(entry.name for entry in Path(where).glob("*"))[:8]) or "nothing"
        raise CheckpointError(
            f"{where} is no model's folder: it has no config.json (there is: {there}). "
            "If it is a repository on the hub, allow the connection: online = true"
        )
    transformers.utils.logging.disable_progress_bar()
    try:
        return getattr(transformers, kind).from_pretrained(where, local_files_only=not online, **options)
    except (OSError, ValueError, ImportError) as error:
        raise CheckpointError(f"{where} can't be loaded as a model: {error}") from error


def _quantised(how: str) -> Any:
    try:
        import bitsandbytes as _  # noqa: F401
        from transformers import BitsAndBytesConfig
    except ImportError as error:
        raise LibraryMissing(f"quantise = {how!r}: " + missing("bitsandbytes", extra="quantised")) from error
    if how == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)
