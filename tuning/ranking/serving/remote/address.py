"""Where a team's engine is, and what it may be sent: https, or http to this machine; a token from a file or the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

TOKEN = "STARLING_REMOTE_TOKEN"  # the environment's variable
LONGEST_TOKEN = 4096  # characters


@dataclass(frozen=True, kw_only=True)
class Remote:
    """`url` is the engine's, `/v1` and what follows left out. `model`: a name that it serves, "" to choose. `off`: folders whose
    documents are never sent.
    """

    url: str
    model: str = ""
    token_file: str = ""
    off: tuple[str, ...] = ()

    @property
    def host(self) -> str:
        """For people: host and port."""
        return urlsplit(self.url).netloc

    @property
    def hostname(self) -> str:
        """The host alone."""
        return urlsplit(self.url).hostname or ""

    def is_off(self, path: str | Path | None) -> bool:
        """Whether a document is kept on this machine. One without a path is."""
        return path is None or (bool(self.off) and _is_below(str(path), self.off))

    def absent(self) -> list[str]:
        """The folders of `off` that are not on this machine; perhaps they are misspelt."""
        return [folder for folder in self.off if not Path(folder).expanduser().is_dir()]

    def token(self) -> str:
        """What the engine asks for; "" for none. Raises OSError, ValueError."""
        return token_in(self.token_file, TOKEN)


def token_in(file: str | Path, variable: str) -> str:
    """What a host asks for: from a file, or without one ("") from a variable of the environment; "" for none. Raises OSError, ValueError."""
    if file:
        path = Path(file).expanduser()
        found = path.read_text("utf-8").strip()
        if not found:
            raise ValueError(f"{path} is empty; it should hold a token")
    else:
        found = os.environ.get(variable, "").strip()
    if len(found) > LONGEST_TOKEN or not found.isascii() or any(not letter.isprintable() for letter in found):
        raise ValueError(f"the token is more than one line of text, or longer than {LONGEST_TOKEN}")
    return found


@lru_cache(maxsize=256)  # asked at every key, and a disk may be slow
def _is_below(path: str, folders: tuple[str, ...]) -> bool:
    real = Path(path).resolve()
    return any(real.is_relative_to(Path(folder).expanduser().resolve()) for folder in folders)


def remote_of(url: str, model: str = "", token_file: str = "", off: str = "") -> Remote | None:
    """The engine that settings name, None for none. `off`: folders, comma-separated."""
    return Remote(url=cleaned(url), model=model, token_file=token_file, off=folders_of(off)) if url else None


def folders_of(off: str) -> tuple[str, ...]:
    """Folders, comma-separated."""
    return tuple(folder.strip() for folder in off.split(",") if folder.strip())


def wrong_folders(off: str) -> str:
    """What is wrong with the folders whose documents are never sent; "" if nothing is."""
    for folder in folders_of(off):
        try:
            is_absolute = Path(folder).expanduser().is_absolute()
        except RuntimeError:  # no such user's home
            is_absolute = False
        if not is_absolute:
            return (
                f"{folder!r} is not absolute; a folder with a comma in its name can't be given, give the one above it"
            )
    return ""


def wrong_url(url: str) -> str:
    """What is wrong with an engine's address; "" if nothing is."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        return str(error)
    if parts.scheme not in ("http", "https") or not host:
        return "it must start with https://, or http:// on this machine, and name a host"
    if parts.username is not None or parts.password is not None:
        return "a name and a password do not belong there; put the token into a file (remoteTokenFile)"
    if parts.query or parts.fragment:
        return "it must end with the path"
    if parts.scheme == "http" and not is_loopback(host):
        return "http is for this machine only: what is sent is code. Use https, or a tunnel to localhost"
    return ""


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by its name alone."""
    if host == "localhost":
        return True
    import ipaddress  # not at the start of every server

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def cleaned(url: str) -> str:
    """The address without the path of its interface."""
    return url.strip().rstrip("/").removesuffix("/v1").rstrip("/")
