"""Tree search against plain text, by each runtime, on tiny models made here."""

from typing import Any

import numpy as np
import pytest
import torch

from tests.tuning.models import TEXT, byte_level, tiny
from tuning.ranking.learning.torch_models import TorchRuntime, tokens_of
from tuning.ranking.serving.model import model_store
from tuning.ranking.serving.model import scorer as scorer_module
from tuning.ranking.serving.model.errors import ModelUnsupported
from tuning.ranking.serving.model.loading import load_scorer
from tuning.ranking.serving.model.prompt import Prompt, build_prompt
from tuning.ranking.serving.model.scorer import Scorer

NAMES = ["value", "_value", "values", "v", "name", "names", "__init__", "größe", "x1", "val"]


@pytest.fixture(scope="module")
def tokenizer():
    return byte_level()


@pytest.fixture(scope="module", params=["torch/llama", "torch/gpt2", "onnx/wide llama"])
def made(request: pytest.FixtureRequest, tokenizer, tmp_path_factory: pytest.TempPathFactory) -> tuple[Scorer, Any]:
    """A scorer of each runtime, and the model in transformers that it has to agree with."""
    runtime, kind = request.param.split("/")
    model = tiny(kind, len(tokenizer)).eval()
    if runtime == "torch":
        return Scorer(TorchRuntime(model), tokens_of(tokenizer)), model
    folder = tmp_path_factory.mktemp("base")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model_store, "models_dir", lambda: folder / "compiled")
        return load_scorer(folder, quantize=False), model


@pytest.fixture
def scorer(made: tuple[Scorer, Any]) -> Scorer:
    return made[0]


@torch.inference_mode()
def plain(model: Any, tokenizer: Any, prompt: Prompt, name: str) -> float:
    """log P of a name and its end, by one forward pass over all of the text."""
    text, tail = (tokenizer.encode(part, add_special_tokens=False) for part in (prompt.text, prompt.tail + name))
    logits = model(torch.tensor([text + tail])).logits[0].float().log_softmax(-1)
    path = sum(float(logits[len(text) + place - 1, token]) for place, token in enumerate(tail))
    ending = torch.from_numpy(tokens_of(tokenizer).ends_identifier(logits.shape[1]))
    return path + float(logits[-1][ending].logsumexp(-1))


def searched(scorer: Scorer, key: str, prompt: Prompt, names: list[str]) -> np.ndarray:
    search = scorer.search(key, prompt, names)
    while not search.step(top=len(names)):
        pass
    return search.scores().bounds


@pytest.mark.parametrize("tail", [".", " = ", "(", ", ", "\n        ", ""])
def test_tree_equals_plain_text(made: tuple[Scorer, Any], tokenizer, tail: str) -> None:
    scorer, model = made
    prompt = Prompt(text=TEXT + "        self", tail=tail)
    expected = [plain(model, tokenizer, prompt, name) for name in NAMES]
    assert searched(scorer, "a", prompt, NAMES) == pytest.approx(expected, abs=1e-4)
    assert [scorer.plain(prompt, name) for name in NAMES] == pytest.approx(expected, abs=1e-4)


