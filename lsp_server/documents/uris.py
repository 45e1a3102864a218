"""file: URIs as paths (RFC 8089). Nothing else of a URI is ours to understand."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote

_FILE = re.compile(r"file:(?://([^/]*))?(.*)", re.IGNORECASE | re.DOTALL)
LOCAL = ("", "localhost")


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
