"""What is published: whole, without a path of the publisher's machine, and nothing new where nothing is new."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.tuning.ranking.serving.sharing.conftest import Be
from tests.tuning.ranking.serving.sharing.publications import (
    adapter,
    change_index,
    folders,
    only_folder,
    state,
    table,
    trained,
)
from tuning.ranking.__main__ import main
from tuning.ranking.serving.model import adapter_registry
from tuning.ranking.serving.model.adapter_registry import ADAPTERS, USAGE, AdapterRegistryError
from tuning.ranking.serving.sharing import publishing
from tuning.ranking.serving.sharing.errors import SourceRefused
from tuning.ranking.serving.sharing.publication import FILES, INDEX, read_index
from tuning.ranking.serving.sharing.publishing import publish

pytestmark = pytest.mark.usefixtures("be")


def test_the_index_has_the_card_and_each_file_and_no_path_of_this_machine(tmp_path: Path) -> None:
    trained(adapter(tmp_path / "made"), figures={"R@1": 0.5, "R@1 gained": 0.1}, beneath="0123456789abcdef")
    assert publish(["team"], ADAPTERS, tmp_path / "share") == {"team": True}
    entries, refused = read_index((tmp_path / "share" / INDEX).read_bytes(), "")
    assert not refused
    (entry,) = entries
    assert (entry.kind, entry.name, entry.version, entry.made) == ("adapters", "team", 1, "2026-01-02T03:04:05+00:00")
    assert (entry.base, entry.beneath, entry.languages) == ("", "0123456789abcdef", ["python"])
    assert (entry.repositories, entry.figures) == (["shop"], {"R@1": 0.5, "R@1 gained": 0.1})
    folder = only_folder(tmp_path / "share")
    assert folder.name == entry.digest
    assert {file.name: file.stat().st_size for file in folder.iterdir()} == {
        name: file.size for name, file in entry.files.items()
    }
    config = json.loads((folder / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["r"]) == ("tiny", 2)
    said = b"".join(file.read_bytes() for file in (tmp_path / "share").rglob("*") if file.is_file())
    assert b"/srv/ci" not in said and b"/home/ann" not in said and str(tmp_path).encode() not in said


def test_what_else_lies_in_an_adapters_folder_stays_there(tmp_path: Path) -> None:
    made = adapter(tmp_path / "made")
    for name in ("optimizer.bin", "notes.txt", "trained_on.json"):
        (made / name).write_text("private")
    trained(made)
    publish(["team"], ADAPTERS, tmp_path / "share")
    assert sorted(file.name for file in only_folder(tmp_path / "share").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]


def test_publishing_the_same_again_changes_nothing(tmp_path: Path) -> None:
    trained(adapter(tmp_path / "made"))
    trained(table(tmp_path / "tables"), kind=USAGE)
    share = tmp_path / "share"
    assert publish(["team"], ADAPTERS, share) == publish(["team"], USAGE, share) == {"team": True}
    before = state(share)
    assert publish(["team"], ADAPTERS, share) == publish(["team", "team"], USAGE, share) == {"team": False}
    assert state(share) == before


def test_a_newer_version_takes_the_entrys_place_and_the_older_files_stay_for_who_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    share = tmp_path / "share"
    for value in (1.0, 2.0):
        trained(adapter(tmp_path / "made", value))
        publish(["team"], ADAPTERS, share)
    (entry,), _ = read_index((share / INDEX).read_bytes(), "")
    assert entry.version == 2
    assert len(folders(share)) == 2
    (share / FILES / f".{'0' * 40}.7").mkdir()  # broken off
    (share / f".{INDEX}.7.tmp").touch()
    (share / FILES / "notes").mkdir()  # not ours
    monkeypatch.setattr(publishing, "GRACE", -1.0)
    trained(adapter(tmp_path / "made", 3.0))
    publish(["team"], ADAPTERS, share)
    assert [len(folder.name) for folder in folders(share)] == [40, len("notes")]
    assert not list(share.glob("*.tmp"))


def test_a_step_back_is_published_like_anything_else(tmp_path: Path) -> None:
    share = tmp_path / "share"
    for value in (1.0, 2.0):
        trained(adapter(tmp_path / "made", value))
        publish(["team"], ADAPTERS, share)
    adapter_registry.roll_back("team")
    assert publish(["team"], ADAPTERS, share) == {"team": True}
    (entry,), _ = read_index((share / INDEX).read_bytes(), "")
    assert entry.version == 1
    assert (share / FILES / entry.digest / "adapter_model.safetensors").is_file()


def test_the_index_comes_last_and_nothing_half_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained(adapter(tmp_path / "made"))
    share = tmp_path / "share"
    put = publishing.put

    def broken(content: object, to: Path) -> None:
        assert not (share / INDEX).exists()
        if to.suffix == ".safetensors":
            to.write_bytes(b"half")
            raise OSError("the share is full")
        put(content, to)  # type: ignore[arg-type]

    monkeypatch.setattr(publishing, "put", broken)
    with pytest.raises(OSError, match="the share is full"):
        publish(["team"], ADAPTERS, share)
    assert not (share / INDEX).exists() and not folders(share)


def test_files_that_were_damaged_are_written_again(tmp_path: Path) -> None:
    trained(adapter(tmp_path / "made"))
    share = tmp_path / "share"
    publish(["team"], ADAPTERS, share)
    before = (share / INDEX).read_bytes()
    weights = only_folder(share) / "adapter_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1])
    publish(["team"], ADAPTERS, share)
    assert weights.read_bytes() == whole and (share / INDEX).read_bytes() == before


def test_several_that_publish_at_once_are_all_in_the_index(tmp_path: Path) -> None:
    names = [f"team{number}" for number in range(6)]
    for number, name in enumerate(names):
        trained(adapter(tmp_path / "made", number), name)
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(lambda name: publish([name], ADAPTERS, tmp_path / "share"), names))
    entries, _ = read_index((tmp_path / "share" / INDEX).read_bytes(), "")
    assert [entry.name for entry in entries] == names


def test_an_index_that_is_not_understood_is_not_replaced(tmp_path: Path) -> None:
    trained(adapter(tmp_path / "made"))
    share = tmp_path / "share"
    publish(["team"], ADAPTERS, share)
    for change in ({"version": 2}, {"entries": [{"kind": "adapters", "name": "x"}]}, {"format": "else"}):
        whole = (share / INDEX).read_text()
        change_index(share, lambda index, change=change: index.update(change))
        before = state(share)
        with pytest.raises(SourceRefused, match="Nothing was published"):
            publish(["team"], ADAPTERS, share)
        assert state(share) == before
        (share / INDEX).write_text(whole)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("con", "device on Windows"),
        ("lpt1.x", "device on Windows"),
        ("shop.", "no '.' at an end"),
        ("Team", "one folder"),
    ],
)
def test_a_name_that_is_no_folders_everywhere_is_not_published(tmp_path: Path, name: str, said: str) -> None:
    trained(adapter(tmp_path / "made"))
    publish(["team"], ADAPTERS, tmp_path / "share")
    trained(adapter(tmp_path / "made"), name)
    with pytest.raises(SourceRefused, match=said):
        publish([name], ADAPTERS, tmp_path / "share")


def test_what_is_not_there_is_said(tmp_path: Path, be: Be, capsys: pytest.CaptureFixture[str]) -> None:
    trained(adapter(tmp_path / "made"))
    with pytest.raises(AdapterRegistryError, match="no usage table 'team' is used; there are: none"):
        publish(["team"], USAGE, tmp_path / "share")
    assert main(["adapters", "publish", "team", "--to", str(tmp_path / "not" / "mounted")]) == 2
    assert "is the share mounted?" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "not").exists() and not (tmp_path / "share").exists()


def test_another_base_is_told_by_its_files_and_not_by_its_folder(tmp_path: Path) -> None:
    marks: list[str] = []
    for place in ("here", "there"):
        base = tmp_path / place
        base.mkdir()
        (base / "config.json").write_text("{}")
        trained(adapter(tmp_path / "made"), base=str(base))
        publish(["team"], ADAPTERS, tmp_path / "share")
        (entry,), _ = read_index((tmp_path / "share" / INDEX).read_bytes(), "")
        marks.append(entry.base)
    assert marks[0] == marks[1] and marks[0].startswith("sha256:")
    trained(adapter(tmp_path / "made"), base=str(tmp_path / "gone"))
    with pytest.raises(SourceRefused, match="gone is not there"):
        publish(["team"], ADAPTERS, tmp_path / "share")


def test_others_may_read_what_is_published(tmp_path: Path) -> None:
    made = adapter(tmp_path / "made")
    (made / "adapter_model.safetensors").chmod(0o600)
    trained(made)
    before = os.umask(0o022)
    try:
        publish(["team"], ADAPTERS, tmp_path / "share")
    finally:
        os.umask(before)
    assert all(file.stat().st_mode & 0o044 == 0o044 for file in only_folder(tmp_path / "share").iterdir())
