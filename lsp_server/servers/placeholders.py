"""Expands placeholders in a preset's command, for what differs between machines. A user's own command has none.

{package:NAME}  folder of an installed Python package: beside the command's executable, else beside Starling
{cache}         a folder for this workspace alone, below the user's cache folder, mode 0700

An element that can't be resolved is left out together with the flag before it, so that the server finds such a
thing itself (a Java on PATH, its own default folder). Only installed packages count, never the working folder.
"""

from __future__ import annotations

import hashlib
import logging
import re
import site
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from lsp_server.servers.backend import find_command

log = logging.getLogger(__name__)

PACKAGE = re.compile(r"\{package:(\w+)\}")
CACHE = "{cache}"


def expanded(command: Sequence[str], *, workspace: Path | None = None) -> tuple[str, ...]:
    """Expand the placeholders of a preset's command. `workspace` defaults to the current folder."""
    words: list[str] = [command[0]]
    for word in command[1:]:
        resolved = _resolved(word, command, workspace)
        if resolved is not None:
            words.append(resolved)
        elif len(words) > 1 and words[-1].startswith("-"):
            words.pop()
    return tuple(words)


def _resolved(word: str, command: Sequence[str], workspace: Path | None) -> str | None:
    package = PACKAGE.match(word)
    if package is not None:
        rest = word[package.end() :].lstrip("/")
        found = (path for folder in _site_folders(command) for path in _files(folder / package[1] / rest))
        return next((str(path) for path in found if path.exists()), None)
    if CACHE in word:
        folder = _cache_folder(command, workspace or Path.cwd())
        return None if folder is None else word.replace(CACHE, str(folder))
    return word


def _files(path: Path) -> tuple[Path, ...]:
    return (path, path.with_name(path.name + ".exe")) if sys.platform == "win32" else (path,)


def _site_folders(command: Sequence[str]) -> Iterator[Path]:
    """Return the folders of installed packages: those of the executable's environment, then ours."""
    executable = find_command(command)
    if executable is not None:
        for place in (Path(executable), Path(executable).resolve()):
            prefix = place.parent.parent
            yield from (*sorted(prefix.glob("lib/python3*/site-packages")), prefix / "Lib" / "site-packages")
    yield from map(Path, site.getsitepackages())
    if site.ENABLE_USER_SITE:
        yield Path(site.getusersitepackages())


def _cache_folder(command: Sequence[str], workspace: Path) -> Path | None:
    from platformdirs import user_cache_path

    key = hashlib.sha256(str(workspace.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    folder = user_cache_path("starling", appauthor=False) / "servers" / Path(command[0]).stem / key
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
    except OSError as error:
        log.warning("%s can't be made: %s", folder, error)
        return None
    return folder
