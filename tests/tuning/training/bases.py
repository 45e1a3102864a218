"""A tiny base in a folder, with a tokenizer whose words are w0 … w61, and texts in its words."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import PreTrainedTokenizerFast

from tests.tuning.oracle import VOCABULARY, tiny_llama
from tests.tuning.training.running import documents


def base_in(folder: Path) -> Path:
    tiny_llama().float().save_pretrained(folder)
    words = {f"w{number}": number for number in range(VOCABULARY - 2)} | {
        "<unk>": VOCABULARY - 2,
        "<end>": VOCABULARY - 1,
    }
    inner = Tokenizer(WordLevel(words, unk_token="<unk>"))
    inner.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>", eos_token="<end>").save_pretrained(folder)
    return folder


def spoken() -> list[str]:
    return [" ".join(f"w{token % (VOCABULARY - 2)}" for token in document) for document in documents()]


def run_in(
    folder: Path, training: str = "", method: str = 'name = "LORA"\nr = 4\ntarget_modules = "all-linear"'
) -> Path:
    """A folder with base, data and configuration, in float32 on every machine; returns the configuration's path."""
    folder.mkdir(exist_ok=True)
    base_in(folder / "base")
    (folder / "data.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in spoken()))
    config = folder / "first.toml"
    config.write_text(
        f'out = "out"\n[base]\npath = "base"\ndtype = "float32"\n[data]\ntrain = ["data.jsonl"]\n[method]\n{method}\n'
        f"[training]\nlr = 1e-2\nwindow = 16\nbatch_size = 4\nepochs = 2\nbf16 = false\n{training}\n"
    )
    return config
