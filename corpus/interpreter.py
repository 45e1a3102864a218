"""How Starling starts Python for itself, and how more of it is installed into that Python.

Python is started with Starling's own modules and those installed beside it, and no others.

Not those of the current folder, which is a workspace's, nor of PYTHONPATH, which may name `numpy` or `corpus` too. The
variable itself stays, for wrapped servers and what they start.
"""

from __future__ import annotations

import importlib.metadata
import json
import shlex
import subprocess
import sys
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

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


DISTRIBUTION = "starling-lsp"


def missing(library: str, *, extra: str) -> str:
    """The message for a library that is not installed; `extra` brings it (several with commas between them)."""
    return f"{library} is not installed. Run: {install_command(extra)}"


def install_command(extra: str) -> str:
    """What a user types to install an extra of Starling, by the way in which Starling was installed."""
    options, requirement = _requirement(extra)
    prefix = Path(sys.prefix)
    if (prefix / "pipx_metadata.json").is_file():
        tool = ["pipx", "install", "--force"]
    elif (prefix / "uv-receipt.toml").is_file():
        tool = ["uv", "tool", "install", "--force"]
    elif not has_pip():
        tool = ["uv", "pip", "install", "--python", sys.executable]
    else:
        tool = [sys.executable, "-m", "pip", "install"]
    words = [*tool, *options, requirement]
    return subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words)


def has_pip() -> bool:
    """Whether this environment has pip; those that uv makes have none.

    Not `importlib.util.find_spec`: setuptools' import hook takes that for the start of pip, and hides its distutils from then on.
    """
    return PathFinder.find_spec("pip") is not None


def _requirement(extra: str) -> tuple[list[str], str]:
    """(options, requirement) for an installer: this checkout, or where Starling was installed from (PEP 610), or an index."""
    if (Path(ROOT) / "pyproject.toml").is_file():
        return ["-e"], f"{ROOT}[{extra}]"
    origin = importlib.metadata.distribution(DISTRIBUTION).read_text("direct_url.json")
    if not origin:
        return [], f"{DISTRIBUTION}[{extra}]"
    found: dict[str, Any] = json.loads(origin)
    vcs = found.get("vcs_info", {}).get("vcs")
    return [], f"{DISTRIBUTION}[{extra}] @ {vcs + '+' if vcs else ''}{found['url']}"
