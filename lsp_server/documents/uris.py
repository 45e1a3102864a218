"""file: URIs as paths. Nothing else of a URI is ours to understand."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit


def path_of(uri: str) -> Path | None:
    """The file of a file: URI; None for other schemes."""
    parts = urlsplit(uri)
    if parts.scheme != "file":
        return None
    path = unquote(parts.path)
    return Path(path.lstrip("/") if os.name == "nt" else path)
