"""What was learned of the user's own code and is installed: a folder each version, one of them used, a step back kept.

    <data folder>/adapters/NAME/0003/   an adapter in PEFT's format, and `starling.json`: what it is for, how good it was
    <data folder>/adapters/NAME/used    the number of the version that is used; no such file: none
    <data folder>/usage/NAME/…          usage tables, likewise

Each is taken for the documents of the workspaces it was made of. One process at a time changes what is installed. Needs no torch.
`kind` is ADAPTERS or USAGE.

AdapterRegistryError    carries what is wrong with an installed adapter, or that there is none
"""

from __future__ import annotations

import contextlib
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import platformdirs

from tuning.files import new_folder, replacing
from tuning.ranking.serving.model.file_lock import alone

ADAPTERS, USAGE = "adapters", "usage"
CARD, USED = "starling.json", "used"
UNDONE = "rolled-back"  # a file in the folder of a version that the user went back from
NAME = re.compile(r"[\w][\w.-]{0,63}")
KEPT = 3  # versions of a name, and as many that the user went back from
LOOK_AGAIN = 2.0  # seconds after which a change is seen


class AdapterRegistryError(ValueError):
    """An adapter that is not there, or not as it should be."""


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """What an adapter is for."""

    base: str  # "" is the default base
    beneath: str = ""  # the digest of Starling's own adapter that it stands on; "" for none
    workspaces: Sequence[str] = ()  # folders whose documents it is for; none: for all
    languages: Sequence[str] = ()  # ids; none: all
    figures: Mapping[str, float] = {}
    made: str = ""  # when, ISO 8601
    source: str = ""  # where `starling adapters sync` took it from; "" for what was trained here
    digest: str = ""  # of its files, as that source publishes them


@dataclass(frozen=True, kw_only=True)
class Installed:
    """One version of an adapter that is installed."""

    name: str
    version: int
    folder: Path
    card: Card


def beneath(folder: Path) -> str:
    """What an adapter's folder says that it stands on; "" where it has no card. Raises AdapterRegistryError."""
    return _card(folder).beneath if (folder / CARD).is_file() else ""


def home(kind: str = ADAPTERS) -> Path:
    """Where the user's own are."""
    return Path(platformdirs.user_data_dir("starling", appauthor=False)) / kind


def used(name: str, kind: str = ADAPTERS) -> Installed | None:
    """The version that is used. Raises AdapterRegistryError where it is not as it should be."""
    versions = home(kind) / name
    return _version(versions, number) if (number := _used(versions)) else None


def all_used(kind: str = ADAPTERS) -> list[Installed]:
    """The version of each that is used, by name; what can't be read is left out."""
    found: list[Installed] = []
    for folder in sorted(home(kind).iterdir()) if home(kind).is_dir() else []:
        try:
            installed = used(folder.name, kind) if NAME.fullmatch(folder.name) else None
        except AdapterRegistryError:
            continue
        if installed is not None:
            found.append(installed)
    return found


class Watched:
    """What is installed, looked up again when it has changed. Cheap enough to be asked at every key."""

    def __init__(self, kind: str = ADAPTERS) -> None:
        self._kind = kind
        self._looked = -LOOK_AGAIN
        self._state: tuple[tuple[str, int], ...] = ()
        self._used: Sequence[Installed] = ()

    def folder_for(self, path: Path, language: str) -> str:
        """The folder of what is for a document; "" for none."""
        now = time.monotonic()
        if now - self._looked >= LOOK_AGAIN:
            self._looked = now
            if (state := _state(self._kind)) != self._state:
                self._state, self._used = state, all_used(self._kind)
        found = for_document(path, language, self._used)
        return "" if found is None else str(found.folder)


def for_document(path: Path, language: str, among: Sequence[Installed]) -> Installed | None:
    """The adapter for a document: of the nearest workspace that it lies in, else one for all; its language has to be among its own.

    What was trained here goes before what came from elsewhere for the same documents.
    """
    own_first = sorted(among, key=lambda one: bool(one.card.source))
    fitting = [one for one in own_first if not one.card.languages or language in one.card.languages]
    near = [
        (len(Path(root).parts), one) for one in fitting for root in one.card.workspaces if path.is_relative_to(root)
    ]
    if near:
        return max(near, key=lambda found: found[0])[1]
    return next((one for one in fitting if not one.card.workspaces), None)


def checked(name: str) -> str:
    """The name, if an adapter may have it. Raises AdapterRegistryError."""
    if not NAME.fullmatch(name):
        raise AdapterRegistryError(
            f"{name!r} is no name for an adapter. Give one with --name: letters, digits, '.', '_' and '-', at most 64"
        )
    return name


