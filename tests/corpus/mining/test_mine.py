"""Sources in, corpus out: the same every time, whole or not at all, and nothing of what was not asked for."""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from pathlib import Path

import pytest
from filelock import FileLock

from corpus.__main__ import main
from corpus.interpreter import install_command
from corpus.mining import readings
from corpus.mining.mine import mine
from corpus.mining.readings import Known, Reading, Source
from corpus.mining.shards import CorpusError, Manifest, Row, read, read_manifest
from corpus.mining.split import PARTS, part_of
from corpus.mining.survey import Options
from tests.corpus.repositories import NAMES, contents, module, repository, six_sources


@pytest.fixture
def sources(tmp_path: Path) -> list[Source]:
    return six_sources(tmp_path)


def mined(sources: list[Source], out: Path, options: Options | None = None, **given: object) -> Manifest:
    return mine(sources, out, options or Options(), **given)  # pyright: ignore[reportArgumentType]


def kept(out: Path) -> set[tuple[str, str]]:
    return {(row.repository, row.path) for row in read(out, checked=True)}


def test_what_is_kept_and_why_the_rest_is_not(tmp_path: Path, sources: list[Source]) -> None:
    manifest = mined(sources, tmp_path / "out")
    rows = {row.path: row for row in read(tmp_path / "out", checked=True)}
    own = {f"src/{name}.py" for name in NAMES}
    assert own - {"src/ada.py"} <= set(rows)
    # One of the three copies stays: the one in the part that comes first.
    assert len({"src/ada.py", "copied.py", "same.py"} & set(rows)) == 1
    dropped = [reason for repository in manifest.repositories for reason in repository.dropped]
    assert sorted(dropped) in (["a near copy", "a near copy"], ["a near copy", "an exact copy"])
    row = rows["src/bea.py"]
    assert (row.text.encode(), row.language, row.licence) == (module("bea", 60), "python", "Apache-2.0")
    assert sum(repository.kept[0] for repository in manifest.repositories) == len(rows)


def test_sites_are_what_the_author_wrote(tmp_path: Path, sources: list[Source]) -> None:
    mined(sources, tmp_path / "out")
    found: list[tuple[str, str]] = []
    for row in read(tmp_path / "out"):
        text = row.text.encode()
        found += [(text[start:end].decode(), kind) for start, end, kind in row.sites]
        assert all(0 < start < end <= len(text) for start, end, _ in row.sites)
    assert ("Base", "member") in found or any(kind == "member" for _, kind in found)
    assert not {name for name, _ in found} & {"def", "return", "class"}


