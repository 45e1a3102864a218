"""One source that is odd, broken or hostile costs itself only, says why, and leaves the corpus as it would be without it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection
from pathlib import Path

import pytest

from corpus.__main__ import main
from corpus.mining import limits, readings, survey
from corpus.mining.mine import mine
from corpus.mining.readings import Known, Reading, Source, read
from corpus.mining.shards import read_manifest
from corpus.mining.snapshots import SourceError, SourceFailed, SourceRefused
from corpus.mining.sources import snapshot
from corpus.mining.survey import Options
from tests.corpus.hostile import NOT_UTF8, nested, unopened, with_bad_name
from tests.corpus.repositories import contents, module, repository, six_sources

CODE = module("one")
ANY = Options(licences=())
SECONDS = 5  # more than an honest source of these tests takes where other work is done too
FOREVER = "a" * 64 + "!"  # a search that takes longer than anybody waits, and lets no other thread run


def folder(place: Path, *names: str | bytes, data: bytes = CODE) -> Path:
    place.mkdir()
    for name in names:
        file = Path(os.fsdecode(os.fsencode(place) + b"/" + os.fsencode(name)))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return place


def kept(place: Path, options: Options = ANY) -> tuple[set[str], dict[str, tuple[int, int]]]:
    found = survey.survey(snapshot(str(place)), options)
    return {file.path for file in found.files}, dict(found.dropped)


def test_a_folder_s_names_that_are_not_utf_8_are_left_out_and_counted(tmp_path: Path) -> None:
    place = folder(tmp_path / "f", "a.py", NOT_UTF8, b"d\xff/b.py", "LICENSE\udcff")
    assert kept(place) == ({"a.py"}, {"name not UTF-8": (2, 2 * len(CODE))})
    assert snapshot(str(place)).revision == snapshot(str(place)).revision


def test_only_regular_files_of_a_folder_are_opened(tmp_path: Path) -> None:
    place = folder(tmp_path / "f", "a.py")
    with unopened(place / "b.py"), unopened(place / "LICENSE"):
        assert kept(place)[0] == {"a.py"}
    (place / "b.py").unlink()
    entry = next(iter(snapshot(str(place)).entries()))
    (place / "a.py").unlink()
    os.mkfifo(place / "a.py")  # it became one meanwhile, and has something to read
    held = os.open(place / "a.py", os.O_RDWR)
    os.write(held, CODE)
    with pytest.raises(SourceError, match="can't be read"):
        entry.read()
    os.close(held)


def test_folders_without_end_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SourceRefused, match="folders deeper than 256"):
        snapshot(str(folder(tmp_path / "deep", "d/" * 300 + "a.py")))
    place = folder(tmp_path / "wide", *(f"{number}.py" for number in range(30)))
    monkeypatch.setattr(limits, "ENTRIES", 20)
    with pytest.raises(SourceRefused, match="more than 20 files"):
        snapshot(str(place))


def test_more_code_or_licences_than_memory_is_for_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = folder(
        tmp_path / "f", *(f"LICENSE-{number}" for number in range(9)), *(f"{number}.py" for number in range(9))
    )
    assert len(kept(place)[0]) == 9
    monkeypatch.setattr(survey, "LICENCE_FILES", 8)
    with pytest.raises(SourceRefused, match="more than 8 licence files"):
        kept(place)
    monkeypatch.setattr(survey, "LICENCE_FILES", 9)
    monkeypatch.setattr(survey, "KEPT", 1_000_000)
    assert len(kept(place)[0]) == 9
    monkeypatch.setattr(survey, "KEPT", 8 * len(CODE))
    with pytest.raises(SourceRefused, match="MB of code"):
        kept(place)


@pytest.mark.parametrize("error", [RecursionError("deep"), MemoryError(), KeyError("x"), UnicodeError("bad")], ids=repr)
def test_an_error_that_nobody_foresaw_is_its_source_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(readings, "survey", fails)
    with pytest.raises(SourceFailed, match=rf"{type(error).__name__}.*Leave the source out, and report this"):
        read(Source(place=str(folder(tmp_path / "f", "a.py"))), options=ANY, base="/")


@pytest.mark.parametrize("place", ["a\0b", "x" * 5_000, "/".join("x" * 3_000), "\udcff", ""])
def test_any_text_may_be_given_as_a_place(tmp_path: Path, place: str) -> None:
    with pytest.raises(SourceError):
        read(Source(place=place), options=ANY, base=str(tmp_path / "nowhere"))


def _misbehaves(source: Source, *, options: Options, base: str, known: Collection[str]) -> Reading | Known:
    if source.name == "o/ada":
        re.match(r"(a+)+$", FOREVER)
    if source.name == "o/bea":
        raise BaseException("panicked")
    if source.name == "o/cyd":
        raise _Unpicklable("one", "two")
    if source.name == "o/dan":
        raise RecursionError("deep")
    return read(source, options=options, base=base, known=known)


class _Unpicklable(Exception):
    def __init__(self, one: str, two: str) -> None:
        super().__init__(one + two)


def test_whatever_happens_to_a_source_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = six_sources(tmp_path)
    monkeypatch.setattr(readings, "read", _misbehaves)
    manifest = mine(sources, tmp_path / "out", Options(), jobs=2, seconds=SECONDS)
    problems = {Path(place).stem: problem for place, problem in manifest.failed.items()}
    assert {repository.name for repository in manifest.repositories} == {"o/eve", "o/fay"}
    assert (
        problems.pop("ada") == f"took longer than {SECONDS} s. Leave the source out, or allow it more with --seconds."
    )
    said = {"bea": "panicked", "cyd": "onetwo", "dan": "deep"}
    assert problems.keys() == said.keys()
    assert all(said[name] in problem and "Leave the source out" in problem for name, problem in problems.items())


def odd_sources(tmp_path: Path) -> list[Source]:
    """What there is of odd sources, each given as itself."""
    unnamed = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    repository(tmp_path / "plain.git", {"a.py": module("plain")})
    shutil.copytree(tmp_path / "plain.git", unnamed)
    (tmp_path / "torn.zip").write_bytes(b"PK\3\4")
    with_bad_name(tmp_path / "bad.git")
    nested(tmp_path / "deep.git", 1_000)
    folder(tmp_path / "folder", "a.py", NOT_UTF8)
    places = [unnamed, *(str(tmp_path / name) for name in ("torn.zip", "bad.git", "deep.git", "folder", "no\0where"))]
    return [*(Source(place=place) for place in places), Source(place=unnamed, name="o/named")]


def test_odd_sources_give_the_same_corpus_and_the_same_reasons_every_time(tmp_path: Path) -> None:
    sources = odd_sources(tmp_path)
    manifest = mine(sources, tmp_path / "one", Options(), jobs=1)
    mine(sources[::-1], tmp_path / "two", Options(), jobs=3)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert read_manifest(tmp_path / "one").failed == manifest.failed
    assert {repository.name for repository in manifest.repositories} == {"bad", "folder", "o/named"}
    problems = {Path(place).name: problem for place, problem in manifest.failed.items()}
    assert problems.keys() == {"caf\\udce9", "torn.zip", "deep.git", "no\0where"}
    assert "Give it one, as a line SOURCE NAME of a --list." in problems["caf\\udce9"]


def test_the_command_takes_names_of_any_bytes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    place = repository(Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.git")), {"a.py": CODE})
    listed = tmp_path / "list.txt"
    listed.write_bytes(os.fsencode(place) + b" o/named\n")
    arguments = ["mine", str(place), "--list", str(listed), "--out", str(tmp_path / "out"), "--jobs", "1"]
    assert main(arguments) == 1
    assert [found.name for found in read_manifest(tmp_path / "out").repositories] == ["o/named"]
    assert "has a name that is not UTF-8" in " ".join(capfd.readouterr().err.split())


def test_no_source_is_opened_by_the_process_that_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = six_sources(tmp_path)
    mine(sources, tmp_path / "out", Options())
    before = contents(tmp_path / "out")
    monkeypatch.setattr(readings, "snapshot", None)  # here alone: workers load the module themselves
    mine(sources, tmp_path / "out", Options())
    assert contents(tmp_path / "out") == before
