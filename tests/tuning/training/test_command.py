"""`python -P -m tuning`: train, inspect, merge; and what it says of a mistake."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
import torch
from transformers import AutoModelForCausalLM

import tuning
from tests.tuning.oracle import tokens
from tests.tuning.training.bases import run_in, spoken
from tuning.cli import main
from tuning.errors import ConfigError
from tuning.inspecting import inspect
from tuning.training import report, settings
from tuning.training.options import HELP, Options
from tuning.training.reading import texts


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    assert main(["train", "--quiet", str(run_in(folder))]) == 0
    return folder


def test_train_writes_adapter_metrics_and_plot(trained: Path) -> None:
    there = {path.name for path in (trained / "out").iterdir()}
    assert there == {
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "checkpoints",
        report.METRICS,
        report.PLOT,
    }
    losses = [line["loss"] for line in report.read(trained / "out" / report.METRICS)]
    assert losses[-1] < losses[0]


def test_inspect_says_what_it_is(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = inspect(trained / "out")
    base = AutoModelForCausalLM.from_pretrained(trained / "base")
    model = tuning.PeftModel.from_pretrained(base, trained / "out", is_trainable=True)
    trainable, total = model.get_nb_trainable_parameters()
    assert (found.method, found.options["r"]) == ("LORA", 4)
    assert (found.parameters, found.base_parameters) == (trainable, total - trainable)
    assert found.targets["model.layers.N.mlp.up_proj"] == 2
    assert main(["inspect", str(trained / "out")]) == 0
    assert "LORA" in capsys.readouterr().out


def test_merge_makes_a_model_of_its_own(trained: Path) -> None:
    assert main(["merge", str(trained / "out"), "--out", str(trained / "merged")]) == 0
    base = AutoModelForCausalLM.from_pretrained(trained / "base")
    adapted = tuning.PeftModel.from_pretrained(base, trained / "out")
    merged = AutoModelForCausalLM.from_pretrained(trained / "merged")
    assert torch.allclose(merged(tokens()).logits, adapted(tokens()).logits, atol=1e-5)
    assert (trained / "merged" / "tokenizer.json").is_file()


def test_merge_overwrites_nothing(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["merge", str(trained / "out"), "--out", str(trained / "base")]) == 1
    assert "is there already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "with_", "words"),
    [
        ("lr = 1e-2", "learning = 1", "[training] has a key 'learning' that is unknown"),
        ("lr = 1e-2", "widnow = 4", "the nearest are 'window'"),
        ("lr = 1e-2", 'lr = "high"', "training.lr is 'high'; it has to be a number"),
        ("r = 4", "rr = 4", "[method] has a key 'rr' that is unknown"),
        ("r = 4", 'r = "4"', "of a kind that LoraConfig can't take"),
        ('name = "LORA"', 'name = "LORAA"', "'LORA'"),
        ('target_modules = "all-linear"', 'target_modules = ["q_pro"]', "q_proj"),
        ('path = "base"', 'path = "bass"', "online = true"),
        ('train = ["data.jsonl"]', 'train = ["dat.jsonl"]', "the nearest are 'data.jsonl'"),
        ('train = ["data.jsonl"]', 'train = ["data.jsonl"]\ncolumn = "body"', "has no text 'body'; it has 'text'"),
        ("[data]\n", "[dota]\n", "the nearest are 'data'"),
        ('train = ["data.jsonl"]', "", "[data] lacks train"),
        ('out = "out"', "out = ", "is no TOML"),
    ],
)
def test_mistakes_are_named(
    tmp_path: Path, line: str, with_: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = run_in(tmp_path)
    config.write_text(config.read_text().replace(line, with_))
    assert main(["train", "--quiet", str(config)]) == 1
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out" / "adapter_model.safetensors").exists()


def test_help_shows_all_options_and_loads_no_torch() -> None:
    script = (
        "import sys\nfrom tuning.cli import main\n"
        "try: main(['train', '--help'])\nexcept SystemExit: print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
    assert all(f"    {name} " in done.stdout for name in HELP)


def test_every_option_has_its_help() -> None:
    assert list(HELP) == list(Options.__dataclass_fields__)


def test_the_page_has_every_option() -> None:
    page = (Path(__file__).parents[3] / "docs" / "tuning.md").read_text()
    assert "\n".join(f"| `{name}` | {text} |" for name, text in HELP.items()) in page


def test_the_configuration_of_the_help_is_one(tmp_path: Path) -> None:
    example = (settings.__doc__ or "").partition("\n\n")[2]
    (tmp_path / "example.toml").write_text("\n".join(line.strip() for line in example.splitlines()))
    found = settings.read(tmp_path / "example.toml")
    assert found.training == Options()
    assert settings.method_config(found.method).r == 16


def test_texts_of_every_kind(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo")
    (tmp_path / "b.jsonl").write_text(json.dumps({"body": "three"}) + "\n\n")
    pyarrow.parquet.write_table(pyarrow.table({"body": ["four", None, "five"]}), tmp_path / "c.parquet")
    assert texts(["*.txt", "*.jsonl", "*.parquet"], "body", tmp_path) == ["one\ntwo", "three", "four", "five"]


def test_a_column_that_a_table_lacks(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"text": spoken()}), tmp_path / "c.parquet")
    with pytest.raises(ConfigError, match="no column 'body'; it has 'text'"):
        texts(["c.parquet"], "body", tmp_path)
