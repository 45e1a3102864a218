"""Rankers scored on recorded lists: the figures are those of the orders, and what is missing is said."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pygit2
import pytest

from corpus.lists.candidates import Asked, Project, recorded
from corpus.lists.list_files import Recorded, read_lists, write_lists
from corpus.lists.positions import Position
from corpus.rankbench import origins
from corpus.rankbench.origins import Bench
from corpus.syntax.candidate import Candidate
from tests.corpus.repositories import repository
from tests.fakes.engine import Engine, serving
from tests.tuning.models import byte_level, tiny
from tuning.ranking.evaluating import evaluate
from tuning.ranking.evaluating.cases import SourceChanged, cases
from tuning.ranking.evaluating.known_scores import write_scores
from tuning.ranking.serving.blend import Blend
from tuning.ranking.serving.features import SIGNALS
from tuning.ranking.serving.model.loading import load_scorer, load_tokenizer
from tuning.ranking.serving.remote.engine import CANARY

FAKE = Path(__file__).parents[3] / "fakes" / "fake_server.py"
SHOP = b"class Shop:\n    def close(self):\n        self.till.count()\n        self.till.lock()\n"
MAIN = b"def evening(shop):\n    shop.till.count()\n    shop.till.lock()\n\n\ndef night(shop):\n    shop.till.count()\n    shop.till.lock()\n"
NAMES = ("add", "count", "lock", "open")


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A benchmark of one repository and one file, at each of its `till.` members."""
    place = repository(tmp_path / "o+n" / "repo", {"shop.py": SHOP, "main.py": MAIN})
    commit = str(pygit2.Repository(str(place)).head.target)
    name = f"git:o/n@{commit}"
    monkeypatch.setenv(origins.MIRROR, str(tmp_path))
    starts = [at + 5 for at in range(len(MAIN)) if MAIN.startswith(b"till.", at)]
    positions = [
        Position(
            path="main.py",
            start=s,
            end=MAIN.index(b"(", s),
            offset=s,
            tail=MAIN.index(b"\n", s),
            kind="member",
            form="line",
        )
        for s in starts
    ]
    asked = Asked(path="main.py", language="python", data=MAIN, positions=positions)
    project = Project(name=name, revision=commit, place=f"{place}@{commit}", server="basedpyright", files=[asked])
    offered = [
        Candidate(label=name, name=name, kind=2, place=i, detail="", deprecated=False, edits_elsewhere=False)
        for i, name in enumerate(NAMES)
    ]
    found = Bench(language="python", server="basedpyright", languages=["python"], origins=[name], written=[])
    monkeypatch.setattr(Bench, "lists", property(lambda self: tmp_path / "lists.parquet"))
    monkeypatch.setattr(evaluate, "benches", lambda: {"python": found})
    write_lists(found.lists, [recorded(project, asked, position, offered) for position in positions])
    return found


def scored(tmp_path: Path, *flags: str) -> dict[str, object]:
    out = tmp_path / "figures.json"
    assert evaluate.main(["--json", str(out), "--vscode", str(tmp_path / "none"), *flags]) == 0
    return json.loads(out.read_text())["python"]


def test_orders_of_the_list_alone(tmp_path: Path, bench: Bench) -> None:
    figures = scored(tmp_path)
    assert (figures["asked"], figures["positions"], figures["repositories"]) == (4, 4, 1)
    rankers = figures["rankers"]
    assert isinstance(rankers, dict)
    assert set(rankers) == {"alphabetical", "wrapped server"}
    overall = rankers["wrapped server"]["all"]
    assert (overall["n"], overall["R@1"][0], overall["R@5"][0], overall["MRR"][0]) == (4, 0, 1, pytest.approx(5 / 12))


def test_with_the_source_what_the_code_says_counts(tmp_path: Path, bench: Bench) -> None:
    rankers = scored(tmp_path, "--source")["rankers"]
    assert isinstance(rankers, dict)
    assert rankers["Starling, signals"]["all"]["R@1"][0] >= 0.75
    assert rankers["most recent in the file"]["member"]["n"] == 4
    assert "form: line" in rankers["index alone"]


def test_a_new_project_has_nothing_but_what_stands_before_the_cursor(tmp_path: Path, bench: Bench) -> None:
    rows = list(read_lists(bench.lists))
    whole, alone = ([*cases(rows, origins.place_of, alone=way)] for way in (False, True))
    assert any(case.known.index.workspace_uses.any() for case in whole)
    assert not any(case.known.index.workspace_uses.any() for case in alone)
    later = [case.known.columns[:, SIGNALS.index("named_by_lines_after")] for case in alone]
    assert not any(column.any() for column in later)
    figures = scored(tmp_path, "--source", "--new-project")
    assert isinstance(figures["rankers"], dict) and figures["rankers"]["Starling, signals"]["all"]["n"] == 4


def test_plots_are_drawn(tmp_path: Path, bench: Bench) -> None:
    pytest.importorskip("matplotlib", reason="the extra `plots` draws")
    scored(tmp_path, "--source", "--plots", str(tmp_path / "plots"))
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == ["by-class.svg", "calibration.svg"]


