"""Where code is read from, and what is refused."""

from __future__ import annotations

import io
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pygit2
import pytest
from pygit2.enums import FileMode

from corpus.mining import archives
from corpus.mining.filters import LARGEST
from corpus.mining.sources import (
    ABSENT,
    Entry,
    RevisionMissing,
    SourceBroken,
    SourceError,
    SourceRefused,
    SourceUnknown,
    file_at,
    name_of,
    snapshot,
)
from corpus.mining.survey import Options, survey
from tests.corpus.repositories import module, repository

CODE = module("one")


def files(place: Path | str) -> dict[str, bytes]:
    return {entry.path: entry.read() for entry in snapshot(str(place)).entries()}


def test_a_bare_repository_is_read_at_its_head(tmp_path: Path) -> None:
    place = repository(tmp_path / "r.git", {"a.py": b"old"}, {"src/a.py": CODE, "b.py": b"new"}, licence=None)
    assert files(place) == {"b.py": b"new", "src/a.py": CODE}
    assert snapshot(str(place)).name == "r"


def test_an_earlier_revision_is_read_where_one_is_named(tmp_path: Path) -> None:
    place = repository(tmp_path / "r.git", {"a.py": b"old"}, {"a.py": b"new"}, licence=None)
    assert files(f"{place}@HEAD~1") == {"a.py": b"old"}
    assert snapshot(f"{place}@HEAD~1").revision != snapshot(str(place)).revision


def test_a_path_with_an_at_sign_is_a_path(tmp_path: Path) -> None:
    """Scoped packages lie in folders like @acme; the part before it is a folder, too."""
    place = repository(tmp_path / "code" / "@acme" / "shop", {"a.py": b"old"}, {"a.py": b"new"}, licence=None)
    assert files(str(place)) == {"a.py": b"new"}
    assert files(f"{place}@HEAD~1") == {"a.py": b"old"}
    assert name_of(str(place)) == "shop"
    assert file_at(str(place), snapshot(f"{place}@HEAD~1").revision, "a.py") == b"old"


def test_a_source_has_its_name_before_it_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = repository(tmp_path / "w" / ".git", {"a.py": b"old"}, {"a.py": b"new"}, licence=None).parent
    (tmp_path / "link").symlink_to(place)
    tar = tarred(tmp_path / "p-1.tar.gz", {"p-1/a.py": CODE})
    repository(tmp_path / "o+n" / "repo", {"a.py": CODE})
    monkeypatch.chdir(place)
    sources = dict.fromkeys([str(place), f"{place}@HEAD~1", str(place / ".git"), ".", "", "../link"], "w")
    sources |= {str(tar): "p-1.tar.gz", str(tmp_path / "o+n" / "repo"): "o+n"}
    assert {source: name_of(source) for source in sources} == sources
    assert {source: snapshot(source).name for source in sources} == sources
    assert name_of("no\0where/there.git@v1") == "there"


def test_a_file_is_read_at_another_revision_of_any_source(tmp_path: Path) -> None:
    place = repository(tmp_path / "r.git", {"a.py": b"old"}, {"a.py": b"new"}, licence=None)
    old = snapshot(f"{place}@HEAD~1").revision
    assert [file_at(source, old, "a.py") for source in (str(place), f"{place}@HEAD")] == [b"old", b"old"]
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.py").write_bytes(CODE)
    assert file_at(str(tmp_path / "folder"), "", "a.py") == CODE
    assert file_at(str(tmp_path / "folder"), "", "b.py") == b""


def test_an_ordinary_clone_is_its_commits_not_its_folder(tmp_path: Path) -> None:
    place = repository(tmp_path / "w" / ".git", {"a.py": CODE}, licence=None)
    (tmp_path / "w" / "untracked.py").write_text("x = 1")
    assert set(files(place)) == {"a.py"}
    assert (files(tmp_path / "w"), snapshot(str(tmp_path / "w")).name) == ({"a.py": CODE}, "w")


def test_links_and_submodules_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside.py").write_bytes(CODE)
    tree = {
        "a.py": CODE,
        "link.py": (FileMode.LINK, b"../../outside.py"),
        "sub": (FileMode.COMMIT, "1" * 40),
        "run.py": (FileMode.BLOB_EXECUTABLE, CODE),
    }
    assert set(files(repository(tmp_path / "r.git", tree, licence=None))) == {"a.py", "run.py"}
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.py").write_bytes(CODE)
    (folder / "link.py").symlink_to(tmp_path / "outside.py")
    (folder / "up").symlink_to(tmp_path)
    assert set(files(folder)) == {"a.py"}


