"""A GGUF file read: values of each type, a whole model, and files that are cut off."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import transformers

from tests.tuning.models import TEXT, byte_level, tiny
from tests.tuning.ranking.serving.gguf_files import llama_gguf, write_gguf
from tests.tuning.ranking.serving.test_scorer import NAMES, searched
from tuning.ranking.learning.torch_models import TorchRuntime, base_and_tokenizer, tokens_of, write_folder
from tuning.ranking.serving.model.errors import ModelFileBroken, ScorerError
from tuning.ranking.serving.model.gguf import Gguf
from tuning.ranking.serving.model.llama_weights import weights_of
from tuning.ranking.serving.model.loading import load_scorer
from tuning.ranking.serving.model.prompt import Prompt
from tuning.ranking.serving.model.scorer import Scorer

PROMPT = Prompt(text=TEXT, tail=".")


@pytest.mark.parametrize(("kind", "error"), [(0, 0.0), (8, 0.01), (3, 0.1)])
def test_values_are_those_that_were_written(tmp_path: Path, kind: int, error: float) -> None:
    values = np.random.default_rng(0).uniform(-1, 1, (6, 64)).astype(np.float32)
    write_gguf(tmp_path / "a.gguf", {"a.text": "größe", "a.list": ["x", "y"], "a.flag": True}, {"w": (kind, values)})
    file = Gguf(tmp_path / "a.gguf")
    assert file.metadata == {"a.text": "größe", "a.list": ["x", "y"], "a.flag": True}
    assert file.names == ["w"]
    found = file.tensor("w")
    assert found.shape == (6, 64)
    assert np.abs(found - values).max() <= error
    assert np.corrcoef(found.ravel(), values.ravel())[0, 1] > 0.99


def test_a_model_says_what_it_said_in_transformers(tmp_path: Path) -> None:
    tokenizer = byte_level()
    model = tiny("wide llama", len(tokenizer)).eval()
    llama_gguf(tmp_path / "m.gguf", model, tokenizer.backend_tokenizer)
    wanted = searched(Scorer(TorchRuntime(model), tokens_of(tokenizer)), "k", PROMPT, NAMES)
    found = load_scorer(tmp_path / "m.gguf", quantize=False)
    assert searched(found, "k", PROMPT, NAMES) == pytest.approx(wanted, abs=1e-4)
    for text in (TEXT, "größe = 1\n", "<eos>x", ""):
        assert found.tokenizer.encode(text) == tokenizer.encode(text, add_special_tokens=False)


def test_the_folder_for_training_holds_the_same_weights(tmp_path: Path) -> None:
    tokenizer = byte_level()
    model = tiny("wide llama", len(tokenizer))
    llama_gguf(tmp_path / "m.gguf", model, tokenizer.backend_tokenizer, kind=8 if model.config.hidden_size % 32 else 0)
    write_folder(tmp_path / "m.gguf", tmp_path / "folder")
    again, tokens = base_and_tokenizer(str(tmp_path / "folder"))
    assert isinstance(again, transformers.LlamaForCausalLM)
    for name, tensor in model.state_dict().items():
        assert np.allclose(again.state_dict()[name].numpy(), tensor.numpy(), atol=0.01, rtol=0.01), name
    assert tokens.encode(TEXT) == tokenizer.encode(TEXT)
    folder, file = weights_of(tmp_path / "folder"), weights_of(tmp_path / "m.gguf")
    assert folder.shape == file.shape


@pytest.mark.parametrize("length", [0, 3, 20, 200, 3000, -40])
def test_a_file_that_is_cut_off_is_said(tmp_path: Path, length: int) -> None:
    tokenizer = byte_level()
    llama_gguf(tmp_path / "m.gguf", tiny("wide llama", len(tokenizer)), tokenizer.backend_tokenizer)
    data = (tmp_path / "m.gguf").read_bytes()
    (tmp_path / "cut.gguf").write_bytes(data[:length])
    with pytest.raises((ScorerError, ValueError)):
        load_scorer(tmp_path / "cut.gguf")


def test_lengths_that_no_file_has_are_not_believed(tmp_path: Path) -> None:
    (tmp_path / "odd.gguf").write_bytes(b"GGUF" + b"\x03\0\0\0" + b"\xff" * 200)
    with pytest.raises(ModelFileBroken):
        Gguf(tmp_path / "odd.gguf")