def test_scores_from_elsewhere_and_blends_without_a_part_come_onto_a_page(tmp_path: Path, bench: Bench) -> None:
    """Scores that say "lock" everywhere: right at every other place."""
    rows = list(cases(read_lists(bench.lists), origins.place_of))
    log_p = [-1.0 if name == "lock" else -9.0 for name in NAMES]
    write_scores(tmp_path / "scores", [(case.prompt.key, NAMES, log_p) for case in rows])
    (tmp_path / "less").mkdir()
    Blend.load().save(tmp_path / "less" / "scopes.json")
    page = tmp_path / "results.md"
    page.write_text(
        "# An older page\n\n## lisp\n\nIts figures.\n\n## python\n\nOlder figures.\n\n## Pictures\n\n![one](one.svg)\n"
    )
    flags = ("--scores", f"base={tmp_path / 'scores'}", "--without", str(tmp_path / "less"), "--page", str(page))
    rankers = scored(tmp_path, *flags)["rankers"]
    assert isinstance(rankers, dict)
    assert rankers["base alone"]["all"]["R@1"][0] == 0.5
    assert rankers["Starling, base without scopes"] == rankers["Starling, base"]
    said = page.read_text("utf-8")
    assert "| base alone | 0.500" in said
    assert "| Starling, signals | scopes |" in said
    assert "| Starling, base | scopes |" in said
    assert "+0.000 [+0.000, +0.000]" in said
    assert "## lisp\n\nIts figures.\n" in said  # what the page says of other languages stays
    assert "Older" not in said
    assert said.endswith("## Pictures\n\n![one](one.svg)\n")


@pytest.fixture
def base(tmp_path: Path) -> tuple[str, str]:
    """Options for a tiny model."""
    tokenizer = byte_level()
    tiny("llama", len(tokenizer)).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    return "--base", str(tmp_path / "base")


@pytest.mark.filterwarnings("error:Mean of empty slice:RuntimeWarning")
def test_deadlines_alone_are_drawn(tmp_path: Path, bench: Bench, base: tuple[str, str]) -> None:
    pytest.importorskip("matplotlib", reason="the extra `plots` draws")
    scored(tmp_path, "--budgets", "100", *base, "--plots", str(tmp_path / "plots"))
    assert (tmp_path / "plots" / "by-time.svg").is_file()


def test_a_model_with_a_deadline_needs_no_search_to_the_end(
    tmp_path: Path, bench: Bench, base: tuple[str, str]
) -> None:
    """A budget that every search ends in, and one that none begins in."""
    timed = scored(tmp_path, "--budgets", "60000,0", *base)
    both = scored(tmp_path, "--model", "--budgets", "60000", *base)["rankers"]
    rankers = timed["rankers"]
    assert isinstance(rankers, dict) and isinstance(both, dict)
    ended, whole = "Starling, model, 60000 ms", "Starling, model, no deadline"
    assert whole not in rankers
    assert rankers[ended] == both[ended] == both[whole]
    assert rankers["Starling, model, 0 ms"] == rankers["Starling, signals"]
    errors = timed["calibration error by chance"]
    assert isinstance(errors, dict)
    assert 0 < errors[ended] < 1


def test_a_teams_engine_is_compared_with_the_model_here(
    tmp_path: Path, bench: Bench, base: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """An engine that serves the same model: the same figures; none in time, and none of them count."""
    token = tmp_path / "token"
    token.write_text("secret")
    with serving(Engine(load_scorer(base[1]), token="secret")) as engine:
        remote = "--remote", engine.url, "--remote-token-file", str(token)
        rankers = scored(tmp_path, "--budgets", "60000,0", *base, *remote)["rankers"]
        assert isinstance(rankers, dict)
        assert rankers["Starling, team's engine, 60000 ms"] == rankers["Starling, model, 60000 ms"]
        assert rankers["Starling, team's engine, 0 ms"] == rankers["Starling, signals"]
        canary = load_tokenizer(base[1]).encode(CANARY)
        lists = [body["prompt"] for path, body in engine.asked if path == "/v1/completions" and "logprobs" in body]
        assert any(prompts[0][: len(canary)] != canary for prompts in lists), "lists too, and not the check alone"
        token.write_text("wrong")
        assert evaluate.main(["--budgets", "60", *base, *remote]) == 2
        assert "token is wrong or missing" in capsys.readouterr().out
        token.write_text("")
        assert evaluate.main(["--budgets", "60", *base, *remote]) == 2
        assert "token can't be read" in " ".join(capsys.readouterr().out.split())
    for wrong in (("--remote", engine.url), ("--remote", "http://example.com", "--budgets", "60")):
        with pytest.raises(SystemExit):
            evaluate.main([*wrong])


def test_any_command_is_scored_by_its_own_order(tmp_path: Path, bench: Bench) -> None:
    spec = tmp_path / "spec.json"
    spec.write_text(
        json.dumps(
            {
                "completion": [
                    {"label": "★ lock", "filterText": "lock", "sortText": "0"},
                    {"label": "count", "sortText": "1"},
                ]
            }
        )
    )
    rankers = scored(tmp_path, "--command", sys.executable, str(FAKE), str(spec))["rankers"]
    assert isinstance(rankers, dict)
    ((name, slices),) = rankers.items()
    assert str(FAKE) in name
    assert (slices["all"]["n"], slices["all"]["R@1"][0]) == (4, 0.5)


def test_a_file_that_is_not_what_it_was_is_said(
    tmp_path: Path, bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    import msgspec

    changed: list[Recorded] = [msgspec.structs.replace(row, sha256="0" * 64) for row in read_lists(bench.lists)]
    with pytest.raises(SourceChanged, match=r"main\.py"):
        list(cases(changed, origins.place_of))
    write_lists(bench.lists, changed)
    assert evaluate.main(["--source", "--vscode", str(tmp_path / "none")]) == 2
    assert "Fetch the source again" in capsys.readouterr().out


def test_a_sample_is_the_same_every_time(bench: Bench) -> None:
    from corpus.lists.list_files import read_lists

    rows = list(read_lists(bench.lists))
    assert evaluate.sample(rows, 2) == evaluate.sample(rows, 2)
    assert len(evaluate.sample(rows, 2)) == 2
    assert evaluate.sample(rows, 0) == rows