def name_for(folder: Path) -> str:
    """A name that an adapter may have, made of a folder's own."""
    return re.sub(r"[^\w.-]+", "-", folder.name).strip("-.")[:64] or "code"


def install(name: str, made: Path, card: Card, kind: str = ADAPTERS) -> Installed:
    """Copy the files of a folder here and use them from now on; older versions than KEPT are removed. Raises AdapterRegistryError, OSError."""
    versions = home(kind) / checked(name)
    versions.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _alone(kind):
        return _install(versions, made, card)


def _install(versions: Path, made: Path, card: Card) -> Installed:
    number = max(_versions(versions), default=0) + 1
    folder = versions / f"{number:04d}"
    with new_folder(folder) as fresh:
        for file in made.iterdir():  # what a run left to go on from is in folders
            if file.is_file():
                shutil.copy2(file, fresh)
        write_card(fresh, card)
    _use(versions, number)
    undone = {version for version in _versions(versions) if _is_undone(versions, version)}
    for group in (undone, {*_versions(versions)} - undone):
        for old in sorted(group)[:-KEPT]:
            shutil.rmtree(versions / f"{old:04d}", ignore_errors=True)
    return Installed(name=versions.name, version=number, folder=folder, card=card)


def describe(installed: Installed, card: Card, kind: str = ADAPTERS) -> None:
    """Give an installed version another card; running servers see it, if the version is used. Raises OSError."""
    with _alone(kind):
        write_card(installed.folder, card)
        if (versions := installed.folder.parent) and _used(versions) == installed.version:
            _use(versions, installed.version)


def rolled_back(name: str, kind: str = ADAPTERS) -> list[Card]:
    """The cards of the versions that the user went back from and that are still kept; what can't be read is left out."""
    found: list[Card] = []
    for mark in (home(kind) / name).glob(f"[0-9]*/{UNDONE}"):
        with contextlib.suppress(AdapterRegistryError):
            found.append(_card(mark.parent))
    return found


def roll_back(name: str, kind: str = ADAPTERS) -> Installed | None:
    """Use the version before the one that is used; None where that was the first: then none is used. One that the user went back from
    is not used again. Raises AdapterRegistryError.
    """
    versions = home(kind) / name
    if not _used(versions):
        what = "adapter" if kind == ADAPTERS else "usage table"
        there = ", ".join(one.name for one in all_used(kind)) or "none"
        raise AdapterRegistryError(f"no {what} '{name}' is used; there are: {there}")
    with _alone(kind):
        return _roll_back(versions)


def _roll_back(versions: Path) -> Installed | None:
    number = _used(versions)
    if (folder := versions / f"{number:04d}").is_dir():
        (folder / UNDONE).touch()
    earlier = [version for version in _versions(versions) if version < number and not _is_undone(versions, version)]
    before = max(earlier, default=0)
    if not before:
        (versions / USED).unlink(missing_ok=True)
        return None
    _use(versions, before)
    return _version(versions, before)


def _is_undone(versions: Path, number: int) -> bool:
    return (versions / f"{number:04d}" / UNDONE).is_file()


def _alone(kind: str) -> contextlib.AbstractContextManager[None]:
    """While held, nobody else changes what is installed."""
    return alone(home(kind) / ".lock")


def _state(kind: str) -> tuple[tuple[str, int], ...]:
    """Changes whenever what is used changes."""
    try:
        return tuple(sorted((file.parent.name, file.stat().st_mtime_ns) for file in home(kind).glob(f"*/{USED}")))
    except OSError:
        return ()


def _use(versions: Path, number: int) -> None:
    with replacing(versions / USED) as temporary:
        temporary.write_text(f"{number}\n", encoding="utf-8")


def _used(versions: Path) -> int:
    try:
        return int((versions / USED).read_text("utf-8"))
    except (OSError, ValueError):
        return 0


def _versions(versions: Path) -> list[int]:
    return [int(folder.name) for folder in versions.glob("[0-9]*") if folder.name.isdigit()]


def _version(versions: Path, number: int) -> Installed:
    folder = versions / f"{number:04d}"
    return Installed(name=versions.name, version=number, folder=folder, card=_card(folder))


def _card(folder: Path) -> Card:
    try:
        return msgspec.json.decode((folder / CARD).read_bytes(), type=Card)
    except (OSError, msgspec.DecodeError) as error:
        raise AdapterRegistryError(f"{folder} was not installed here: {error}") from error


def write_card(folder: Path, card: Card) -> None:
    """Say what the adapter in a folder is for."""
    with replacing(folder / CARD) as temporary:
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(card), indent=1) + b"\n")
