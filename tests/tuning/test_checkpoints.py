"""Adapters on disk: what is no adapter, or another model's, is refused; shards; a full disk."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file

import tuning
from tests.tuning.laws import NEEDED
from tests.tuning.oracle import shaken, tiny_gpt2, tiny_llama
from tests.tuning.test_refusals import adapted, logits
from tuning.checkpoint import INDEX, WEIGHTS
from tuning.registry import method_named


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    adapted(r=4).save_pretrained(tmp_path)
    return tmp_path


def load(folder: Path, base: Any = tiny_llama, **options: Any) -> tuning.PeftModel:
    return tuning.PeftModel.from_pretrained(base(), folder, autocast_adapter_dtype=False, **options)


def test_a_checkpoint_for_another_architecture(saved: Path) -> None:
    with pytest.raises(
        tuning.TargetError,
        match=r"\['q_proj', 'v_proj'\] not found.*nearest are 'c_proj'. GPT2LMHeadModel has .*linear: c_attn",
    ):
        load(saved, tiny_gpt2)
    tensors = {key.replace("self_attn", "attention"): value for key, value in load_file(saved / WEIGHTS).items()}
    save_file(tensors, saved / WEIGHTS)
    with pytest.raises(
        tuning.CheckpointError, match=r"fits no layer of LlamaForCausalLM: it has .*attention.*self_attn"
    ):
        load(saved)


def test_a_checkpoint_of_another_shape_changes_nothing(saved: Path) -> None:
    model = adapted(r=8)
    before = logits(model)
    with pytest.raises(tuning.CheckpointError, match=r"\(4, 32\) in the checkpoint and \(8, 32\) here \(and 7 more\)"):
        tuning.set_peft_model_state_dict(model, load_file(saved / WEIGHTS))
    with pytest.raises(tuning.CheckpointError, match="another rank"):
        model.load_adapter(saved, "default")
    assert model.active_adapters == ["default"]
    assert torch.equal(logits(model), before)
    tuning.set_peft_model_state_dict(model, load_file(saved / WEIGHTS), ignore_mismatched_sizes=True)
    assert torch.equal(logits(model), before)


def test_what_is_missing_or_left_over_is_said(saved: Path) -> None:
    tensors = load_file(saved / WEIGHTS)
    lost = next(iter(tensors))
    here = lost.replace(".weight", ".default.weight")  # by the model's name, as PEFT says it
    tensors["base_model.model.nowhere.lora_A.weight"] = tensors.pop(lost)
    save_file(tensors, saved / WEIGHTS)
    with pytest.warns(UserWarning) as caught:
        model = load(saved)
    said = [str(warning.message) for warning in caught]
    assert any(f"Found missing adapter keys while loading the checkpoint: {here}" in message for message in said)
    assert any("nothing here is named: base_model.model.nowhere" in message for message in said)
    result = tuning.set_peft_model_state_dict(model, tensors)
    assert result.missing_keys == [here]
    assert result.unexpected_keys == ["base_model.model.nowhere.lora_A.weight"]


def test_pefts_bin_file_is_written_where_asked_and_read(saved: Path, tmp_path: Path) -> None:
    model = load(saved)
    model.save_pretrained(tmp_path / "bin", safe_serialization=False)
    assert (tmp_path / "bin" / "adapter_model.bin").is_file() and not (tmp_path / "bin" / WEIGHTS).exists()
    assert torch.equal(logits(load(tmp_path / "bin")), logits(model))
    theirs = peft.PeftModel.from_pretrained(tiny_llama(), tmp_path / "bin", autocast_adapter_dtype=False).eval()
    assert torch.allclose(logits(theirs), logits(model), rtol=0, atol=1e-9)


class Runs:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("ran"),)


@pytest.mark.parametrize("content", [Runs(), {"key": Runs()}, {"key": "no tensor"}, [torch.zeros(1)]])
def test_a_bin_file_of_more_than_tensors_is_refused(saved: Path, content: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(saved)
    torch.save(content, saved / "adapter_model.bin")
    (saved / WEIGHTS).unlink()
    with pytest.raises(tuning.CheckpointError, match=r"adapter_model.bin holds (more than tensors|something else)"):
        load(saved)
    assert not (saved / "ran").exists()


@pytest.mark.parametrize("size", [0, 5, 100, -7])
def test_a_torn_file_is_refused(saved: Path, size: int) -> None:
    whole = (saved / WEIGHTS).read_bytes()
    (saved / WEIGHTS).write_bytes(whole[:size])
    with pytest.raises(tuning.CheckpointError, match=r"can't be read.*copied whole"):
        load(saved)


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ("{", tuning.CheckpointError, "can't be read"),
        ("[]", tuning.CheckpointError, "no JSON object"),
        ('{"peft_type": "LORRA"}', tuning.ConfigError, "nearest are 'LORA'"),
        ("{}", tuning.TuningError, "peft_type"),
        ('{"peft_type": "LORA", "use_qalora": true}', tuning.ConfigError, "use_qalora is for layers that are"),
    ],
)
def test_a_config_that_is_none(saved: Path, content: str, error: type[Exception], message: str) -> None:
    (saved / "adapter_config.json").write_text(content)
    with pytest.raises(error, match=message):
        load(saved)


def test_folders_without_an_adapter(tmp_path: Path) -> None:
    with pytest.raises(tuning.CheckpointError, match=r"is no folder.*local_files_only=False"):
        load(tmp_path / "nowhere")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(tuning.CheckpointError, match=r"holds no adapter_config.json \(there is: notes.txt\)"):
        load(tmp_path)
    tuning.LoraConfig().save_pretrained(tmp_path)
    with pytest.raises(tuning.CheckpointError, match=f"has no {WEIGHTS}"):
        load(tmp_path)


def test_large_adapters_are_written_in_shards_and_back_in_one(saved: Path) -> None:
    model = load(saved)
    model.save_pretrained(saved, max_shard_size=3000)
    shards = sorted(path.name for path in saved.glob("adapter_model-*.safetensors"))
    assert len(shards) > 2 and not (saved / WEIGHTS).exists()
    assert all((saved / name).stat().st_size < 5000 for name in shards)
    assert set(json.loads((saved / INDEX).read_text())["weight_map"].values()) == set(shards)
    assert torch.equal(logits(load(saved)), logits(model))
    model.save_pretrained(saved, max_shard_size=5000)
    assert len(list(saved.glob("adapter_model-*.safetensors"))) < len(shards)
    assert torch.equal(logits(load(saved)), logits(model))
    model.save_pretrained(saved)
    assert sorted(path.name for path in saved.iterdir()) == ["README.md", "adapter_config.json", WEIGHTS]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = peft.PeftModel.from_pretrained(tiny_llama(), saved, autocast_adapter_dtype=False).eval()
    assert torch.allclose(logits(theirs), logits(model), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["../outside.safetensors", "/etc/passwd", "sub/file.safetensors", "..", "a\\b", 7])
def test_an_index_that_names_files_outside_its_folder_is_refused(saved: Path, name: Any) -> None:
    save_file(load_file(saved / WEIGHTS), saved.parent / "outside.safetensors")
    (saved / INDEX).write_text(json.dumps({"weight_map": {"key": name}}))
    with pytest.raises(tuning.CheckpointError, match=r"outside its folder|can't be read"):
        load(saved)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"weight_map": []}', '{"weight_map": {"a": "gone.safetensors"}}'])
def test_an_index_that_is_none_is_refused(saved: Path, content: str) -> None:
    (saved / INDEX).write_text(content)
    with pytest.raises(tuning.CheckpointError, match="can't be read"):
        load(saved)


FILLED = """
import resource, signal, sys
sys.path.insert(0, {root!r})
import tuning
from tests.tuning.test_refusals import adapted
model = adapted(r=16)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
try:
    model.save_pretrained({folder!r}, max_shard_size={shard})
