"""Converts file URIs to paths (RFC 8089), and maps all spellings of a URI to one key (RFC 3986, section 6.2.2)."""

from __future__ import annotations

import os
import re
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote

_FILE = re.compile(r"file:(?://([^/]*))?(.*)", re.IGNORECASE | re.DOTALL)
_DRIVE = re.compile(r"/?([A-Za-z])(?=:)")
LOCAL = ("", "localhost")
KEYS = 4096  # maximum number of cached keys


@lru_cache(KEYS)
def key_of(uri: str) -> str:
    """Return a key that is the same for every spelling of a URI. Used to compare and to look up, never sent.

    Editors and servers escape URIs differently ("%40" and "@", "c%3A" and "C:") but mean the same document.
    """
    scheme, colon, rest = uri.partition(":")
    if not colon:
        return uri
    scheme = scheme.lower()
    found = _FILE.fullmatch(uri)
    if found is None:
        return f"{scheme}:{_decoded(rest)}"
    host, path = _decoded(found[1] or "").lower(), _decoded(found[2])
    drive = _DRIVE.match(path)
    if drive is not None:
        path = f"/{drive[1].lower()}{path[drive.end() :]}"
    return f"file://{'' if host in LOCAL else host}{path}"


def same(one: str, other: str) -> bool:
    """Whether two URIs name one document."""
    return one == other or key_of(one) == key_of(other)


def _decoded(text: str) -> str:
    return unquote(text, errors="surrogateescape")


def path_of(uri: str) -> Path | None:
    """Return the path of a file URI; None for other schemes, and for files of another host that a path can't name.

    A `#` or `?` that an editor did not escape is part of the path: LSP's file URIs have neither fragment nor query.
    """
    found = _FILE.fullmatch(uri)
    if found is None:
        return None
    host, path = unquote(found[1] or ""), unquote(found[2])
    if os.name == "nt":
        return Path(f"//{host}{path}" if host.lower() not in LOCAL else path.lstrip("/"))
    return Path(path) if host.lower() in LOCAL else None
