"""RankBench: what is kept of it is enough to score on and no source; how its sources are named and brought back."""

from __future__ import annotations

import fnmatch
import hashlib
import subprocess
import tomllib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pygit2
import pytest

from corpus.lists.list_files import read_lists
from corpus.lists.positions import CLASSES, cut
from corpus.lists.written import written
from corpus.mining.sources import file_at, snapshot
from corpus.rankbench import origins
from corpus.rankbench.__main__ import main
from corpus.rankbench.new_project import EACH, FILES, new_project
from corpus.rankbench.origins import GIT, NPM, PYPI, OriginError, benches, fetch, place_of
from tests.corpus.repositories import module, repository

ROOT = Path(__file__).parents[2]
POSITIONS, REPOSITORIES = 1_500, 10  # that a language should have at least
WITHOUT_IMPORTS = ("cpp", "go")  # what they import is a string or a file's name


FROZEN = {  # asked, with the truth, and a hash of which they are: fixed before any weight was fitted with it in mind
    "python": (878, 704, "d8a1031bf43d"),
    "typescript": (640, 463, "df3f9d984a5a"),
    "javascript": (847, 704, "02ae9a3a8f91"),
    "java": (599, 382, "57f472e29009"),
    "cpp": (556, 326, "3bbdbb939eda"),
    "go": (520, 449, "0308abd65a7a"),
}


@pytest.mark.parametrize("language", benches())
def test_the_new_project_slice_is_what_it_was(language: str) -> None:
    rows = list(read_lists(benches()[language].lists))
    chosen = new_project(rows)
    places = "".join(f"{row.repository}/{row.path}/{row.offset}/{row.form}/{row.written}\n" for row in chosen)
    found = len(chosen), sum(row.has_truth for row in chosen), hashlib.sha256(places.encode()).hexdigest()[:12]
    assert found == FROZEN[language]
    of_project = Counter(row.repository.partition("@")[0] for row in chosen)
    assert max(of_project.values()) <= EACH
    files = Counter(name for name, _ in {(row.repository.partition("@")[0], row.path) for row in chosen})
    assert max(files.values()) <= FILES
    assert new_project(chosen) == chosen


@pytest.mark.parametrize("language", benches())
def test_a_language_has_enough_positions_of_many_kinds(language: str) -> None:
    bench = benches()[language]
    rows = [row for row in read_lists(bench.lists) if row.has_truth]
    assert len(rows) >= POSITIONS
    assert len({row.repository.partition("@")[0].partition("==")[0] for row in rows}) >= REPOSITORIES
    assert {row.language for row in rows} == set(bench.languages)
    assert {row.form for row in rows} == {"line", "name", "written"}
    counted = Counter(row.named for row in rows)
    every = (
        CLASSES[:6] if language in WITHOUT_IMPORTS else CLASSES[:7]
    )  # keywords and decorators are not every language's
    assert all(counted[name] >= 30 for name in every)
    assert all(len(row.names) == len(row.kinds) == len(row.flags) for row in rows)


@pytest.mark.parametrize("language", benches())
def test_every_origin_is_pinned_and_each_row_is_of_one(language: str) -> None:
    bench = benches()[language]
    for origin in (*bench.origins, *bench.written):
        assert any(form.fullmatch(origin) for form in (GIT, NPM, PYPI)), origin
    known = {
        origin.partition("@")[0] if origin.startswith("git:") else origin for origin in (*bench.origins, *bench.written)
    }
    for row in read_lists(bench.lists):
        assert row.repository in bench.origins or row.repository.partition("@")[0] in known
        assert (row.form == "written") == bool(row.written)


def test_lines_as_they_were_written(tmp_path: Path) -> None:
    """The text at a position has what was added above it, and below it what its parent had."""
    old, new = module("old", 20), module("new", 40).replace(b"class New", b"class Other")
    change = old[:200] + b"\n" + new + old[200:]
    place = repository(tmp_path / "r.git", {"a.py": old, "b.py": old}, {"a.py": change, "b.py": old})
    head = str(pygit2.Repository(str(place)).head.target)
    ((parent, files),) = written(str(place), head, ["python"], 50)
    (file,) = files
    assert (file.path, file.data, file.parent, file.written) == ("a.py", change, old, head)
    assert file_at(f"{place}@{parent}", head, "a.py") == change
    for position in file.positions:
        before, after = cut(file.data, position, file.parent)
        assert before == change[: position.offset]
        assert after[:1] == b"\n"
        assert old.endswith(after)
        assert position.form == "written"


def test_a_repository_is_taken_from_a_folder_of_clones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = repository(tmp_path / "o+n" / "repo", {"a.py": module("a")})
    commit = str(pygit2.Repository(str(place)).head.target)
    monkeypatch.setenv(origins.MIRROR, str(tmp_path))
    fetch(f"git:o/n@{commit}")  # connects to nothing: the commit is there
    assert snapshot(place_of(f"git:o/n@{commit}")).revision == commit


def test_an_archive_is_downloaded_once_and_no_script_of_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        ran.append(command)
        folder = next(Path(word) for word in command if word.startswith(str(tmp_path)))
        (folder / "x-1.0.tgz").write_bytes(b"")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(origins, "home", lambda: tmp_path)
    monkeypatch.setattr(origins.subprocess, "run", run)
    for origin in ("npm:@o/x@1.0", "pypi:x==1.0"):
        fetch(origin)
        fetch(origin)
        assert place_of(origin).endswith("x-1.0.tgz")
    assert len(ran) == 2
    assert "--ignore-scripts" in ran[0]
    assert "--only-binary=:all:" in ran[1]


def test_what_is_not_there_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(origins, "home", lambda: tmp_path)
    with pytest.raises(OriginError, match=r"python -P -m corpus\.rankbench fetch"):
        place_of("npm:nothing@1.0")
    with pytest.raises(OriginError, match="should begin with"):
        fetch("svn:nothing@1.0")


def test_a_list_says_nothing_of_the_source_but_names() -> None:
    row = next(row for row in read_lists(benches()["python"].lists) if row.has_truth)
    assert replace(row.position, path="") is not None
    assert not any("\n" in name or " " in name for name in row.names)


def test_an_installed_package_has_no_lists_and_says_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    packaged = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["corpus"]
    assert not any(fnmatch.fnmatch("rankbench/python.parquet", pattern) for pattern in packaged)
    (tmp_path / "repositories.toml").write_text((origins.HERE / "repositories.toml").read_text())
    monkeypatch.setattr(origins, "HERE", tmp_path)
    assert main(["show", "--language", "python"]) == 1
    assert "from a checkout of Starling's repository" in " ".join(capsys.readouterr().err.split())
