"""An adapter from a user's own repository, by the command that makes one; lists as a server would give them, and a tiny model."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pygit2
import pytest

from corpus.interpreter import install_command
from corpus.lists.candidates import Project, Tally, recorded
from corpus.lists.list_files import Recorded
from corpus.lists.written import written
from corpus.mining.sources import SourceBroken, SourceUnknown, snapshot
from corpus.syntax.candidate import Candidate
from tests.corpus.repositories import repository
from tests.tuning.models import byte_level, tiny
from tuning.ranking.__main__ import main
from tuning.ranking.learning import cli_train, retraining, train_plan
from tuning.ranking.learning.cli_train import is_better
from tuning.ranking.learning.splitting import named, split
from tuning.ranking.learning.train_plan import duration
from tuning.ranking.serving.model import adapter_registry

SERVERS = {"python": "ty"}
DAYS = ("evening", "late", "night", "early", "noon", "dawn", *(f"day{number}" for number in range(5)))
METHODS = [
    f"{verb}_{noun}" for verb in ("count", "lock", "open", "empty") for noun in ("till", "door", "drawer", "safe")
]


def shop() -> bytes:
    """A class whose members other files use."""
    return ("class Shop:\n" + "".join(f"    def {name}(self):\n        return 1\n" for name in METHODS)).encode()


def day(name: str, lines: int) -> bytes:
    """Functions that use it."""
    body = "".join(
        f"def {name}_{number}(shop: Shop):\n    shop.{METHODS[number % 5]}()\n    return shop.{METHODS[(number + 3) % 7]}()\n\n\n"
        for number in range(lines)
    )
    return f"from shop import Shop\n\n\n{body}".encode()


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A repository of four commits, the last three of which add lines."""
    first = {"shop.py": shop(), **{f"day{number}.py": day(f"day{number}", 12) for number in range(5)}}
    second = {**first, "evening.py": day("evening", 14), "late.py": day("late", 14)}
    third = {**second, "night.py": day("night", 14), "early.py": day("early", 14)}
    fourth = {**third, "noon.py": day("noon", 14), "dawn.py": day("dawn", 14)}
    return repository(tmp_path / "code" / ".git", first, second, third, fourth).parent


@pytest.fixture
def base(tmp_path: Path) -> Path:
    tokenizer = byte_level()
    tiny("llama", len(tokenizer)).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter_registry, "home", lambda kind="adapters": tmp_path / kind)
    monkeypatch.setattr(retraining, "record", offered_everywhere)


def offered_everywhere(projects: Sequence[Project], work: Path, **_: object) -> tuple[list[Recorded], Tally]:
    """Every name of the code, at every place."""
    names = [*METHODS, "Shop", "shop", "self", *(f"{day}_{n}" for day in DAYS for n in range(14))]
    offered = [
        Candidate(label=name, name=name, kind=2, place=place, detail="", deprecated=False, edits_elsewhere=False)
        for place, name in enumerate(names)
    ]
    return [
        recorded(project, asked, position, offered)
        for project in projects
        for asked in project.files
        for position in asked.positions
    ], Tally()


def test_what_is_judged_on_are_lines_of_later_commits(code: Path) -> None:
    found = split(code, SERVERS, learned=40, judged=60)
    assert found.by_commits
    commits = [str(commit.id) for commit in pygit2.Repository(str(code)).walk(pygit2.Repository(str(code)).head.target)]
    judged = {project.revision for project in found.judging}
    (learned,) = {project.revision for project in found.learning}
    assert judged <= set(commits[1:])
    assert learned == max(judged, key=commits.index)
    assert {file.path for project in found.learning for file in project.files} <= {
        "shop.py",
        *(f"day{n}.py" for n in range(5)),
        "evening.py",
    }
    assert {position.form for project in found.judging for file in project.files for position in file.positions} == {
        "written"
    }
    assert found.languages == ["python"]


def test_without_history_files_are_kept_apart(tmp_path: Path) -> None:
    for number in range(9):
        (tmp_path / "plain").mkdir(exist_ok=True)
        (tmp_path / "plain" / f"day{number}.py").write_bytes(day(f"day{number}", 12))
    found = split(tmp_path / "plain", SERVERS, learned=500, judged=60)
    assert not found.by_commits
    learned, judged = (
        {file.path for project in part for file in project.files} for part in (found.learning, found.judging)
    )
    assert judged
    assert not learned & judged