def test_the_same_input_gives_the_same_bytes_in_any_order_and_number_of_processes(
    tmp_path: Path, sources: list[Source]
) -> None:
    mined(sources, tmp_path / "one", jobs=1)
    mined(sources[::-1], tmp_path / "two", jobs=3)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_a_second_run_reads_nothing_again(
    tmp_path: Path, sources: list[Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    mined(sources, out)
    heads = {path: path.stat().st_mtime_ns for path in (out / "work").glob("*/head.json")}
    (out / "manifest.json").unlink()
    with pytest.raises(CorpusError, match="Run the same `mine` again"):
        list(read(out))
    mined(sources, out)
    assert {path: path.stat().st_mtime_ns for path in (out / "work").glob("*/head.json")} == heads
    assert len(heads) == len(NAMES)


def test_a_forgotten_repository_leaves_nothing(tmp_path: Path, sources: list[Source]) -> None:
    out = tmp_path / "out"
    mined(sources, out)
    mined(sources, out, excluded=["O/EVE"])
    assert {repository for repository, _ in kept(out)} == {f"o/{name}" for name in NAMES} - {"o/eve"} - (
        {"o/ada"} - {repository for repository, _ in kept(out)}
    )
    left = b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file())
    assert b"eve_store" not in left and b"o/eve" not in left


def test_a_forgotten_repository_is_not_read_however_it_is_named(tmp_path: Path) -> None:
    place = str(repository(tmp_path / "eve.git", {"a.py": module("eve")}))
    read: list[str] = []
    mine(
        [Source(place=place), Source(place=f"{place}@HEAD")],
        tmp_path / "out",
        Options(),
        excluded=["EVE"],
        done=lambda name, _: read.append(name),
    )
    assert read == []


def test_a_repository_is_in_one_part_for_good() -> None:
    parts = [part_of(f"owner/name{number}") for number in range(2000)]
    assert parts == [part_of(f"Owner/Name{number}.git") for number in range(2000)]
    assert 60 < parts.count("test") < 150 and 60 < parts.count("validation") < 150
    assert set(parts) == set(PARTS)


def test_copies_go_from_what_is_learned_from_not_from_what_is_measured_on(tmp_path: Path) -> None:
    learned = next(name for name in map(str, range(100)) if part_of(name) == "train")
    measured = next(name for name in map(str, range(100)) if part_of(name) == "test")
    both = [
        Source(place=str(repository(tmp_path / f"{name}.git", {"a.py": module("a", 60)})), name=name)
        for name in (learned, measured)
    ]
    mined(both, tmp_path / "out")
    assert [(row.repository, row.part) for row in read(tmp_path / "out")] == [(measured, "test")]


def test_a_bad_source_costs_only_itself(tmp_path: Path, sources: list[Source]) -> None:
    torn = repository(tmp_path / "torn.git", {"src/a.py": module("torn")})
    for file in (torn / "objects").glob("*/*"):
        file.chmod(0o600)
        file.write_bytes(b"torn")
    manifest = mined([*sources, Source(place=str(torn)), Source(place=str(tmp_path / "nowhere"))], tmp_path / "out")
    assert set(manifest.failed) == {str(torn), str(tmp_path / "nowhere")}
    assert len(manifest.repositories) == len(NAMES)


def _dies(source: Source, *, options: Options, base: str, known: Collection[str]) -> Reading | Known:
    if source.name == "o/dan":
        os._exit(9)
    return read_source(source, options=options, base=base, known=known)


read_source = readings.read


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_process_that_dies_costs_only_its_source(
    tmp_path: Path, sources: list[Source], monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    monkeypatch.setattr(readings, "read", _dies)
    manifest = mined(sources, tmp_path / "out", jobs=jobs)
    assert list(manifest.failed) == [next(source.place for source in sources if source.name == "o/dan")]
    assert len(manifest.repositories) == len(NAMES) - 1


def test_two_runs_on_one_folder_are_refused(tmp_path: Path, sources: list[Source]) -> None:
    (tmp_path / "out").mkdir()
    with FileLock(tmp_path / "out" / ".lock"), pytest.raises(CorpusError, match="another run"):
        mined(sources, tmp_path / "out")


def test_a_full_disk_leaves_no_half_shard(
    tmp_path: Path, sources: list[Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow.parquet as pq

    def full(table: object, path: Path, **_: object) -> None:
        path.write_bytes(b"PAR1")
        raise OSError(28, "No space left on device")

    out = tmp_path / "out"
    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(OSError, match="No space"):
        mined(sources, out)
    assert [path.name for path in out.iterdir() if path.suffix in (".parquet", ".json", ".tmp")] == []
    monkeypatch.undo()
    mined(sources, out)
    assert kept(out)


def test_a_licence_that_is_not_allowed_keeps_nothing(tmp_path: Path) -> None:
    place = str(repository(tmp_path / "closed.git", {"a.py": module("a")}, licence=b"All rights reserved."))
    manifest = mined([Source(place=place)], tmp_path / "out")
    assert (manifest.repositories[0].licence, manifest.repositories[0].kept) == ("unknown", (0, 0))
    assert manifest.repositories[0].dropped == {"licence unknown": (1, len(module("a")))}
    manifest = mined([Source(place=place)], tmp_path / "out", Options(licences=("unknown",)))
    assert manifest.repositories[0].kept[0] == 1


def test_a_changed_shard_is_noticed(tmp_path: Path, sources: list[Source]) -> None:
    mined(sources, tmp_path / "out")
    shard = next((tmp_path / "out").glob("*.parquet"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    with pytest.raises(CorpusError, match=shard.name):
        list(read(tmp_path / "out", checked=True))


def test_another_schema_is_refused(tmp_path: Path, sources: list[Source]) -> None:
    mined(sources, tmp_path / "out")
    manifest = tmp_path / "out" / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "version": 99}))
    with pytest.raises(CorpusError, match="schema version 99"):
        read_manifest(tmp_path / "out")


def test_the_command_reports_and_says_what_failed(
    tmp_path: Path, sources: list[Source], capfd: pytest.CaptureFixture[str]
) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text("# ours\n" + "".join(f"{source.place} {source.name}\n" for source in sources))
    out = str(tmp_path / "out")
    assert main(["mine", "--list", str(listed), "--out", out, "--jobs", "1"]) == 0
    assert main(["mine", str(tmp_path / "nowhere"), "--out", out, "--jobs", "1"]) == 1
    said = " ".join(capfd.readouterr().err.split())
    assert "python" in said and "a near copy" in said and "is not there" in said
    assert main(["mine", "--out", out]) == 2
    assert main(["show", str(tmp_path)]) == 2
    assert "No source was given" in (said := capfd.readouterr().err) and "has no manifest" in said


def test_a_manifest_is_enough_to_mine_the_same_again(
    tmp_path: Path, sources: list[Source], capfd: pytest.CaptureFixture[str]
) -> None:
    out, again, listed = tmp_path / "out", tmp_path / "again", tmp_path / "list.txt"
    mined(sources, out)
    lines = [f"{source.place} {source.name}\n" for source in sources]
    listed.write_text("".join(lines))
    arguments = ["rebuild", str(out / "manifest.json"), "--list", str(listed), "--out", str(again), "--jobs", "1"]
    repository(tmp_path / "other.git", {"a.py": module("other")})
    assert main(arguments) == 0
    assert contents(again) == contents(out)
    listed.write_text("".join(lines[1:]))
    assert main(arguments) == 2
    assert "needs 1 more of 6 sources. List where it is: o/ada" in " ".join(capfd.readouterr().err.split())
    listed.write_text("".join([f"{tmp_path / 'other.git'} o/ada\n", *lines[1:]]))
    assert main(arguments) == 2
    assert "is not what the manifest lists" in " ".join(capfd.readouterr().err.split())


def test_without_its_libraries_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("corpus.__main__.NEEDED", ("filelock", "no_such_library"))
    assert main(["show", str(tmp_path)]) == 2
    said = " ".join(capfd.readouterr().err.split())
    assert f"no_such_library is not installed. Run: {install_command('corpus')}" in said


def test_rows_keep_their_columns() -> None:
    assert set(Row.__dataclass_fields__) == {
        "part", "repository", "revision", "licence", "path", "language", "sha256", "text", "sites",
    }  # fmt: skip
