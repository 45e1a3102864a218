"""Adapters for languages: lists made into windows, windows and scores on disk, and the commands from one to the other."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from corpus.lists.list_files import read_lists, write_lists
from tests.corpus.repositories import repository
from tests.tuning.models import byte_level, tiny
from tests.tuning.ranking.learning.test_retraining import SERVERS, day, offered_everywhere, shop
from tuning.ranking.__main__ import main
from tuning.ranking.evaluating.cases import Case, cases
from tuning.ranking.evaluating.known_scores import KnownScores, write_scores
from tuning.ranking.learning import blend_fitting
from tuning.ranking.learning.recipe import METHODS, Recipe, is_kept_out
from tuning.ranking.learning.splitting import split
from tuning.ranking.learning.window_building import windows
from tuning.ranking.learning.window_files import read_windows, write_windows
from tuning.ranking.serving.blend import Blend
from tuning.ranking.serving.model.errors import ScorerMissing
from tuning.ranking.serving.model.loading import load_scorer
from tuning.ranking.serving.model.prompt import Prompt
from tuning.ranking.serving.rank import shortlist

TIMES = 12  # through the windows
NAMES = [f"shop{number}" for number in range(40)]
LEARNED = next(name for name in NAMES if not is_kept_out(name))
KEPT_OUT = next(name for name in NAMES if is_kept_out(name))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two repositories, their lists, a file that says where they are, and a model."""
    folder = tmp_path_factory.mktemp("learning")
    rows, places = [], []
    for name in (LEARNED, KEPT_OUT):
        code = {"shop.py": shop(), **{f"{name}_{n}.py": day(f"{name}_{n}", 9) for n in range(4)}}
        found = split(repository(folder / name / ".git", code).parent, SERVERS, learned=60, judged=20)
        rows += offered_everywhere([*found.learning, *found.judging], folder)[0]
        places += [f"{place} {project}\n" for project, place in found.places.items()]
    (folder / "lists").mkdir()
    write_lists(folder / "lists" / "lists.parquet", rows)
    (folder / "places").write_text("".join(places), encoding="utf-8")
    tokenizer = byte_level()
    tiny("llama", len(tokenizer)).save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    return folder


@pytest.fixture(scope="module")
def found(home: Path) -> list[Case]:
    rows = [row for row in read_lists(home / "lists" / "lists.parquet") if row.has_truth]
    return list(cases(rows, lambda name: str(home / name)))


def run(home: Path, *given: object) -> int:
    return main([str(one) for one in (*given, "--base", home / "base")])


def test_windows_are_on_disk_what_they_were(home: Path, found: list[Case]) -> None:
    tokenizer = byte_level()
    made = list(windows(found, Blend.load(), lambda text: tokenizer.encode(text, add_special_tokens=False)))
    assert {window.repository for window in made} == {LEARNED, KEPT_OUT}
    assert max(len(window.sites) for window in made) > 1
    assert write_windows(home / "made.parquet", made) == len(made)
    again = list(read_windows(home / "made.parquet"))
    for window, other in zip(made, again, strict=True):
        assert (list(window.tokens), window.language) == (other.tokens, "python")
        for site, same in zip(window.sites, other.sites, strict=True):
            assert [list(sequence) for sequence in site.sequences] == same.sequences
            assert list(site.names) == same.names
            assert (site.place, site.truth, site.prompt, site.kind) == (same.place, same.truth, same.prompt, same.kind)
            assert same.beside == pytest.approx(site.beside, abs=1e-4)
    assert list(read_windows(home / "made.parquet", ["java"])) == []


def test_another_file_is_no_file_of_windows(home: Path) -> None:
    with pytest.raises(ScorerMissing, match="holds no windows"):
        list(read_windows(home / "lists" / "lists.parquet"))


def test_scores_on_disk_are_those_of_the_scorer(home: Path, found: list[Case]) -> None:
    """All that the server asks the model about, scored many at once as one by one, with an adapter in the weights."""
    assert run(home, "windows", home / "lists", "--list", home / "places", "--whole", "--out", home / "whole") == 0
    assert run(home, "score", home / "whole", "--out", home / "scores") == 0
    known = KnownScores([home / "scores"])
    scorer = load_scorer(home / "base", quantize=False)
    blend = Blend.load()
    for case in found[::7]:
        names = [case.known.candidates[i].name for i in shortlist(case.known, blend)]
        searched, scored = scorer.log_p(case.prompt, names), known.log_p(case.prompt, names)
        best = np.argsort(-scored)[:10]  # a search knows them exactly, and the others about
        np.testing.assert_allclose(scored[best], searched[best], atol=2e-3)


def test_what_was_not_scored_is_known_as_that(home: Path) -> None:
    write_scores(home / "few", [(Prompt(text="a", tail=".").key, ["b"], [-1.0])])
    known = KnownScores([home / "few"])
    assert known.log_p(Prompt(text="a", tail="."), ["b"]).tolist() == [-1.0]
    assert np.isnan(known.log_p(Prompt(text="a", tail="."), ["b", "c"])).tolist() == [False, True]
    with pytest.raises(ScorerMissing, match="nothing was scored"):
        known.log_p(Prompt(text="a", tail=" "), ["b"])


@pytest.mark.parametrize("method", METHODS)
def test_an_adapter_is_learned_from_windows(method: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made, out = home / "learned.parquet", home / method
    assert run(home, "windows", home / "lists", "--list", home / "places", "--out", made) == 0
    lr = {"IA3": 0.01, "PREFIX_TUNING": 0.1}.get(method, 0.004)
    given = ("learn", made, "--out", out, "--method", method, "--lr", lr, "--times", TIMES, "--batch", 2, "--rank", 4)
    assert run(home, *given) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "of 1 repositories: " in said
    assert json.loads((out / "adapter_config.json").read_text())["peft_type"] == Recipe(method=method).config(9).METHOD
    steps = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    losses = [step["loss"] * step["lists"] for step in steps]
    once = len(losses) // TIMES
    assert sum(losses[-once:]) < 0.95 * sum(losses[:once])
    assert run(home, *given) == 0  # it was done already


def test_a_blend_is_fitted_on_scores_from_elsewhere(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blend_fitting, "ENOUGH", 5)
    assert run(home, "windows", home / "lists", "--list", home / "places", "--whole", "--out", home / "whole") == 0
    assert run(home, "score", home / "whole", "--out", home / "scores") == 0
    out = home / "blend.json"
    given = ("fit", home / "lists", "--list", home / "places", "--scores", home / "scores", "--out", out)
    assert run(home, *given) == 0
    Blend.load(out)
    assert run(home, *given, "--only-model", "--ablate", home / "less") == 2  # nothing to leave out of the signals
    assert run(home, *given, "--only-model") == 0
    only = Blend.load(out)
    before = Blend.load()
    assert all((only.signals[kind] == before.signals[kind]).all() for kind in before.signals)
    assert any((only.model[kind] != before.model[kind]).any() for kind in before.model)
