"""How Starling starts Python for itself: with its own modules and those installed beside it, and no others.

Not those of the current folder, which is a workspace's, nor of PYTHONPATH, which may name `numpy` or `corpus` too. The
variable itself stays, for wrapped servers and what they start.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = str(Path(__file__).resolve().parent.parent)  # where our packages lie

# Our packages may lie in a checkout that nothing but the current folder or PYTHONPATH made importable.
_START = """\
import runpy, sys
root, module = sys.argv[1:3]
del sys.argv[1:3]
if root not in sys.path:
    sys.path.insert(0, root)
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


def module_command(module: str, *arguments: str) -> list[str]:
    """The command that runs a module as `python -m` would."""
    return [sys.executable, "-E", "-P", "-c", _START, ROOT, module, *arguments]
