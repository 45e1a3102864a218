"""Where the `starling` command starts: keeps other people's modules from taking the place of Starling's own.

Editors start servers in the workspace, and `-m` puts that folder first on the import path; PYTHONPATH stands before what is
installed. Neither may choose our modules, so this is imported before any of them. Where Starling runs from a checkout, the
checkout stays importable. It is a module of its own at the top, because a package would already have been looked for there.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

_HERE = str(Path(__file__).resolve().parent)
_OUTSIDE = {Path(entry).resolve() for entry in (".", *os.environ.get("PYTHONPATH", "").split(os.pathsep))}
sys.path[:] = [entry for entry in sys.path if entry == _HERE or (entry and Path(entry).resolve() not in _OUTSIDE)]
if _HERE not in sys.path:
    sys.path.append(_HERE)


def main() -> int:
    """The command; returns its exit code."""
    from starling_lsp.__main__ import main as command

    return command()
