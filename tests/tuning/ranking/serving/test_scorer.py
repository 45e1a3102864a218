"""Tree search against one forward pass a name, on tiny models made here."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import tuning
from tests.tuning.models import TEXT, byte_level, tiny
from tuning.ranking.serving.model.errors import ScorerMissing
from tuning.ranking.serving.model.prompt import Prompt, build_prompt
from tuning.ranking.serving.model.scorer import Scorer

NAMES = ["value", "_value", "values", "v", "name", "names", "__init__", "größe", "x1", "val"]


@pytest.fixture(scope="module")
def tokenizer():
    return byte_level()


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def scorer(request: pytest.FixtureRequest, tokenizer) -> Scorer:
    made = Scorer(tiny(request.param, len(tokenizer)), tokenizer)
    made.check()
    return made


def searched(scorer: Scorer, key: str, prompt: Prompt, names: list[str]) -> np.ndarray:
    search = scorer.search(key, prompt, names)
    while not search.step(top=len(names)):
        pass
    return search.scores().bounds


@pytest.mark.parametrize("tail", [".", " = ", "(", ", ", "\n        ", ""])
def test_tree_equals_one_pass_a_name(scorer: Scorer, tail: str) -> None:
    prompt = Prompt(text=TEXT + "        self", tail=tail)
    expected = [scorer._plain(prompt, name) for name in NAMES]  # pyright: ignore[reportPrivateUsage]
    assert searched(scorer, "a", prompt, NAMES) == pytest.approx(expected, abs=1e-4)


def test_cached_prompt_equals_a_fresh_one(scorer: Scorer) -> None:
    prompts = [Prompt(text=TEXT + rest, tail=".") for rest in ("x = self", "x = self.name\ny = self", "z")]
    for prompt in prompts:
        scorer.advance("kept", prompt.text)
        kept = searched(scorer, "kept", prompt, NAMES)
        assert kept == pytest.approx(searched(scorer, f"fresh {prompt.text}", prompt, NAMES), abs=1e-4)


def test_what_is_known_early_is_an_upper_bound(scorer: Scorer) -> None:
    prompt = Prompt(text=TEXT, tail=".")
    exact = searched(scorer, "b", prompt, NAMES)
    search = scorer.search("b", prompt, NAMES)
    search.step()
    assert np.all(search.scores().bounds >= exact - 1e-5)
    search.close()
    assert searched(scorer, "b", prompt, NAMES) == pytest.approx(exact, abs=1e-5)


def test_what_is_left_of_a_name_counts_until_it_is_known(scorer: Scorer) -> None:
    prompt = Prompt(text=TEXT, tail=".")
    search = scorer.search("left", prompt, NAMES)
    whole = [len(scorer.sequence(prompt.tail, name)) + 1 for name in NAMES]
    assert search.scores().left.tolist() == whole
    finished = False
    before = search.scores()
    while not finished:
        finished = search.step(top=len(NAMES))
        now = search.scores()
        assert (now.left <= before.left).all()
        assert ((now.left == 0) == now.exact).all()
        assert (now.likely[~now.exact] < now.bounds[~now.exact]).all()
        before = now
    assert before.likely == pytest.approx(before.bounds)


def test_the_best_are_certain_when_it_stops(scorer: Scorer) -> None:
    prompt = Prompt(text=TEXT, tail=".")
    exact = searched(scorer, "c", prompt, NAMES)
    search = scorer.search("c", prompt, NAMES)
    while not search.step(top=1):
        pass
    assert int(np.argmax(search.scores().bounds)) == int(np.argmax(exact))


def test_what_was_scored_before_is_not_scored_again(scorer: Scorer) -> None:
    prompt = Prompt(text=TEXT, tail=".")
    exact = searched(scorer, "k", prompt, NAMES)
    known = dict(zip(NAMES[::2], exact[::2], strict=True))
    search = scorer.search("k", prompt, NAMES, known)
    while not search.step(top=len(NAMES)):
        pass
    assert search.scores().bounds == pytest.approx(exact, abs=1e-5)
    again = scorer.search("k", prompt, NAMES, dict(zip(NAMES, exact, strict=True)))
    assert again.step()
    assert again.scores().bounds == pytest.approx(exact)


def test_interrupted_reading_goes_on(scorer: Scorer) -> None:
    stops = iter([False, True])  # stopped after the first piece
    text = TEXT * 8
    assert not scorer.advance("d", text, should_stop=lambda: next(stops))
    assert scorer.advance("d", text)
    prompt = Prompt(text=text, tail=".")
    assert searched(scorer, "d", prompt, NAMES) == pytest.approx(searched(scorer, "e", prompt, NAMES), abs=1e-4)


def test_tail_and_name_are_cut_as_in_the_text(tokenizer) -> None:
    for line in ("x = self", "foo(a,", "if a and", "    return"):
        for tail_text in (".", " ", "(", "[0]."):
            built = build_prompt(path="", before=TEXT + line + tail_text)
            whole = tokenizer.encode(built.text + built.tail + "_value", add_special_tokens=False)
            parts = [tokenizer.encode(part, add_special_tokens=False) for part in (built.text, built.tail + "_value")]
            assert whole == parts[0] + parts[1]


def test_typing_keeps_the_prompts_beginning() -> None:
    before = TEXT * 40
    starts = {build_prompt(path="p", before=before + "x" * typed).text[:200] for typed in range(100)}
    assert len(starts) <= 2


def test_missing_or_pickled_model_is_said(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(ScorerMissing, match="safetensors"):
        Scorer.load(tmp_path)


def test_a_hub_id_that_was_downloaded_once_needs_no_connection(tmp_path: Path, tokenizer) -> None:
    snapshot = tmp_path / "models--someone--tiny" / "snapshots" / "0123"
    tiny("llama", len(tokenizer)).save_pretrained(snapshot)
    tokenizer.save_pretrained(snapshot)
    (tmp_path / "models--someone--tiny" / "refs").mkdir()
    (tmp_path / "models--someone--tiny" / "refs" / "main").write_text("0123")
    load = "from tuning.ranking.serving.model.scorer import Scorer; Scorer.load('someone/tiny', allow_download=%s); print('loaded')"
    refuse = "import socket; socket.socket.connect = None\n"
    for allowed in (True, False):
        done = subprocess.run(
            [sys.executable, "-c", refuse + load % allowed],
            env={**os.environ, "HF_HUB_CACHE": str(tmp_path)},
            capture_output=True,
            text=True,
        )
        assert done.stdout == "loaded\n", done.stderr


@pytest.mark.parametrize("method", ["LoraConfig", "LoHaConfig", "IA3Config", "OFTConfig"])
def test_an_adapter_is_in_the_scores(method: str, tokenizer, tmp_path: Path) -> None:
    base = tiny("llama", len(tokenizer))
    base.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    adapted = tuning.get_peft_model(base, getattr(tuning, method)(target_modules=["q_proj", "down_proj"]))
    torch.manual_seed(1)
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn_like(parameter)
    adapted.save_pretrained(tmp_path / "adapter")
    prompt = build_prompt(path="a.py", before=TEXT + "x = value.")
    plain = Scorer.load(tmp_path / "base", quantize=False)
    merged = Scorer.load(tmp_path / "base", adapter=str(tmp_path / "adapter"), quantize=False)
    wanted = searched(Scorer(adapted.eval(), tokenizer), "k", prompt, NAMES)
    assert np.allclose(searched(merged, "k", prompt, NAMES), wanted, atol=1e-4)
    assert not np.allclose(searched(plain, "k", prompt, NAMES), wanted, atol=1e-3)


def test_an_adapter_that_has_no_place_in_the_weights_is_named(tokenizer, tmp_path: Path) -> None:
    base = tiny("llama", len(tokenizer))
    base.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    adapted = tuning.get_peft_model(base, tuning.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2))
    adapted.save_pretrained(tmp_path / "adapter")
    with pytest.raises(tuning.TuningError, match="PREFIX_TUNING"):
        Scorer.load(tmp_path / "base", adapter=str(tmp_path / "adapter"), quantize=False)
