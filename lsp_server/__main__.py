"""python -m lsp_server: runs the language server. All other commands belong to `starling` (the package starling_lsp)."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# Editors start servers in the workspace folder. `-m` puts that folder first on the import path, and PYTHONPATH comes before
# installed packages. The workspace is untrusted, so we remove both. A checkout that Starling runs from stays importable.
_HERE = str(Path(__file__).resolve().parent.parent)
_OUTSIDE = {Path(entry).resolve() for entry in (".", *os.environ.get("PYTHONPATH", "").split(os.pathsep))}
sys.path[:] = [entry for entry in sys.path if entry == _HERE or (entry and Path(entry).resolve() not in _OUTSIDE)]
if _HERE not in sys.path:
    sys.path.append(_HERE)

from lsp_server.serving import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
