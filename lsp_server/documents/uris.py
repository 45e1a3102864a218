"""URIs: file: URIs as paths (RFC 8089), and one key for all spellings of a URI (RFC 3986, section 6.2.2)."""

from __future__ import annotations

import os
import re
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote

_FILE = re.compile(r"file:(?://([^/]*))?(.*)", re.IGNORECASE | re.DOTALL)
_DRIVE = re.compile(r"/?([A-Za-z])(?=:)")
LOCAL = ("", "localhost")
KEYS = 4096  # URIs whose key is remembered


@lru_cache(KEYS)
def key_of(uri: str) -> str:
    """The same text for every spelling of a URI, to compare and look up by: never sent to anybody.

    Editors and servers escape differently ("%40" and "@", "c%3A" and "C:"), and both mean one document.
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
    """The file of a file: URI; None for other schemes, and for another host's files where a path can't name them.

    A `#` or `?` that an editor left unescaped is part of the path: LSP's file URIs have neither fragment nor query.
    """
    found = _FILE.fullmatch(uri)
    if found is None:
        return None
    host, path = unquote(found[1] or ""), unquote(found[2])
    if os.name == "nt":
        return Path(f"//{host}{path}" if host.lower() not in LOCAL else path.lstrip("/"))
    return Path(path) if host.lower() in LOCAL else None
