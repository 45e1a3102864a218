"""python -m lsp_server: the language server, and nothing else. Every other command is `starling`'s (starling_lsp)."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# Editors start servers inside the workspace, and `-m` puts that folder first on the import path; PYTHONPATH stands before
# what is installed. Neither may choose our modules. Where Starling runs from a checkout, the checkout stays importable.
_HERE = str(Path(__file__).resolve().parent.parent)
_OUTSIDE = {Path(entry).resolve() for entry in (".", *os.environ.get("PYTHONPATH", "").split(os.pathsep))}
sys.path[:] = [entry for entry in sys.path if entry == _HERE or (entry and Path(entry).resolve() not in _OUTSIDE)]
if _HERE not in sys.path:
    sys.path.append(_HERE)

from lsp_server.serving import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
