"""A repository's objects and references, whatever else stands in it."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pygit2
import pytest
from pygit2.enums import FileMode

from corpus.mining import git_objects, limits
from corpus.mining.snapshots import RevisionMissing, SourceBroken, SourceError, SourceRefused
from corpus.mining.sources import at_revision, snapshot
from corpus.mining.survey import Options, survey
from tests.corpus.hostile import committed, nested, tree, unopened, with_bad_name
from tests.corpus.repositories import module, repository

CODE = module("one")


def files(place: Path | str) -> set[str]:
    return {entry.path for entry in snapshot(str(place)).entries()}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    made = repository(tmp_path / "r.git", {"a.py": CODE}, {"a.py": CODE, "b.py": CODE}, licence=None)
    opened = pygit2.Repository(str(made))
    opened.create_reference("refs/heads/side/branch", opened.revparse_single("HEAD~1").id)
    opened.create_reference("refs/remotes/origin/far", opened.revparse_single("HEAD~1").id)
    opened.create_reference("refs/remotes/origin/HEAD", "refs/remotes/origin/far")
    opened.create_reference("refs/tags/light", opened.revparse_single("HEAD").id)
    signature = pygit2.Signature("A", "a@example.org", 1_700_000_000, 0)
    opened.create_tag("v1", opened.revparse_single("HEAD~1").id, pygit2.enums.ObjectType.COMMIT, signature, "v1")
    return made


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "revision",
    ["", "HEAD", "HEAD~1", "HEAD^", "v1", "v1^{commit}", "tags/v1", "refs/tags/v1", "light", "light~1", "side/branch",
     "heads/side/branch", "origin/far", "origin", "remotes/origin/far"],
)  # fmt: skip
def test_a_revision_means_what_git_means(place: Path, revision: str, packed: bool) -> None:
    expected = pygit2.Repository(str(place)).revparse_single(revision or "HEAD").peel(pygit2.Commit).id
    if packed:
        subprocess.run(["git", "pack-refs", "--all"], cwd=place, check=True)
        assert not (place / "refs" / "tags" / "v1").exists()
    assert snapshot(f"{place}@{revision}" if revision else str(place)).revision == str(expected)


def test_hashes_short_ones_and_described_ones_are_revisions(place: Path) -> None:
    full = snapshot(f"{place}@v1").revision
    assert {snapshot(f"{place}@{name}").revision for name in (full, full[:8], f"v0-3-g{full[:9]}")} == {full}


@pytest.mark.parametrize(
    "revision",
    ["nothing", "HEAD~9", "0" * 40, "deadbee", "refs/../HEAD", "../HEAD", "config", ":/x", "HEAD:a.py", "a\0b", "x" * 9999,
     "\udcff", "HEAD^{"],
)  # fmt: skip
def test_a_revision_of_nothing_is_missing(place: Path, revision: str) -> None:
    with pytest.raises(RevisionMissing, match="name another after '@'"):
        snapshot(f"{place}@{revision}")


def test_a_worktree_and_borrowed_objects_are_read(tmp_path: Path, place: Path) -> None:
    subprocess.run(["git", "worktree", "add", "-q", str(tmp_path / "tree"), "v1"], cwd=place, check=True)
    assert (files(tmp_path / "tree"), files(place)) == ({"a.py"}, {"a.py", "b.py"})
    subprocess.run(["git", "clone", "-qs", str(place), str(tmp_path / "shared")], check=True)
    assert not list((tmp_path / "shared" / ".git" / "objects" / "pack").iterdir())
    assert files(tmp_path / "shared") == {"a.py", "b.py"}
    subprocess.run(["git", "repack", "-adq"], cwd=place, check=True)
    assert files(tmp_path / "shared") == {"a.py", "b.py"}


def test_alternates_in_a_circle_end(tmp_path: Path, place: Path) -> None:
    (place / "objects" / "info" / "alternates").write_text(f"# a comment\n../objects\n{tmp_path}/gone\n.\n\0\n")
    assert files(place) == {"a.py", "b.py"}


def test_a_repository_s_own_configuration_is_never_read(tmp_path: Path, place: Path) -> None:
    (place / "config").write_text(f"[include]\n\tpath = {tmp_path / 'more'}\n[core]\n\trepositoryformatversion = no\n")
    with unopened(tmp_path / "more"):
        assert files(place) == {"a.py", "b.py"}
    with unopened(place / "config"), unopened(place / "config.worktree"):
        assert files(place) == {"a.py", "b.py"}


@pytest.mark.parametrize(
    "name",
    ["HEAD", "packed-refs", "objects/info/alternates", "objects/pack/pack-1.idx", "objects/pack/multi-pack-index",
     "objects/00/11", "commondir", "loose"],
)  # fmt: skip
def test_what_is_no_regular_file_is_never_opened(place: Path, name: str) -> None:
    if name == "loose":
        lost = str(pygit2.Repository(str(place)).revparse_single("HEAD").id)
        name = f"objects/{lost[:2]}/{lost[2:]}"
    if name == "packed-refs":
        (place / "HEAD").write_text("ref: refs/heads/only/packed\n")
    with unopened(place / name), pytest.raises(SourceRefused, match=r"not a regular file\. Remove it, or clone again"):
        files(place)
    with unopened(place / "HEAD"):
        assert at_revision(str(place), "v1") == f"{place}@v1"
        assert at_revision(f"{place}@side/branch", "v1") == f"{place}@v1"


def test_what_alternates_name_is_looked_at_as_well(tmp_path: Path, place: Path) -> None:
    (tmp_path / "other" / "pack").mkdir(parents=True)
    (place / "objects" / "info" / "alternates").write_text(f"{tmp_path}/other\n")
    with unopened(tmp_path / "other" / "info" / "alternates"), pytest.raises(SourceRefused, match="alternates"):
        files(place)
    (tmp_path / "other" / "info" / "alternates").unlink()
    with unopened(tmp_path / "other" / "pack" / "pack-2.idx"), pytest.raises(SourceRefused, match=r"pack-2\.idx"):
        files(place)
    (tmp_path / "other" / "pack" / "pack-2.idx").unlink()
    (tmp_path / "other" / "pack" / "pack-3.idx").symlink_to("/dev/zero")
    with pytest.raises(SourceRefused, match=r"pack-3\.idx"):
        files(place)


def test_names_that_are_not_utf_8_are_left_out_and_counted(tmp_path: Path) -> None:
    found = survey(snapshot(str(with_bad_name(tmp_path / "r.git"))), Options())
    assert [file.path for file in found.files] == ["good.py"]
    assert found.dropped == {"name not UTF-8": (2, 2 * len(module("bad")))}


def test_a_tree_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SourceRefused, match="folders deeper than 256"):
        files(nested(tmp_path / "deep.git", 1_000))
    monkeypatch.setattr(limits, "ENTRIES", 5_000)
    with pytest.raises(SourceRefused, match="more than 5,000 files and folders"):
        files(nested(tmp_path / "bomb.git", 60, twice=True))
    assert len(files(nested(tmp_path / "good.git", 200))) == 1


def test_a_tree_of_too_many_bytes_is_not_read(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git_objects, "OBJECT", 200)
    made = pygit2.Repository(str(place))
    blob = made.create_blob(CODE)
    root = tree(made, [(FileMode.BLOB, b"%03d.py" % number, blob) for number in range(9)])
    with pytest.raises(SourceRefused, match="check it out"):
        files(committed(place, root))


def test_a_tree_of_other_things_is_an_error_of_its_source(place: Path) -> None:
    made = pygit2.Repository(str(place))
    blob = made.create_blob(CODE)
    with pytest.raises(SourceBroken, match="git fsck"):
        files(committed(place, tree(made, [(FileMode.TREE, b"no-folder", blob)])))


def test_any_byte_of_a_repository_may_be_wrong(place: Path) -> None:
    subprocess.run(["git", "gc", "-q"], cwd=place, check=True)
    control = [place / name for name in ("HEAD", "packed-refs")]
    packs = [path for path in (place / "objects" / "pack").iterdir() if re.search(r"\.(idx|pack)$", path.name)]
    whole = files(place)
    for path in [*control, *packs]:
        before = path.read_bytes()
        path.chmod(0o600)
        for at in range(0, len(before), max(1, len(before) // 40)):
            path.write_bytes(before[:at] + bytes([before[at] ^ 0xA5]) + before[at + 1 :])
            try:
                found = [entry.read() for entry in snapshot(str(place)).entries()]
            except SourceError:
                continue
            assert len(found) <= len(whole)
        path.write_bytes(before)
    assert files(place) == whole and os.access(place, os.R_OK)