def test_a_runtime_whose_nodes_see_no_ancestors_is_found_out(scorer: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer.check(tolerance=1e-4)
    expand = type(scorer.runtime).expand

    def blind(runtime: Any, context: Any, tokens: Any, depths: Any, ancestors: Any, prompt: int) -> Any:
        return expand(runtime, context, tokens, [0 for _ in depths], [[] for _ in ancestors], prompt)

    monkeypatch.setattr(type(scorer.runtime), "expand", blind)
    with pytest.raises(ModelUnsupported, match="unlike text"):
        scorer.check(tolerance=1e-4)


def test_prompts_of_many_documents_are_kept_within_a_limit(scorer: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    size = scorer.runtime.bytes_of(len(scorer.tokenizer.encode(TEXT)))
    monkeypatch.setattr(scorer_module, "CACHE_BYTES", int(3.5 * size))
    for key in "abcdefa":
        scorer.advance(key, Prompt(text=TEXT, tail=""))
    assert list(scorer._prompts) == ["e", "f", "a"]  # pyright: ignore[reportPrivateUsage]


def test_of_a_text_longer_than_the_model_reads_the_end_counts(scorer: Scorer) -> None:
    long = TEXT * 400
    prompt = Prompt(text=long, tail=".")
    found = searched(scorer, "long", prompt, NAMES)
    assert len(scorer.tokenizer.encode(long)) > scorer.runtime.positions
    assert np.isfinite(found).all()
    assert searched(scorer, "longer", Prompt(text="x = 1\n" + long, tail="."), NAMES) == pytest.approx(found, abs=1e-4)
    assert np.isfinite(searched(scorer, "long", prompt, ["n" * 40_000, "name"])).all()


def test_cached_prompt_equals_a_fresh_one(scorer: Scorer) -> None:
    prompts = [Prompt(text=TEXT + rest, tail=".") for rest in ("x = self", "x = self.name\ny = self", "z")]
    for prompt in prompts:
        scorer.advance("kept", prompt)
        kept = searched(scorer, "kept", prompt, NAMES)
        assert kept == pytest.approx(searched(scorer, f"fresh {prompt.text}", prompt, NAMES), abs=1e-4)


def test_a_pass_that_failed_leaves_nothing_in_the_prompt(scorer: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    prompt = Prompt(text=TEXT + "x = self", tail=".")
    exact = searched(scorer, "failed", prompt, NAMES)
    expand = type(scorer.runtime).expand

    def failing(*arguments: Any) -> Any:
        expand(*arguments)
        raise MemoryError

    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr(type(scorer.runtime), "expand", failing)
        searched(scorer, "failed", prompt, NAMES)
    assert searched(scorer, "failed", prompt, NAMES) == pytest.approx(exact, abs=1e-4)


def test_a_pass_that_failed_between_layers_leaves_nothing_in_the_prompt(tokenizer: Any) -> None:
    model: Any = tiny("llama", len(tokenizer)).eval()
    scorer, prompt = Scorer(TorchRuntime(model), tokens_of(tokenizer)), Prompt(text=TEXT + "x = self", tail=".")
    exact = searched(scorer, "a", prompt, NAMES)

    def fail(*_: object) -> None:
        raise MemoryError

    hook = model.model.layers[-1].register_forward_pre_hook(fail)
    with pytest.raises(MemoryError):
        searched(scorer, "a", prompt, NAMES)
    hook.remove()
    assert searched(scorer, "a", prompt, NAMES) == pytest.approx(exact, abs=1e-4)


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
    whole = [len(scorer.tokens.name(prompt.tail, name)) + 1 for name in NAMES]
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
    prompt = Prompt(text=TEXT * 8, tail=".")
    assert not scorer.advance("d", prompt, should_stop=lambda: next(stops))
    assert scorer.advance("d", prompt)
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


def test_what_was_read_ahead_is_known_and_so_is_what_is_typed(scorer: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The author looks at another place, and types on at the first or at the other: neither is read again."""
    here, there = "x = 1\n" * 20 + TEXT, "y = self.name\n" * 20 + TEXT
    read: list[int] = []
    plain_read = type(scorer.runtime).read
    monkeypatch.setattr(
        type(scorer.runtime),
        "read",
        lambda self, context, tokens: (read.append(len(tokens)), plain_read(self, context, tokens))[1],
    )
    scorer.advance("doc", Prompt(text=here, tail=""))
    scorer.advance("doc", Prompt(text=there, tail=""), ahead=True)
    read.clear()
    for text in (here, there, here):  # types on; goes there after all; and back
        scorer.advance("doc", Prompt(text=text + "z = 2\n", tail="("))
    assert sum(read) < 40
    prompt = Prompt(text=there, tail=".")
    assert searched(scorer, "doc", prompt, NAMES) == pytest.approx(searched(scorer, "other", prompt, NAMES), abs=1e-4)


@pytest.mark.parametrize("guesses", [0, 1, 3])
@pytest.mark.parametrize("tail", [".", " = ", "(", "\n    ", "[0].", ""])
def test_what_was_read_before_the_names_were_known_changes_no_score(scorer: Scorer, tail: str, guesses: int) -> None:
    """Also for names that a tokenizer joins with the tail, and for a second search after the first."""
    names = [*NAMES, "_value", "__init__"]
    prompt = Prompt(text=TEXT, tail=tail)
    expected = searched(scorer, "unread", prompt, names)
    scorer.advance("read", prompt, guesses=guesses)
    for _ in range(2):
        assert searched(scorer, "read", prompt, names) == pytest.approx(expected, abs=1e-4)
    scorer.advance("elsewhere", Prompt(text=TEXT, tail=tail + "("), guesses=guesses)
    assert searched(scorer, "read", prompt, names) == pytest.approx(expected, abs=1e-4)
    scorer.advance("read", Prompt(text=TEXT, tail=tail + "("))  # another one behind the same text
    assert searched(scorer, "read", prompt, names) == pytest.approx(expected, abs=1e-4)


def test_after_a_tail_was_read_what_may_follow_is_known_before_the_first_pass(scorer: Scorer) -> None:
    prompt = Prompt(text=TEXT, tail=".")
    scorer.advance("tail", prompt)
    search = scorer.search("tail", prompt, NAMES)
    search.step()
    assert len(set(search.scores().bounds.tolist())) > 1


@pytest.mark.parametrize("tail", [".", " = ", ""])
def test_likely_names_that_were_guessed_are_known_before_the_first_pass(
    scorer: Scorer, tokenizer: Any, tail: str
) -> None:
    """All names of one token are there, so the likeliest tokens are names."""
    names = sorted({text.lstrip("Ġ") for text in tokenizer.get_vocab() if text.lstrip("Ġ").isidentifier()})
    prompt = Prompt(text=TEXT, tail=tail)
    expected = searched(scorer, "unread", prompt, names)
    scorer.advance("guessed", prompt, guesses=1)
    search = scorer.search("guessed", prompt, names)
    search.step()
    found = search.scores()
    assert found.exact.any()
    assert found.bounds[found.exact] == pytest.approx(expected[found.exact], abs=1e-4)


def test_where_no_token_begins_a_name_nothing_is_guessed(scorer: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scorer, "_begins", {})
    monkeypatch.setattr(type(scorer.tokenizer), "begins_name", lambda self, size, before: np.zeros(size, bool))
    prompt = Prompt(text="import re\n" + TEXT, tail=".")
    assert scorer.advance("nothing", prompt, guesses=2)
    assert searched(scorer, "nothing", prompt, NAMES) == pytest.approx(searched(scorer, "new", prompt, NAMES), abs=1e-4)


def test_what_was_read_ahead_is_kept_for_one_place_only(scorer: Scorer) -> None:
    kept, names = 0, ["value", "name", "x1"]
    for key in ("one", "two", "three"):
        prompt = Prompt(text=TEXT + key, tail=".")
        scorer.advance(key, prompt, guesses=2)
        search = scorer.search(key, prompt, names)
        search.step()
        kept += len(set(search.scores().bounds.tolist())) > 1
        search.close()
    assert kept == 3
    search = scorer.search("one", Prompt(text=TEXT + "one", tail="."), names)
    search.step()
    assert len(set(search.scores().bounds.tolist())) == 1


def test_guessing_goes_on_where_it_was_stopped_and_is_not_done_twice(
    scorer: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[int] = []
    expand = type(scorer.runtime).expand
    monkeypatch.setattr(
        type(scorer.runtime),
        "expand",
        lambda self, context, tokens, *rest: (passes.append(len(tokens)), expand(self, context, tokens, *rest))[1],
    )
    prompt = Prompt(text="import os\n" + TEXT, tail=".")
    stops = iter([False, False, False, True])  # after the prompt's one piece, its tail and one pass
    assert not scorer.advance("go", prompt, should_stop=lambda: next(stops), guesses=2)
    assert len(passes) == 2
    for _ in range(2):
        assert scorer.advance("go", prompt, guesses=2)
        assert len(passes) == 3
    assert passes[1:] == [scorer.runtime.nodes] * 2


def test_the_first_pass_knows_the_first_names_whole(scorer: Scorer) -> None:
    """They come in the order of what else is known of them; before that pass, only what names begin with is known."""
    prompt = Prompt(text=TEXT, tail=".")
    search = scorer.search("first", prompt, NAMES)
    search.step()  # the prompt
    assert not search.scores().exact.any()
    search.step()
    exact = search.scores().exact
    first = scorer.tokens.name(prompt.tail, NAMES[0])
    assert len(first) <= scorer.runtime.nodes
    assert exact[0]
    expected = searched(scorer, "first", prompt, NAMES)
    assert search.scores().bounds[exact] == pytest.approx(expected[exact], abs=1e-4)
