"""What is published, as a folder or an address has it: an index, and files in folders that never change.

    starling-adapters.json     each entry's kind, name, version, card, and its files' sizes and SHA-256
    files/DIGEST/FILE          DIGEST is of the files' names, sizes and hashes

The index holds no path. A reader makes each one of a digest that it computes and of a name that it knows. What an index says is
untrusted: the types below check all of it, and an entry that fails costs itself alone.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from tuning.ranking.serving.model import model_store
from tuning.ranking.serving.model.adapter_registry import ADAPTERS, NAME
from tuning.ranking.serving.model.loading import HUB_ID
from tuning.ranking.serving.model.model_store import File
from tuning.ranking.serving.sharing.contents import UNREADABLE, digest_of, limits, missing
from tuning.ranking.serving.sharing.errors import EntryRefused, SourceRefused, SourceUnreachable

INDEX, FILES = "starling-adapters.json", "files"
FORMAT, VERSION = "starling adapters", 1
INDEX_SIZE, ENTRIES = 4 << 20, 500  # bytes, and entries, at most
DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)  # no file's name on Windows

Word = Annotated[str, Meta(pattern=r"\A[\w.+#@ -]{1,64}\Z")]
Time = Annotated[str, Meta(pattern=r"\A[0-9T:+.Z -]{0,40}\Z")]
Hex = Annotated[str, Meta(pattern=r"\A[0-9a-f]{0,64}\Z")]
Base = Annotated[str, Meta(pattern=r"\A(sha256:[0-9a-f]{64}|\w[\w.-]*(/[\w.-]+)?)?\Z", max_length=200)]
Folder = Annotated[str, Meta(pattern=r'\A[^/\\:*?"<>|\x00-\x1f\x7f-\x9f]{1,255}\Z')]


class Entry(Struct, frozen=True, kw_only=True):
    """An adapter or a usage table that is published."""

    kind: Literal["adapters", "usage"]
    name: str
    version: Annotated[int, Meta(ge=0)] = 0  # the publisher's
    made: Time = ""
    base: Base = ""  # `base_mark` of an adapter's base
    beneath: Hex = ""
    repositories: Annotated[
        Sequence[Folder], Meta(max_length=1000)
    ] = ()  # names of the folders that it is for; none: for all
    languages: Annotated[Sequence[Word], Meta(max_length=200)] = ()
    figures: Annotated[Mapping[Word, float], Meta(max_length=50)] = {}
    files: Annotated[Mapping[str, File], Meta(min_length=1, max_length=100)]

    @property
    def digest(self) -> str:
        return digest_of(self.files)

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(file.size for file in self.files.values())

    def place(self, file: str) -> PurePosixPath:
        """Where a file of it is, beneath the index's folder."""
        return PurePosixPath(FILES, self.digest, file)


class _Index(Struct, kw_only=True):
    format: str
    version: int
    entries: list[msgspec.Raw]


def read_index(data: bytes, where: str) -> tuple[list[Entry], list[tuple[str, EntryRefused]]]:
    """The entries of an index, and the names of those that can't be taken with what is wrong. Raises SourceUnreachable."""
    try:
        index = msgspec.json.decode(data, type=_Index)
    except UNREADABLE as error:
        raise SourceUnreachable(f"{where}: {INDEX} is no index of adapters: {error}") from error
    if index.format != FORMAT or index.version != VERSION:
        said = f"{index.format[:40]!r} of version {index.version}"
        raise SourceUnreachable(f"{where}: {INDEX} is {said}; this Starling reads {FORMAT!r} of version {VERSION}")
    if len(index.entries) > ENTRIES:
        raise SourceUnreachable(f"{where}: {INDEX} has {len(index.entries)} entries, more than {ENTRIES}")
    found: dict[tuple[str, str], Entry] = {}
    refused: list[tuple[str, EntryRefused]] = []
    for number, raw in enumerate(index.entries, start=1):
        try:
            entry = checked(raw)
            if (same := found.get((entry.kind, folded(entry.name)))) is not None:
                raise EntryRefused(f"{same.name!r} is another entry of this name")
            found[entry.kind, folded(entry.name)] = entry
        except EntryRefused as error:
            refused.append((_name_of(raw) or f"entry {number}", error))
    return list(found.values()), refused


def checked(raw: msgspec.Raw) -> Entry:
    """An entry of an index. Raises EntryRefused."""
    try:
        entry = msgspec.json.decode(raw, type=Entry)
    except UNREADABLE as error:
        raise EntryRefused(str(error)) from error
    check_name(entry.name)
    if any(name in (".", "..") or not name.isprintable() for name in entry.repositories):
        raise EntryRefused("a repository's name is no folder's")
    allowed = limits(entry.kind)
    for name, file in entry.files.items():
        if name not in allowed:
            raise EntryRefused(
                f"{name[:80]!r} is no file of {'an adapter' if entry.kind == ADAPTERS else 'a usage table'}"
            )
        if not 0 < file.size <= allowed[name]:
            raise EntryRefused(f"{name} has {file.size} bytes; at most {allowed[name]} are taken")
        if not re.fullmatch(r"[0-9a-f]{64}", file.sha256):
            raise EntryRefused(f"{name} has no SHA-256")
    if lacking := missing(entry.kind, entry.files):
        raise EntryRefused(f"it has no {lacking}")
    return entry


def check_name(name: str) -> None:
    """Raises EntryRefused where a folder can't be called so on every system."""
    if not NAME.fullmatch(name) or name.endswith(".") or not unicodedata.is_normalized("NFC", name):
        raise EntryRefused("its name may have letters, digits, '.', '_' and '-', at most 64, and no '.' at an end")
    if DEVICE.fullmatch(name):
        raise EntryRefused(f"{name!r} is the name of a device on Windows")


def folded(name: str) -> str:
    """The same for two names that are one folder where case does not count."""
    return unicodedata.normalize("NFC", name.casefold())


def _name_of(raw: msgspec.Raw) -> str:
    """What a refused entry calls itself, to be shown; "" where that can't be read or shown."""
    try:
        name: Any = msgspec.json.decode(raw, type=dict[str, Any]).get("name", "")
    except UNREADABLE:
        return ""
    return name[:64] if isinstance(name, str) and name.isprintable() else ""


def written_index(entries: Sequence[Entry]) -> bytes:
    """An index of these entries, the same for the same in any order."""
    rows = sorted((msgspec.to_builtins(entry) for entry in entries), key=lambda row: (row["kind"], row["name"]))
    for row in rows:
        row["files"] = dict(sorted(row["files"].items()))
    return (
        json.dumps({"format": FORMAT, "version": VERSION, "entries": rows}, indent=1, ensure_ascii=False).encode()
        + b"\n"
    )


def base_mark(base: str) -> str:
    """What tells a base from others on any machine: "" for Starling's default one, a digest of its files, or its id on the hub.

    Raises SourceRefused, OSError.
    """
    if model_store.is_default(base):
        return ""
    path = Path(base)
    if path.is_file():
        return f"sha256:{model_store.sha256(path)}"
    if path.is_dir():
        named = sorted((*path.glob("config.json"), *path.glob("*.safetensors")))
        if not named:
            raise SourceRefused(f"the base {base} is no model's folder: it has neither config.json nor safetensors")
        lines = (f"{file.name} {model_store.sha256(file)}\n" for file in named)
        return "sha256:" + hashlib.sha256("".join(lines).encode()).hexdigest()
    if HUB_ID.fullmatch(base):
        return base
    raise SourceRefused(f"the base {base} is not there: no such file or folder")
