"""Archives whose headers lie: refused or read in no more memory than an honest one takes."""

from __future__ import annotations

import gzip
import io
import random
import struct
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from corpus.mining import limits
from corpus.mining.snapshots import SourceBroken, SourceError, SourceRefused
from corpus.mining.sources import snapshot
from corpus.mining.survey import Options, survey
from tests.corpus.hostile import NOT_UTF8, unopened
from tests.corpus.repositories import APACHE, module

CODE = module("one")
ANY = Options(licences=())


def files(place: Path) -> dict[str, bytes]:
    return {entry.path: entry.read() for entry in snapshot(str(place)).entries()}


def header(name: str, kind: bytes, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


def pax(**values: str) -> bytes:
    return tarfile.TarInfo.create_pax_global_header(values)


def zeros_after(place: Path, start: bytes, size: int = 20_000_000) -> Path:
    """A compressed tar that begins so and goes on with zeros; a fiftieth of a thousandth on the disk."""
    with gzip.open(place, "wb", 1) as out:
        out.write(start)
        for _ in range(size // 1_000_000):
            out.write(bytes(1_000_000))
    return place


@pytest.mark.parametrize(
    "start",
    [
        header("pax", tarfile.XHDTYPE, 3_000_000_000),
        header("all", tarfile.XGLTYPE, 3_000_000_000),
        header("long", tarfile.GNUTYPE_LONGNAME, 3_000_000_000),
        header("link", tarfile.GNUTYPE_LONGLINK, 3_000_000_000),
    ],
    ids=["pax", "global", "name", "link"],
)
def test_a_header_of_gigabytes_is_refused(tmp_path: Path, start: bytes) -> None:
    with pytest.raises(SourceRefused, match="header of more than 4 MB"):
        files(zeros_after(tmp_path / "a.tgz", start))


def test_a_map_of_holes_without_end_is_refused(tmp_path: Path) -> None:
    values = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9"}
    start = pax(**values) + header("a.py", tarfile.REGTYPE, 9) + b"999999999\n" + b"1\n" * 4_000_000
    with pytest.raises(SourceRefused, match="header of more than 4 MB"):
        files(zeros_after(tmp_path / "a.tgz", start))


def tarred(place: Path, names: Iterable[str | bytes], data: bytes = CODE) -> Path:
    with tarfile.open(place, "w:gz", format=tarfile.GNU_FORMAT) as archive:
        for name in names:
            info = tarfile.TarInfo(name if isinstance(name, str) else name.decode("utf-8", "surrogateescape"))
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return place


def zipped(place: Path, members: Iterable[tuple[str, bytes, int]]) -> Path:
    with zipfile.ZipFile(place, "w") as archive:
        for name, data, how in members:
            archive.writestr(name, data, how)
    return place


def test_too_many_members_or_folders_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = "d/" * 300 + "a.py"
    for place in (tarred(tmp_path / "d.tgz", [deep]), zipped(tmp_path / "d.zip", [(deep, CODE, 0)])):
        with pytest.raises(SourceRefused, match="deeper than 256"):
            files(place)
    names = [f"{number}.py" for number in range(200)]
    tar, packed = tarred(tmp_path / "a.tgz", names), zipped(tmp_path / "a.zip", [(name, CODE, 0) for name in names])
    assert len(files(tar)) == len(files(packed)) == 200
    monkeypatch.setattr(limits, "ENTRIES", 100)
    for place in (tar, packed):
        with pytest.raises(SourceRefused, match="more than 100 files"):
            files(place)


def test_a_tar_keeps_no_member_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[int] = []
    following = tarfile.TarFile.next

    def counted(self: tarfile.TarFile) -> tarfile.TarInfo | None:
        kept.append(len(self.members))  # pyright: ignore[reportAttributeAccessIssue]
        return following(self)

    monkeypatch.setattr(tarfile.TarFile, "next", counted)
    files(tarred(tmp_path / "a.tgz", [f"{number}.py" for number in range(50)]))
    assert len(kept) > 50 and max(kept) <= 1


def test_a_zip_with_a_directory_of_gigabytes_is_refused(tmp_path: Path) -> None:
    place, size = tmp_path / "a.zip", 70_000_000
    with place.open("wb") as out:
        out.truncate(size)  # takes no room on the disk
        out.seek(size)
        out.write(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, size, 0, 0))
    with pytest.raises(SourceRefused, match="directory of more than 64 MB"):
        files(place)


def encrypted(place: Path, name: str) -> Path:
    """Set the flag of the first member of this name, in both of its headers."""
    data = bytearray(place.read_bytes())
    for mark, flags, at in ((b"PK\3\4", 6, 30), (b"PK\1\2", 8, 46)):
        start = next(i for i in range(len(data)) if data.startswith(mark, i) and data.startswith(name.encode(), i + at))
        data[start + flags] |= 1
    place.write_bytes(data)
    return place


def test_what_a_zip_has_encrypted_or_packed_in_another_way_is_one_file_less(tmp_path: Path) -> None:
    members = [
        ("LICENSE", APACHE, zipfile.ZIP_DEFLATED),
        ("a.py", CODE, zipfile.ZIP_DEFLATED),
        ("bomb.py", bytes(900_000), zipfile.ZIP_BZIP2),  # a library would unpack all that its data gives
        ("other.py", CODE, zipfile.ZIP_LZMA),
        ("secret.py", CODE, zipfile.ZIP_STORED),
    ]
    found = survey(snapshot(str(encrypted(zipped(tmp_path / "a.zip", members), "secret.py"))), Options())
    assert ([file.path for file in found.files], found.dropped) == (["a.py"], {"absent": (3, 0)})


def test_names_that_are_not_utf_8(tmp_path: Path) -> None:
    found = survey(snapshot(str(tarred(tmp_path / "a.tgz", ["a.py", NOT_UTF8]))), ANY)
    assert ([file.path for file in found.files], found.dropped) == (["a.py"], {"name not UTF-8": (1, len(CODE))})
    place = zipped(tmp_path / "a.zip", [("café.py", CODE, 0)])
    place.write_bytes(place.read_bytes().replace("é".encode(), b"\xe9\xe9"))
    with pytest.raises(SourceBroken, match="Download it again"):  # its header says that the name is UTF-8
        files(place)


def test_an_archive_that_is_no_file_is_not_opened(tmp_path: Path) -> None:
    with unopened(tmp_path / "a.zip") as place, pytest.raises(SourceError, match="is no file that can be read"):
        snapshot(str(place))


@pytest.mark.parametrize("ending", ["zip", "tar", "tgz"])
def test_any_byte_of_an_archive_may_be_wrong(tmp_path: Path, ending: str) -> None:
    place = tmp_path / f"a.{ending}"
    if ending == "zip":
        zipped(place, [("a.py", CODE, zipfile.ZIP_DEFLATED), ("d/é.py", CODE, 0)])
    else:
        tarred(place, ["a.py", "d/é.py", "n" * 200])
    whole = place.read_bytes() if ending != "tar" else gzip.decompress(place.read_bytes())
    generator = random.Random(1)
    for _ in range(400):
        data = bytearray(whole)
        for at in generator.sample(range(len(data)), 3):
            data[at] = generator.randrange(256)
        place.write_bytes(data if generator.random() < 0.8 else data[: generator.randrange(len(data))])
        try:
            survey(snapshot(str(place)), ANY)
        except SourceError as error:
            assert error.problem and error.remedy
