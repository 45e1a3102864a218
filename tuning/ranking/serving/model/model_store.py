"""Where models are: the default base, and what was compiled of a base with adapters for serving.

    <cache folder>/models/smollm2-135m.gguf     the default base as it was published
    <cache folder>/models/smollm2-135m/         the same as a folder of transformers', for training and of older versions
    <cache folder>/models/serving/<digest>/     a base with adapters in its weights, in few bits, beside a graph

What is compiled can be made again at any time; only the base has to be fetched.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import platformdirs

NAME = "smollm2-135m"
SIZE = 98_362_432  # bytes of the published file
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
ABOUT = "about.json"
KEPT = 3  # compiled models: Starling's own and two others


class File(msgspec.Struct, frozen=True, kw_only=True):
    """A file as it was written."""

    size: int
    sha256: str


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What a folder of `serving` holds."""

    base: str
    adapters: Sequence[str]
    shape: Mapping[str, float]
    end_of_text: int
    is_quantised: bool
    files: Mapping[str, File] = {}
    sample: Sequence[float] = ()  # `OnnxRuntime.sample` when it was made


def models_dir() -> Path:
    return Path(platformdirs.user_cache_dir("starling", appauthor=False)) / "models"


def gguf_file() -> Path:
    """The default base as `install-model` leaves it."""
    return models_dir() / f"{NAME}.gguf"


def training_folder() -> Path:
    """The default base as transformers reads it: made when something is trained."""
    return models_dir() / NAME


def default_base() -> Path:
    """The default base's file or, of an older version, its folder."""
    return gguf_file() if gguf_file().is_file() or not training_folder().is_dir() else training_folder()


def is_default(base: str | Path) -> bool:
    return not base or Path(base) in (gguf_file(), training_folder())


def is_installed() -> bool:
    """Whether the default base is there, so far as its size tells."""
    if gguf_file().is_file():
        return gguf_file().stat().st_size == SIZE
    return (training_folder() / "config.json").is_file()


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def identity(path: Path) -> str:
    """What tells a base from others: what it is for the published one, else names, sizes and times of its files."""
    if path == gguf_file() and path.stat().st_size == SIZE:
        return SHA256
    files = [path] if path.is_file() else sorted(file for file in path.iterdir() if file.is_file())
    states = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(repr(states).encode()).hexdigest()


def about(folder: Path) -> About | None:
    """What a folder holds; None where it is not there, or a file of it is missing or has another size."""
    try:
        found = msgspec.json.decode((folder / ABOUT).read_bytes(), type=About)
        whole = all((folder / name).stat().st_size == file.size for name, file in found.files.items())
    except (OSError, msgspec.DecodeError):
        return None
    return found if whole else None


def is_sound(folder: Path) -> bool:
    """Whether every file of a folder is what was written."""
    found = about(folder)
    return found is not None and all(sha256(folder / name) == file.sha256 for name, file in found.files.items())


def forget_old(serving: Path, keep: Path) -> None:
    """Remove what was broken off, and all but the models that were used last."""
    folders = [folder for folder in serving.iterdir() if folder.is_dir() and folder != keep]
    used = sorted((folder for folder in folders if (folder / ABOUT).is_file()), key=_used, reverse=True)
    for folder in {*folders} - {*used[: KEPT - 1]}:
        shutil.rmtree(folder, ignore_errors=True)


def _used(folder: Path) -> int:
    return (folder / ABOUT).stat().st_mtime_ns
