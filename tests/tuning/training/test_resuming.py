"""A run that was killed at any point and started again ends with the weights of one that was not, bit for bit."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import tuning
from tests.tuning.oracle import tiny_llama
from tests.tuning.training.running import adapted, run
from tuning.errors import CheckpointError, ConfigError
from tuning.training import report, resuming

KILLED = -9


def final(out: Path) -> tuple[dict[str, torch.Tensor], list[dict[str, float]]]:
    state = resuming.read(out)
    assert state is not None
    lines = [
        {key: value for key, value in line.items() if key != "tokens_per_second"}
        for line in report.read(out / report.METRICS)
    ]
    return state.tensors, lines


def test_killed_again_and_again(tmp_path: Path, whole: Path) -> None:
    """In a step, before and while a checkpoint is written, and while it is put in its place: six processes, one folder."""
    points = [str(events) for events in (1, 2, 9, 11, 12, 13)]
    command = [sys.executable, "-m", "tests.tuning.training.running", str(tmp_path), *points]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    (tensors, lines), (expected, expected_lines) = final(tmp_path), final(whole)
    assert done.stdout.split() == [str(KILLED)] * len(points) + ["0"]
    assert lines == expected_lines
    assert sorted(tensors) == sorted(expected)
    assert all(torch.equal(tensors[key], expected[key]) for key in expected)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the processes that are killed: sums depend on it
    run(out, eval_every=4)
    torch.set_num_threads(threads)
    return out


def test_a_method_that_learns_more_than_weights_goes_on_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """AdaLoRA: what is important, and which ranks are left."""
    schedule = {"init_r": 4, "target_r": 1, "tinit": 1, "tfinal": 2, "deltaT": 1, "total_step": 8}

    def model() -> tuning.PeftModel:
        torch.manual_seed(5)
        config = tuning.AdaLoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj", "up_proj"], **schedule)
        return tuning.get_peft_model(tiny_llama(), config)

    whole, stopped, again = model(), model(), model()
    options = {"evaluation": False, "save_every": 2}
    expected = run(None, whole, **options)[1]
    step = torch.optim.AdamW.step
    left = 5

    def breaks(self: torch.optim.AdamW) -> None:
        nonlocal left
        left -= 1
        if not left:
            raise KeyboardInterrupt
        step(self)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(torch.optim.AdamW, "step", breaks)
        run(tmp_path, stopped, **options)
    found = run(tmp_path, again, **options)[1]
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    pattern = again.peft_config["default"].rank_pattern
    assert pattern == whole.peft_config["default"].rank_pattern
    assert sum(map(sum, pattern.values())) < 4 * len(pattern)


def test_a_finished_run_does_nothing_more(tmp_path: Path, whole: Path) -> None:
    model = adapted(dropout=0.2)
    lines = (whole / report.METRICS).read_bytes()
    outcome, found = run(whole, model, eval_every=4)
    expected, lines_there = final(whole)
    assert outcome.steps == max(line["step"] for line in lines_there)
    assert all(torch.equal(found[name], expected[f"best/{name}"]) for name in found)
    assert (whole / report.METRICS).read_bytes() == lines


def test_other_options_are_refused(whole: Path) -> None:
    with pytest.raises(ConfigError, match=r"lr was 0.01 and is 0.02"):
        run(whole, lr=0.02, eval_every=4)


def test_another_adapter_is_refused(whole: Path) -> None:
    with pytest.raises(ConfigError, match="trained was"):
        run(whole, adapted(rank_pattern={"q_proj": 2}), eval_every=4)


def test_two_checkpoints_are_kept_and_hold_nothing_pickled(whole: Path) -> None:
    folders = sorted((whole / resuming.FOLDER).iterdir())
    assert len(folders) == 2
    assert {path.name for folder in folders for path in folder.iterdir()} == {resuming.TENSORS, resuming.FACTS}
    assert json.loads((folders[-1] / resuming.FACTS).read_text())["progress"]["step"] == int(folders[-1].name[5:])


def test_a_checkpoint_that_cant_be_read_is_named(tmp_path: Path) -> None:
    run(tmp_path)
    newest = sorted((tmp_path / resuming.FOLDER).iterdir())[-1]
    (newest / resuming.TENSORS).write_bytes(b"no")
    with pytest.raises(CheckpointError, match=newest.name):
        run(tmp_path)