@pytest.mark.parametrize("lacks", ["older files, as a partial clone", "one older file"])
def test_without_a_history_that_can_be_read_files_are_kept_apart(tmp_path: Path, lacks: str) -> None:
    changed = [{f"day{n}.py": day(f"day{n}", 12 + 2 * times) for n in range(9)} for times in range(5)]
    place = repository(tmp_path / "whole" / ".git", *changed)
    assert split(place.parent, SERVERS, learned=500, judged=60).by_commits
    if lacks == "one older file":
        lost = str(pygit2.Repository(str(place)).revparse_single("HEAD~1:day3.py").id)
        (place / "objects" / lost[:2] / lost[2:]).unlink()
    else:
        subprocess.run(["git", "config", "uploadpack.allowFilter", "true"], cwd=place, check=True)
        clone = ["git", "clone", "-q", "--filter=blob:none", place.as_uri(), str(tmp_path / "partial")]
        subprocess.run(clone, check=True)
        place = tmp_path / "partial" / ".git"
    with pytest.raises(SourceBroken, match="has a history that can't be read"):
        list(written(str(place.parent), snapshot(str(place)).revision, ["python"], 60))
    found = split(place.parent, SERVERS, learned=500, judged=60)
    assert not found.by_commits
    assert found.learning and found.judging


def test_folders_of_one_name_are_told_apart(tmp_path: Path) -> None:
    places = [
        tmp_path / "a" / "x" / "api",
        tmp_path / "b" / "x" / "api",
        tmp_path / "x" / "web",
        tmp_path / "a" / "api",
    ]
    for place in places:
        place.mkdir(parents=True)
    (tmp_path / "link").symlink_to(places[2])
    found = named([*places, tmp_path / "link", places[0] / ".." / "api"])
    assert [*found] == ["a/x/api", "b/x/api", "web", "a/api"]
    assert [path.resolve() for path in found.values()] == places


def test_code_in_no_language_that_is_served_is_said(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "notes.txt").write_text("none")
    with pytest.raises(SourceUnknown, match="too little code in these languages to learn from: python"):
        split(tmp_path / "plain", SERVERS, learned=500, judged=60)


def train(code: Path, base: Path, *more: str) -> int:
    given = ["train", "--repo", str(code), "--base", str(base), "--server", "python=ty", "--language", "python"]
    return main(
        [
            *given,
            "--minutes",
            "20",
            "--times",
            "2",
            "--positions",
            "80",
            "--judged",
            "60",
            "--work",
            str(code.parent / "work"),
            *more,
        ]
    )


