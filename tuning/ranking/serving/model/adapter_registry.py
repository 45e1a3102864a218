"""The adapters that are installed on this machine: a folder each version, one of them used, a step back kept.

    <data folder>/adapters/NAME/0003/   an adapter in PEFT's format, and `starling.json`: what it is for, how good it was
    <data folder>/adapters/NAME/used    the number of the version that is used; no such file: none

An adapter is taken for the documents of the workspaces it was trained on. Needs no torch.

AdapterRegistryError    carries what is wrong with an installed adapter, or that there is none
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import platformdirs

from tuning.files import replacing

CARD, USED = "starling.json", "used"
NAME = re.compile(r"[\w][\w.-]{0,63}")
KEPT = 3  # versions of a name
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


def home() -> Path:
    """The user's own adapters."""
    return Path(platformdirs.user_data_dir("starling", appauthor=False)) / "adapters"


def used(name: str) -> Installed | None:
    """The version of an adapter that is used. Raises AdapterRegistryError where it is not as it should be."""
    return _version(name, number) if (number := _used(name)) else None


def all_used() -> list[Installed]:
    """The version of each adapter that is used, by name; what can't be read is left out."""
    found: list[Installed] = []
    for folder in sorted(home().iterdir()) if home().is_dir() else []:
        try:
            installed = used(folder.name) if NAME.fullmatch(folder.name) else None
        except AdapterRegistryError:
            continue
        if installed is not None:
            found.append(installed)
    return found


class Watched:
    """What is installed, looked up again when it has changed. Cheap enough to be asked at every key."""

    def __init__(self) -> None:
        self._looked = -LOOK_AGAIN
        self._state: tuple[tuple[str, int], ...] = ()
        self._used: Sequence[Installed] = ()

    def adapter_for(self, path: Path, language: str) -> str:
        """The folder of the adapter for a document; "" for none."""
        now = time.monotonic()
        if now - self._looked >= LOOK_AGAIN:
            self._looked = now
            if (state := _state()) != self._state:
                self._state, self._used = state, all_used()
        found = for_document(path, language, self._used)
        return "" if found is None else str(found.folder)


def for_document(path: Path, language: str, among: Sequence[Installed]) -> Installed | None:
    """The adapter for a document: of the nearest workspace that it lies in, else one for all; its language has to be among its own."""
    fitting = [one for one in among if not one.card.languages or language in one.card.languages]
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


def install(name: str, made: Path, card: Card) -> Installed:
    """Copy an adapter's files here and use it from now on; versions beyond the last KEPT are removed. Raises AdapterRegistryError, OSError."""
    versions = home() / checked(name)
    versions.mkdir(parents=True, exist_ok=True, mode=0o700)
    number = max(_versions(name), default=0) + 1
    folder, fresh = versions / f"{number:04d}", versions / f".{number:04d}.new"
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        fresh.mkdir()
        for file in made.iterdir():  # what a run left to go on from is in folders
            if file.is_file():
                shutil.copy2(file, fresh)
        write_card(fresh, card)
        fresh.replace(folder)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    _use(name, number)
    for old in sorted(_versions(name))[:-KEPT]:
        shutil.rmtree(versions / f"{old:04d}", ignore_errors=True)
    return Installed(name=name, version=number, folder=folder, card=card)


def roll_back(name: str) -> Installed | None:
    """Use the version before the one that is used; None where that was the first: then none is used. Raises AdapterRegistryError."""
    number = _used(name)
    if not number:
        raise AdapterRegistryError(
            f"no adapter '{name}' is used; there are: {', '.join(one.name for one in all_used()) or 'none'}"
        )
    before = max((version for version in _versions(name) if version < number), default=0)
    if not before:
        (home() / name / USED).unlink()
        return None
    _use(name, before)
    return _version(name, before)


def _state() -> tuple[tuple[str, int], ...]:
    """Changes whenever what is used changes."""
    there = home()
    try:
        return tuple(sorted((file.parent.name, file.stat().st_mtime_ns) for file in there.glob(f"*/{USED}")))
    except OSError:
        return ()


def _use(name: str, number: int) -> None:
    with replacing(home() / name / USED) as temporary:
        temporary.write_text(f"{number}\n", encoding="utf-8")


def _used(name: str) -> int:
    try:
        return int((home() / name / USED).read_text("utf-8"))
    except (OSError, ValueError):
        return 0


def _versions(name: str) -> list[int]:
    return [int(folder.name) for folder in (home() / name).glob("[0-9]*") if folder.name.isdigit()]


def _version(name: str, number: int) -> Installed:
    folder = home() / name / f"{number:04d}"
    return Installed(name=name, version=number, folder=folder, card=_card(folder))


def _card(folder: Path) -> Card:
    try:
        return msgspec.json.decode((folder / CARD).read_bytes(), type=Card)
    except (OSError, msgspec.DecodeError) as error:
        raise AdapterRegistryError(f"{folder} is no adapter that was installed here: {error}") from error


def write_card(folder: Path, card: Card) -> None:
    """Say what the adapter in a folder is for."""
    with replacing(folder / CARD) as temporary:
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(card), indent=1) + b"\n")
