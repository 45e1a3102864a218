"""starling team: the folder that an engine is started from, and a running engine tried."""

from __future__ import annotations

import json
import os
import stat
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import yaml

import tuning
from lsp_server.settings import Settings
from starling_lsp.__main__ import main
from starling_lsp.findings.engine import engine as doctor_finding
from tests.fakes.engine import Engine, serving
from tests.tuning.models import byte_level, tiny
from tuning.ranking.serving.model import adapter_registry, model_store
from tuning.ranking.serving.model.adapter_registry import Card
from tuning.ranking.serving.model.loading import load_scorer
from tuning.ranking.serving.remote import engine as engine_module
from tuning.ranking.serving.remote import trial
from tuning.ranking.serving.remote.address import TOKEN


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny base, and folders of this test's own."""
    monkeypatch.delenv(TOKEN, raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)  # nothing here is of the hub
    monkeypatch.setattr(adapter_registry, "home", lambda kind="adapters": tmp_path / kind)
    monkeypatch.setattr(trial, "PLACES", dict(list(trial.PLACES.items())[:2]))
    monkeypatch.setattr(
        engine_module, "LIKELIEST", (512,)
    )  # an untrained model likes all tokens alike: no estimate is near
    monkeypatch.setattr(model_store, "models_dir", lambda: tmp_path / "compiled")
    tokenizer = byte_level()
    tokenizer.save_pretrained(tmp_path / "base")
    tiny("wide llama", len(tokenizer)).save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def installed(tmp_path: Path, name: str, **given: Any) -> None:
    model: Any = tuning.get_peft_model(
        tiny("wide llama", len(byte_level())), tuning.LoraConfig(target_modules="all-linear", **given)
    )
    model.save_pretrained(tmp_path / "made")
    adapter_registry.install(name, tmp_path / "made", Card(base="tiny", made="2026-11-30", languages=["python"]))


def test_a_folder_to_start_an_engine_from(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    installed(tmp_path, "payments", r=12)
    engine = tmp_path / "engine"
    words = ["team", "config", "--to", str(engine), "--base", str(base), "--gpus", "4"]
    assert main([*words, "--adapter", "payments"]) == 0
    assert str(engine / "start.sh") in capsys.readouterr().out
    settings = yaml.safe_load((engine / "vllm.yaml").read_text())
    assert settings["model"] == "./model" and settings["host"] == "127.0.0.1"
    assert settings["data-parallel-size"] == 4 and settings["max-lora-rank"] == 16
    (module,) = map(json.loads, settings["lora-modules"])
    assert module["name"] == "payments" and (engine / module["path"] / "adapter_config.json").is_file()
    token = (engine / "token").read_text()
    assert len(token) > 40
    if sys.platform != "win32":
        assert stat.S_IMODE((engine / "token").stat().st_mode) == 0o600
        assert os.access(engine / "start.sh", os.X_OK)
    assert main(words) == 0
    assert (engine / "token").read_text() == token, "people have it"
    assert "lora-modules" not in yaml.safe_load((engine / "vllm.yaml").read_text())
    assert not (engine / "adapters").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--adapter", "nobody"], "no adapter 'nobody' is installed; installed: dora"),
        (["--adapter", "dora"], "no plain LoRA adapter"),
        (["--share", "3"], "can't be shared by 3 GPUs"),
        (["--gpus", "0"], "at least 1"),
        (["--base", "nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_served_is_said(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    installed(tmp_path, "dora", use_dora=True)
    assert main(["team", "config", "--to", str(tmp_path / "engine"), "--base", str(base), *words]) in (1, 2)
    assert said in capsys.readouterr().err


def test_a_running_engine_is_tried(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "engine"
    assert main(["team", "config", "--to", str(folder), "--base", str(base)]) == 0
    token = (folder / "token").read_text().strip()
    with serving(Engine(load_scorer(folder / "model", quantize=False), token=token)) as engine:
        words = ["team", "check", engine.url, "--base", str(base), "--deadline", "10000"]
        assert main([*words, "--token-file", str(folder / "token")]) == 0
        said = capsys.readouterr().out
        assert "2 lists" in said and "serves starling" in said and "the same in 100% of the lists" in said
        assert main(words) == 1
        assert "token is wrong or missing" in capsys.readouterr().err
        settings = Settings(remote=engine.url, remote_token_file=str(folder / "token"), base=str(base))
        assert [finding.remedy for finding in doctor_finding(settings)] == [""]
        (wrong,) = doctor_finding(replace(settings, remote_token_file=""))
        assert wrong.needed and "token is wrong or missing" in wrong.found
        *_, absent = doctor_finding(replace(settings, remote_off=str(tmp_path / "misspelt")))
        assert absent.needed and absent.found == f"there is no folder {tmp_path / 'misspelt'}"
        assert doctor_finding(Settings()) == []
    assert main(words) == 1
    assert "can't be reached" in capsys.readouterr().err


def test_another_model_under_the_same_name_is_noticed(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model: Any = tiny("wide llama", len(byte_level()))
    for parameter in model.parameters():
        parameter.data *= -8
    model.save_pretrained(tmp_path / "other")
    byte_level().save_pretrained(tmp_path / "other")
    with serving(Engine(load_scorer(tmp_path / "other", quantize=False))) as engine:
        assert main(["team", "check", engine.url, "--base", str(base), "--deadline", "10000"]) == 1
    assert "another model" in capsys.readouterr().out