except tuning.CheckpointError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
@pytest.mark.parametrize(("limit", "shard"), [(20_000, 1 << 30), (0, 4000), (600, 600)])
def test_a_full_disk_leaves_the_old_adapter_whole(saved: Path, limit: int, shard: int) -> None:
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    script = FILLED.format(root=str(Path(__file__).parents[2]), folder=str(saved), limit=limit, shard=shard)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert "can't be written" in done.stdout, done.stderr
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before


def test_a_disk_that_fills_up_at_a_later_shard(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(saved)
    model.save_pretrained(saved, max_shard_size=3000)
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    written: list[object] = []

    def filling(*arguments: Any, **options: Any) -> None:
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        written.append(arguments)
        save_file(*arguments, **options)

    monkeypatch.setattr("tuning.checkpoint.save_file", filling)
    with pytest.raises(tuning.CheckpointError, match="No space left"):
        model.save_pretrained(saved, max_shard_size=3000)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before


def test_a_config_that_cannot_be_written_leaves_the_old_weights(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    model = adapted(r=16)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(model.peft_config["default"]), "save_pretrained", full)
    with pytest.raises(OSError, match="No space"):
        model.save_pretrained(saved)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before
    assert model.peft_config["default"].inference_mode is False


def test_what_failed_to_load_leaves_the_model_as_it_was(saved: Path) -> None:
    model = adapted()
    before, keys = logits(model), list(model.state_dict())
    (saved / WEIGHTS).write_bytes(b"torn")
    with pytest.raises(tuning.CheckpointError):
        model.load_adapter(saved, "other")
    assert list(model.peft_config) == model.active_adapters == ["default"]
    assert list(model.state_dict()) == keys
    assert torch.equal(logits(model), before)


def test_loading_into_an_adapter_leaves_what_is_trained_as_pefts(saved: Path) -> None:
    """The Trainer loads the best checkpoint into the adapter that it trains."""
    for trainable in (False, True):
        found: list[set[str]] = []
        for engine in (tuning, peft):
            model: Any = engine.get_peft_model(
                tiny_llama(), engine.LoraConfig(r=4, target_modules=["q_proj", "v_proj"])
            )
            model.load_adapter(saved, "default", is_trainable=trainable)
            found.append({name for name, value in model.named_parameters() if value.requires_grad})
        assert len(found[0]) == 8 and found[0] == found[1]


RANKS = {  # a method's options of an adapter, and of another of fewer or more ranks
    "ADALORA": ({"init_r": 12}, {"init_r": 8}),
    "HIRA": ({"r": 4}, {"r": 2}),
    "BOFT": ({"boft_n_butterfly_factor": 1}, {"boft_n_butterfly_factor": 2}),
    "ADAMSS": ({"r": 8, "subspace_rank": 3}, {"r": 8, "subspace_rank": 2}),
}


@pytest.mark.parametrize("method", RANKS)
def test_a_checkpoint_of_other_ranks_that_fits_in_part_changes_nothing(method: str) -> None:
    model, other = (of_method(method, **options) for options in RANKS[method])
    tensors = {key: value.clone() for key, value in tuning.get_peft_model_state_dict(other).items()}
    before = {key: (value, value.clone()) for key, value in model.state_dict(keep_vars=True).items()}
    wrong = {key: torch.zeros(3, 3, 3, 3, 3) if "lm_head" in key else value for key, value in tensors.items()}
    assert wrong.keys() == tensors.keys() and any("lm_head" in key for key in wrong)
    with pytest.raises(tuning.CheckpointError, match="lm_head"):
        tuning.set_peft_model_state_dict(model, wrong)
    after = model.state_dict(keep_vars=True)
    assert all(after[key] is value and torch.equal(value, copied) for key, (value, copied) in before.items())
    cut = {key: value[..., :-1] if ".layers.0." in key and "_A" in key else value for key, value in tensors.items()}
    tuning.set_peft_model_state_dict(model, cut, ignore_mismatched_sizes=True)
    factors = [key for key in before if ".layers.0." in key and f"{method_named(method).prefix}A" in key]
    assert all(torch.equal(model.state_dict()[key], before[key][1]) for key in factors)
    assert factors or method == "BOFT"
    tuning.set_peft_model_state_dict(model, tensors)
    found = tuning.get_peft_model_state_dict(model)
    assert all(torch.equal(found[key], value) for key, value in tensors.items())


def of_method(method: str, **options: Any) -> tuning.PeftModel:
    """A model with an adapter of the method, and a head that is trained whole."""
    config = method_named(method).config(**{**NEEDED.get(method, {}), "modules_to_save": ["lm_head"], **options})
    model = tuning.get_peft_model(tiny_llama(), config, autocast_adapter_dtype=False)
    shaken(model)
    return model.eval()
