"""Publish what is installed here into a folder: files first, the index last, each whole or not at all.

A reader sees the publication before or the one after. Publishing the same again changes nothing.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from tuning.files import replacing, replacing_folder
from tuning.ranking.serving.model import adapter_registry
from tuning.ranking.serving.model.adapter_registry import ADAPTERS, AdapterRegistryError, Installed
from tuning.ranking.serving.model.file_lock import alone
from tuning.ranking.serving.model.model_store import File, sha256
from tuning.ranking.serving.sharing.contents import Content, check, file_of, put, shared
from tuning.ranking.serving.sharing.errors import EntryRefused, SourceRefused, SourceUnreachable
from tuning.ranking.serving.sharing.publication import (
    FILES,
    INDEX,
    Entry,
    base_mark,
    checked,
    folded,
    read_index,
    written_index,
)

LOCK = ".starling.lock"
ATTRIBUTES = Path(FILES, ".gitattributes")  # git changes no file's line ends, and so no hash
GRACE = 7 * 86_400.0  # seconds that files stay after the index has dropped them: somebody may be reading them
DIGEST = re.compile(r"(?P<broken>\.)?[0-9a-f]{40}(?(broken)\..*)")  # a folder of files, or what was left of writing one


def publish(names: Sequence[str], kind: str, to: Path) -> dict[str, bool]:
    """Publish the versions that are used; whether each is new there. Raises SharingError, AdapterRegistryError, OSError."""
    chosen = [_entry(_used(name, kind), kind) for name in dict.fromkeys(names)]
    if not to.parent.is_dir():
        raise SourceRefused(f"{to.parent} is not there: is the share mounted? Make the folder first")
    to.mkdir(exist_ok=True)
    with alone(to / LOCK):
        before = _published(to)
        now = {_key(entry): entry for entry in before}
        new: dict[str, bool] = {}
        for entry, contents in chosen:
            same = now.get(_key(entry))
            if same is not None and same.name != entry.name:
                raise SourceRefused(
                    f"{to} has {same.name!r} already, which is one folder with {entry.name!r} on some systems"
                )
            _put(entry, contents, to)
            now[_key(entry)] = entry
            new[entry.name] = same != entry
        if not (to / ATTRIBUTES).exists():
            (to / ATTRIBUTES).write_text("* -text\n", encoding="utf-8")
        data = written_index([*now.values()])
        if not (to / INDEX).is_file() or (to / INDEX).read_bytes() != data:
            with replacing(to / INDEX) as temporary:
                temporary.write_bytes(data)
            needed = {entry.digest for entry in now.values()}
            _drop_old(to, {entry.digest for entry in before} - needed, needed)
    return new


def _used(name: str, kind: str) -> Installed:
    installed = adapter_registry.used(name, kind)
    if installed is None:
        there = ", ".join(one.name for one in adapter_registry.all_used(kind)) or "none"
        what = "adapter" if kind == ADAPTERS else "usage table"
        raise AdapterRegistryError(f"no {what} '{name}' is used; there are: {there}")
    return installed


def _entry(installed: Installed, kind: str) -> tuple[Entry, Mapping[str, Content]]:
    """What the index says of an installed version, and its files. A folder's path stays here: its name goes."""
    card = installed.card
    try:
        contents = shared(installed.folder, kind)
    except EntryRefused as error:
        raise SourceRefused(f"{installed.name} can't be published: {error}") from error
    entry = Entry(
        kind=kind,  # type: ignore[arg-type]
        name=installed.name,
        version=installed.version,
        made=card.made,
        base=base_mark(card.base) if kind == ADAPTERS else "",
        beneath=card.beneath,
        repositories=sorted({Path(folder).name for folder in card.workspaces}),
        languages=list(card.languages),
        figures=dict(card.figures),
        files={name: file_of(content) for name, content in contents.items()},
    )
    try:  # as a reader will
        return checked(msgspec.Raw(msgspec.json.encode(entry))), contents
    except EntryRefused as error:
        raise SourceRefused(f"{installed.name} can't be published: {error}") from error


def _published(to: Path) -> list[Entry]:
    """What is there. Raises SourceRefused: an index that is not understood is not replaced."""
    if not (to / INDEX).exists():
        return []
    try:
        entries, refused = read_index((to / INDEX).read_bytes(), str(to))
    except SourceUnreachable as error:
        raise SourceRefused(f"{error}. Nothing was published; give another folder") from error
    if refused:
        name, why = refused[0]
        raise SourceRefused(f"{to / INDEX}: {name}: {why}. Nothing was published; mend it, or give another folder")
    return entries


def _key(entry: Entry) -> tuple[str, str]:
    return entry.kind, folded(entry.name)


def _put(entry: Entry, contents: Mapping[str, Content], to: Path) -> None:
    """Write an entry's folder, unless it is there and sound."""
    folder = to / FILES / entry.digest
    if _is_sound(folder, entry.files):
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with replacing_folder(folder) as fresh:
        for name, content in contents.items():
            put(content, fresh / name)
        try:  # as a reader will
            check(fresh)
        except EntryRefused as error:
            raise SourceRefused(f"{entry.name} can't be published: {error}") from error


def _is_sound(folder: Path, files: Mapping[str, File]) -> bool:
    try:
        there = {file.name for file in folder.iterdir()}
        return there == set(files) and all(
            (folder / name).stat().st_size == file.size and sha256(folder / name) == file.sha256
            for name, file in files.items()
        )
    except OSError:
        return False


def _drop_old(to: Path, dropped: set[str], needed: set[str]) -> None:
    """Remove the folders that no index has named for GRACE seconds, and what was broken off. `dropped`: what the last one named."""
    for file in to.glob(f".{INDEX}.*.tmp"):
        file.unlink()
    for folder in (to / FILES).iterdir():
        if folder.name in dropped:
            with contextlib.suppress(PermissionError):  # another user's, on a share: its age is what it is
                os.utime(folder)
        found = DIGEST.fullmatch(folder.name)
        if found is None or folder.name in needed:
            continue
        if found["broken"] or time.time() - folder.stat().st_mtime > GRACE:
            shutil.rmtree(folder, ignore_errors=True)
