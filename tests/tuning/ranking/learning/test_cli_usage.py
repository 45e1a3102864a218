"""`starling train --usage`: what one's own repositories use becomes a table that is installed, listed and taken back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from corpus.mining.shards import alone
from corpus.syntax.tokens import hash_names, name_ids
from corpus.usage.table import Table
from tests.corpus.repositories import repository
from tuning.ranking.__main__ import main
from tuning.ranking.serving.model import adapter_registry
from tuning.ranking.serving.model.adapter_registry import USAGE


def caller(name: str) -> bytes:
    """A file that is like no other, but for what it uses."""
    lines = "".join(f"    shelf.restock({name}_{n}, {name}={n})\n    {name}_{n}.{name}_done()\n" for n in range(12))
    return f"from shelf import Shelf\n\n\ndef {name}(shelf: Shelf) -> None:\n{lines}".encode()


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter_registry, "home", lambda kind="adapters": tmp_path / "data" / kind)


@pytest.fixture
def shops(tmp_path: Path) -> list[Path]:
    return [
        repository(tmp_path / name / ".git", {f"{name}.py": caller(name)}, licence=None).parent
        for name in ("north", "south")
    ]


def train(work: Path, *repos: Path, more: str = "--usage") -> int:
    given = ["--usage", more, "--name", "shops", "--work", str(work)]
    return main(["train", *given, *(f"--repo={repo}" for repo in repos)])


def test_repositories_become_a_table_that_is_installed_and_taken_back(
    shops: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = tmp_path / "work"
    assert train(work, *shops) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "Installed as shops 1" in said and "starling rollback shops --usage" in said
    installed = adapter_registry.used("shops", USAGE)
    assert installed is not None and installed.card.workspaces == [str(shop.resolve()) for shop in shops]
    assert installed.card.languages == ["python"]
    found = Table.load(installed.folder / "python.usage").evidence(["m", "m shelf"], name_ids(hash_names(["restock"])))
    assert found.projects.tolist() == [2] and found.context == 1

    assert main(["adapters", "--json"]) == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert (listed["kind"], listed["name"], listed["folder"]) == ("usage", "shops", str(installed.folder))
    assert main(["adapters"]) == 0
    assert "usage tables" in capsys.readouterr().out

    assert train(work, shops[0], more="--everywhere") == 0  # of what is named now
    assert "used in all documents" in " ".join(capsys.readouterr().err.split())
    elsewhere = adapter_registry.Watched(USAGE).folder_for(tmp_path / "new" / "a.py", "python")
    assert elsewhere == str(adapter_registry.home(USAGE) / "shops" / "0002")
    table = Table.load(adapter_registry.home(USAGE) / "shops" / "0002" / "python.usage")
    assert table.evidence(["m shelf"], name_ids(hash_names(["restock"]))).projects.tolist() == [1]
    assert main(["rollback", "shops"]) == 2  # no adapter is called so
    assert main(["rollback", "shops", "--usage"]) == 0
    assert adapter_registry.used("shops", USAGE) == installed


def test_repositories_of_one_name_count_as_several_and_one_that_is_given_twice_as_one(tmp_path: Path) -> None:
    north, south = (
        repository(tmp_path / place / "shop" / ".git", {f"{place}.py": caller(place)}, licence=None).parent
        for place in ("north", "south")
    )
    assert train(tmp_path / "work", north, south, north) == 0
    installed = adapter_registry.used("shops", USAGE)
    assert installed is not None and installed.card.workspaces == [str(north.resolve()), str(south.resolve())]
    table = Table.load(installed.folder / "python.usage")
    assert table.evidence(["m shelf"], name_ids(hash_names(["restock"]))).projects.tolist() == [2]


def test_code_in_no_known_language_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = repository(tmp_path / "plain" / ".git", {"notes.txt": b"none\n"}, licence=None).parent
    assert train(tmp_path / "work", plain) == 2
    assert "No source of a known language" in " ".join(capsys.readouterr().err.split())
    assert adapter_registry.used("shops", USAGE) is None


def test_two_runs_at_once_are_told(shops: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    work = tmp_path / "work"
    work.mkdir()
    with alone(work):
        assert train(work, *shops) == 2
    assert "is being written by another run" in " ".join(capsys.readouterr().err.split())
    assert adapter_registry.used("shops", USAGE) is None