def test_a_repository_becomes_an_installed_adapter_and_back(
    code: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(code, base, "--keep-worse") == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "lines that its last commits added" in said
    assert "later lists of the same code" in said
    assert "starling rollback code" in said
    first = adapter_registry.used("code")
    assert first is not None
    assert first.card.workspaces == [str(code.resolve())]
    assert first.card.languages == ["python"]
    assert set(first.card.figures) == {"R@1", "R@5", "MRR", "R@1 gained", "R@5 gained", "MRR gained"}
    assert json.loads((first.folder / "adapter_config.json").read_text())["peft_type"] == "LORA"
    weights = (first.folder / "adapter_model.safetensors").read_bytes()

    assert train(code, base, "--keep-worse") == 0  # all of it was done already
    second = adapter_registry.used("code")
    assert second is not None
    assert second.version == 2
    assert (second.folder / "adapter_model.safetensors").read_bytes() == weights

    assert main(["adapters"]) == 0
    assert "code" in capsys.readouterr().out
    assert main(["adapters", "--json"]) == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert (listed["name"], listed["version"], listed["folder"]) == ("code", 2, str(second.folder))
    assert main(["rollback", "code"]) == 0
    assert "code 1 of" in capsys.readouterr().out
    assert main(["rollback", "code"]) == 0
    assert main(["rollback", "code"]) == 2
    assert "no adapter 'code' is used" in capsys.readouterr().err


def test_repositories_of_one_name_are_learned_from_together(
    code: Path, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {f"{name}.py": day(name, 13) for name in DAYS}
    other = repository(tmp_path / "other" / "code" / ".git", {"shop.py": shop()}, {**files, "shop.py": shop()}).parent
    assert train(code, base, "--repo", str(other), "--keep-worse") == 0
    said = " ".join(capsys.readouterr().err.split())
    assert f"{tmp_path.name}/code: " in said and "other/code: " in said


def test_what_is_in_use_and_can_not_be_loaded_any_more_does_not_stop_a_new_one(
    code: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(code, base, "--keep-worse") == 0
    first = adapter_registry.used("code")
    assert first is not None
    adapter_registry.describe(first, msgspec.structs.replace(first.card, beneath="0123456789abcdef"))
    capsys.readouterr()
    assert train(code, base, "--keep-worse") == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "can't be loaded any more, so the comparison is with the model without it" in said
    assert "trained with another version of Starling's own adapter" in said
    second = adapter_registry.used("code")
    assert second is not None and second.version == 2


def test_more_time_trains_on_and_the_same_command_does_not(
    code: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def steps(*more: str) -> int:
        assert train(code, base, "--keep-worse", *more) == 0
        (count,) = re.findall(r"([\d,]+) steps of", " ".join(capsys.readouterr().err.split()))
        return int(count)

    once = steps()
    folders = set((code.parent / "work").glob("adapter-*"))
    assert steps() == once
    assert set((code.parent / "work").glob("adapter-*")) == folders
    assert steps("--times", "6") > once
    assert set((code.parent / "work").glob("adapter-*")) > folders


def test_training_ends_when_its_time_is_up_though_steps_became_slower(
    code: Path, base: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    late, planned = 0.0, train_plan.steps

    def then_slow(*arguments: Any) -> tuple[int, float]:
        nonlocal late
        found = planned(*arguments)
        late = 1e6
        return found

    monkeypatch.setattr(train_plan, "steps", then_slow)
    monkeypatch.setattr(cli_train, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + late))
    assert train(code, base, "--keep-worse") == 0
    assert re.search(r"The time is up after 1 of \d+ steps", " ".join(capsys.readouterr().err.split()))


def test_too_little_code_is_said_before_anything_is_trained(
    tmp_path: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = repository(tmp_path / "small" / ".git", {f"day{n}.py": day(f"day{n}", 2) for n in range(4)}).parent
    assert train(small, base) == 2
    assert "Too few lists have the name that was written" in " ".join(capsys.readouterr().err.split())
    assert (tmp_path / "work").is_dir()
    assert not list((tmp_path / "work").glob("adapter*"))


@pytest.mark.parametrize(
    ("repo", "name", "said"),
    [
        ("missing", "", "missing: is not there. Give --repo a git repository, or a folder of source."),
        ("file", "", "file: is no folder. Give --repo a git repository"),
        ("unborn", "", "unborn: has no commit yet. Commit its files, then train on them."),
        ("plain", "", "plain: has too little code in these languages to learn from: python. Give another --repo"),
        ("plain", "my shop", "'my shop' is no name for an adapter. Give one with --name: letters, digits"),
    ],
)
def test_what_can_not_be_learned_from_is_said_before_anything_is_made(
    tmp_path: Path, base: Path, capsys: pytest.CaptureFixture[str], repo: str, name: str, said: str
) -> None:
    there = tmp_path / "there"
    (there / "plain").mkdir(parents=True)
    (there / "file").touch()
    pygit2.init_repository(str(there / "unborn"))
    assert train(there / repo, base, *(("--name", name) if name else ())) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (there / "work").exists()


def test_only_what_is_better_is_installed() -> None:
    assert is_better(now=[0, 2, 3, 9], then=[0, 1, 3, 9])
    assert not is_better(now=[0, 2, 3, 9], then=[0, 2, 3, 9])
    assert not is_better(now=[0, 2, 3, 9], then=[1, 0, 30, 90])  # as often first, further down else


def test_a_library_that_is_not_installed_is_said(
    code: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pygit2", None)
    assert main(["train", "--repo", str(code)]) == 2
    assert f"pygit2 is not installed. Run: {install_command('train,corpus')}\n" == capsys.readouterr().err


@pytest.mark.parametrize(("folder", "name"), [("my shop (new)!", "my-shop-new"), ("größe", "größe"), ("...", "code")])
def test_any_folders_name_makes_an_adapters(folder: str, name: str) -> None:
    assert adapter_registry.checked(adapter_registry.name_for(Path("/w") / folder)) == name


@pytest.fixture
def silent_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """They offer nothing, so that nothing is trained."""
    monkeypatch.setattr(retraining, "record", lambda *_, **__: ([], Tally(positions=9, answered=2)))


@pytest.mark.usefixtures("silent_servers")
def test_a_run_says_beforehand_how_long_it_takes_and_that_it_may_not_help(
    code: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(code, base) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert re.search(r"This takes about \d+ (s|min) without a GPU", said)
    assert "the adapter may be no better" in said
    assert said.index("This takes about") < said.index("asking the servers:")


@pytest.mark.usefixtures("silent_servers")
def test_places_that_had_no_answer_are_counted_in_one_line(
    code: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(code, base) == 2
    assert capsys.readouterr().err.count("7 places had no answer from their server in time") == 1


@pytest.mark.parametrize(
    ("seconds", "said"), [(4, "4 s"), (89.9, "90 s"), (100, "2 min"), (3600, "60 min"), (12_000, "3 h 20 min")]
)
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said