def test_an_absent_object_is_one_file_less(tmp_path: Path) -> None:
    place = repository(tmp_path / "r.git", {"a.py": CODE, "b.py": b"left out of the clone"}, licence=None)
    sizes = {entry.path: entry.size for entry in snapshot(str(place)).entries()}
    lost = _blob(place, "b.py")
    (place / "objects" / str(lost)[:2] / str(lost)[2:]).unlink()
    again = {entry.path: entry.size for entry in snapshot(str(place)).entries()}
    assert (sizes["b.py"], again["b.py"], again["a.py"]) == (21, ABSENT, len(CODE))


def _blob(place: Path, path: str) -> object:
    return pygit2.Repository(str(place)).revparse_single(f"HEAD:{path}").id


@pytest.mark.parametrize("make", [lambda place: place.unlink(), lambda place: place.write_bytes(b"not an object")])
def test_a_lost_or_corrupt_folder_is_an_error_that_names_the_repository(
    tmp_path: Path, make: Callable[[Path], object]
) -> None:
    place = repository(tmp_path / "r.git", {"src/a.py": CODE}, licence=None)
    lost = str(_blob(place, "src"))
    file = place / "objects" / lost[:2] / lost[2:]
    file.chmod(0o600)
    make(file)
    with pytest.raises(SourceBroken, match=r"r\.git.*git fsck"):
        files(place)


def test_what_is_no_source_says_what_is(tmp_path: Path) -> None:
    with pytest.raises(SourceUnknown, match="Give a git repository"):
        snapshot(str(tmp_path / "nowhere"))
    with pytest.raises(SourceUnknown, match="Leave the revision out"):
        snapshot(f"{tmp_path}@HEAD")
    with pytest.raises(RevisionMissing, match="no revision 'v9'"):
        snapshot(f"{repository(tmp_path / 'r.git', {'a.py': CODE})}@v9")
    with pytest.raises(SourceError, match="has no revision 'HEAD'"):
        snapshot(str(repository(tmp_path / "empty.git")))


def tarred(place: Path, members: dict[str, bytes | tuple[bytes, str]]) -> Path:
    """A member's value may be (type, target of a link)."""
    with tarfile.open(place, "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, tuple):
                info.type, info.linkname = content
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return place


def test_members_of_archives_that_lead_elsewhere_are_left_out(tmp_path: Path) -> None:
    tar = tarred(
        tmp_path / "p-1.tar.gz",
        {
            "p-1/a.py": CODE,
            "../up.py": CODE,
            "/root.py": CODE,
            "p-1/link.py": (tarfile.SYMTYPE, "/etc/passwd"),
            "p-1/hard.py": (tarfile.LNKTYPE, "../../up.py"),
            "p-1/device": (tarfile.CHRTYPE, ""),
        },
    )
    assert files(tar) == {"p-1/a.py": CODE}
    wheel = tmp_path / "p-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("p/a.py", CODE)
        archive.writestr("../up.py", CODE)
        link = zipfile.ZipInfo("p/link.py")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    assert files(wheel) == {"p/a.py": CODE}


def test_an_archive_that_unpacks_to_far_more_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "FEWEST", 1000)
    tar = tarred(tmp_path / "bomb.tgz", {"a.py": b"\0" * 1_000_000})
    with pytest.raises(SourceRefused, match="unpack it and give the folder"):
        files(tar)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.py", b"\0" * 1_000_000)
    with pytest.raises(SourceRefused):
        files(tmp_path / "bomb.zip")


def test_a_torn_archive_is_an_error_that_names_it(tmp_path: Path) -> None:
    tar = tarred(tmp_path / "p.tgz", {"a.py": CODE * 50})
    tar.write_bytes(tar.read_bytes()[:200])
    with pytest.raises(SourceBroken, match=r"p\.tgz.*Download it again"):
        files(tar)


def test_what_is_too_large_is_never_read(tmp_path: Path) -> None:
    huge = b"x = 1\n" * (LARGEST // 6 + 1)
    place = repository(tmp_path / "r.git", {"a.py": CODE, "huge.py": huge, "COPYING": huge, "script": huge})
    opened = snapshot(str(place))
    read: list[str] = []

    def entries() -> Iterator[Entry]:
        for entry in opened.entries():
            yield replace(entry, read=lambda entry=entry: (read.append(entry.path), entry.read())[1])

    found = survey(replace(opened, entries=entries), Options())
    assert set(read) == {"a.py", "LICENSE"}
    assert (found.dropped["too large"][0], [file.path for file in found.files]) == (1, ["a.py"])


def test_nothing_is_written_to_a_source(tmp_path: Path) -> None:
    place = repository(tmp_path / "r.git", {"a.py": CODE})
    (place / "hooks").mkdir(exist_ok=True)
    before = sorted((path, path.stat().st_mtime_ns) for path in place.rglob("*"))
    files(place)
    assert sorted((path, path.stat().st_mtime_ns) for path in place.rglob("*")) == before
    shutil.rmtree(place)
