"""Which positions of a corpus are asked for: the same every time, some of each repository, only where live there is a list."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

import pytest

from corpus.lists.candidates import Project
from corpus.lists.choosing import FEWEST, projects, read_live
from corpus.lists.positions import CLASSES, Position, example, positions
from corpus.mining.mine import Source, mine
from corpus.mining.shards import read
from corpus.mining.sites import PER_FILE, Site
from corpus.mining.split import PARTS, part_of
from corpus.mining.survey import Options
from corpus.syntax.language import languages
from tests.corpus.repositories import module, repository

LETTERS = "abcdefgh"
NAMES = {part: next(f"o/{part}{n}" for n in range(999) if part_of(f"o/{part}{n}") == part) for part in PARTS}


def typescript(name: str) -> bytes:
    uses = "".join(f"  x.{name}{i}(y.{name}_{i}).then(z => z.{name}Done{i})\n" for i in range(9))
    return f"import {{ A }} from './{name}'\nexport function {name}(x: A, y: A) {{\n{uses}}}\n".encode()


def script(name: str) -> bytes:
    uses = "".join(f"print(os.path.{name}{i}, {name}.argv_{i})\n" for i in range(9))
    return f"#!/usr/bin/env python3\nimport os\nimport {name}\n\n{uses}".encode()


@pytest.fixture(scope="module")
def mined(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Mapping[str, str]]:
    """A corpus of a repository in each part, each with Python, TypeScript and a script; and where they are."""
    folder = tmp_path_factory.mktemp("mined")
    places: dict[str, str] = {}
    for part, name in NAMES.items():
        files = {f"src/{part}{letter}.py": module(f"{part}{letter}", 10) for letter in LETTERS}
        files |= {f"web/{part}.ts": typescript(part), "bin/tool": script(part)}
        places[name] = str(repository(folder / f"{part}.git", files))
    mine([Source(place=place, name=name) for name, place in places.items()], folder / "out", Options())
    return folder / "out", places


def chosen(mined: tuple[Path, Mapping[str, str]], per_project: int = 10, **given: object) -> list[Project]:
    corpus, places = mined
    return projects(corpus, places, per_project=per_project, **given)  # pyright: ignore[reportArgumentType]


def test_the_same_is_chosen_every_time(mined: tuple[Path, Mapping[str, str]]) -> None:
    once = chosen(mined)
    random.seed(7)
    random.random()
    corpus, places = mined
    assert once == projects(corpus, dict(reversed(places.items())), per_project=10)
    assert {project.name for project in once} == set(NAMES.values())


def test_each_repository_is_a_project_a_server_at_its_revision(mined: tuple[Path, Mapping[str, str]]) -> None:
    revisions = {row.repository: row.revision for row in read(mined[0])}
    found = chosen(mined, per_project=1)
    servers = {project.server for project in found if project.name == NAMES["train"]}
    assert servers == {languages()[language].servers[0].name for language in ("python", "typescript")}
    for project in found:
        assert project.revision == revisions[project.name]
        assert project.place == f"{mined[1][project.name]}@{project.revision}"


def test_it_stops_with_the_file_that_has_the_last_of_so_many(mined: tuple[Path, Mapping[str, str]]) -> None:
    for project in chosen(mined, per_project=10, only=["python"]):
        assert 10 <= project.count < 10 + PER_FILE
        assert project.count - len(project.files[-1].positions) < 10
    fewer, more = (chosen(mined, per_project=count, only=["python"]) for count in (10, 30))
    for one, other in zip(fewer, more, strict=True):
        assert list(one.files) == list(other.files)[: len(one.files)] and one.count < other.count


def test_a_repository_with_few_is_not_worth_a_server(mined: tuple[Path, Mapping[str, str]]) -> None:
    assert chosen(mined, per_project=1000, only=["python"])  # more than FEWEST, all that there are
    assert not chosen(mined, per_project=1000, only=["typescript"])
    assert all(project.count < FEWEST for project in chosen(mined, per_project=1, only=["typescript"]))


def test_only_the_asked_languages_and_parts(mined: tuple[Path, Mapping[str, str]]) -> None:
    found = chosen(mined, per_project=1, only=["typescript"], parts=["test"])
    assert [project.name for project in found] == [NAMES["test"]]
    assert {file.language for project in found for file in project.files} == {"typescript"}
    both = chosen(mined, parts=["validation", "train"], only=["python"])
    assert {project.name for project in both} == {NAMES["validation"], NAMES["train"]}
    assert not chosen(mined, only=["java"])


def test_only_repositories_that_are_listed(mined: tuple[Path, Mapping[str, str]]) -> None:
    corpus, places = mined
    found = projects(corpus, {NAMES["train"]: places[NAMES["train"]], "o/other": "/nowhere"}, per_project=10)
    assert {project.name for project in found} == {NAMES["train"]}


def test_another_server_may_be_asked_for(mined: tuple[Path, Mapping[str, str]]) -> None:
    found = chosen(mined, servers={"python": "ty"}, only=["python"])
    assert {project.server for project in found} == {"ty"}
    first = chosen(mined, only=["python"])
    assert [project.files for project in found] == [project.files for project in first]


def test_every_position_is_one_where_live_there_is_a_list(mined: tuple[Path, Mapping[str, str]]) -> None:
    for project in chosen(mined, per_project=40):
        for file in project.files:
            for position in file.positions:
                live = example(file.data, position).site
                assert live.kind in ("member", "name", "import"), position
                assert position.start <= position.offset < position.end
                assert position.form in ("line", "name") and position.named in CLASSES


def test_a_script_is_read_in_the_language_that_its_first_line_names(mined: tuple[Path, Mapping[str, str]]) -> None:
    files = [file for project in chosen(mined, per_project=1000, parts=["test"]) for file in project.files]
    (tool,) = (file for file in files if file.path == "bin/tool")
    assert {example(tool.data, position).site.language for position in tool.positions} == {tool.language} == {"python"}


def check_live(marked: str, kind: str, expected: str | None, form: str = "line") -> None:
    """What live reading makes of the identifier between two '|', which mining calls `kind`."""
    before, name, after = (part.encode() for part in marked.split("|"))
    data = before + name + after
    site = Site(start=len(before), end=len(before + name), kind=kind)
    (position,) = positions("a.py", data, [site], form=form)
    found: Position | None = read_live(data, position)
    assert (found and found.kind) == expected
    assert found is None or (found.offset, found.tail) == (position.offset, position.tail)


@pytest.mark.parametrize("form", ["line", "name"])
def test_declarations_and_text_are_left_out(form: str) -> None:
    check_live("def |name|(): pass\n", "name", None, form)
    check_live("class |Name|: pass\n", "name", None, form)
    check_live("# see |name|\n", "name", None, form)
    check_live("x = 'see |name|'\n", "name", None, form)
    check_live("x = '''\na.|name|\n'''\n", "member", None, form)


@pytest.mark.parametrize("form", ["line", "name"])
def test_kinds_stay_except_where_live_says_otherwise_of_imports(form: str) -> None:
    check_live("x = a.|name|\n", "member", "member", form)
    check_live("x = |name|\n", "name", "name", form)
    check_live("f(|name|=1)\n", "keyword", "keyword", form)
    check_live("@|name|\ndef f(): pass\n", "decorator", "decorator", form)
    check_live("from a import |name|\n", "import", "import", form)
    check_live("import a.|name|\n", "member", "import", form)
    check_live("x = |name|\n", "import", None, form)


def test_a_hole_that_swallows_the_code_after_it_is_read_as_such() -> None:
    check_live("x = a.|name| + '''\ntext\n'''\ny = 1\n", "member", "member")
    check_live("x = a.|name| + '''\ntext\n'''\ny = 1\n", "member", "member", "name")
