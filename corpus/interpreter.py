"""How Starling starts Python for itself, how it ends when it is told to, and how more of it is installed into that Python.

Python is started with Starling's own modules and those installed beside it, and no others.

Not those of the current folder, which is a workspace's, nor of PYTHONPATH, which may name `numpy` or `corpus` too. The
variable itself stays, for wrapped servers and what they start.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import shlex
import shutil
import signal
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


def end_as_with_ctrl_c() -> None:
    """End this process as Ctrl-C does, servers stopped and folders removed, on SIGTERM and where its terminal closes (SIGHUP).

    A signal that is ignored stays ignored: `nohup` wants that.
    """
    for number in (signal.SIGTERM, getattr(signal, "SIGHUP", None)):
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)


DISTRIBUTION = "starling-lsp"
_OF_EXTRA = re.compile(r"""(?P<name>[\w.-]+).*;.*extra == ["'](?P<extra>[\w-]+)["']""")


def missing(library: str, *, extra: str) -> str:
    """The message for a library that is not installed; `extra` brings it (several with commas between them)."""
    return f"{library} is not installed. Run: {install_command(extra)}"


def install_command(extra: str) -> str:
    """What a user types to install an extra of Starling, by the way in which Starling was installed."""
    prefix = Path(sys.prefix)
    anew = None  # tools that make the whole environment again, and so must be given the extras that are there
    if (prefix / "pipx_metadata.json").is_file():
        anew = tool = ["pipx", "install", "--force"]
    elif (prefix / "uv-receipt.toml").is_file():
        anew = tool = ["uv", "tool", "install", "--force"]
    elif not has_pip():
        tool = ["uv", "pip", "install", "--python", sys.executable]
    else:
        tool = [sys.executable, "-m", "pip", "install"]
    wanted = extra.split(",")
    extras = dict.fromkeys([*(_installed_extras() if anew else ()), *wanted])
    options, requirement = _requirement(",".join(extras))
    words = [*tool, *options, requirement]
    return subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words)


def _installed_extras() -> list[str]:
    """The extras of which every requirement is installed."""
    wanted: dict[str, set[str]] = {}
    for text in importlib.metadata.distribution(DISTRIBUTION).requires or ():
        found = _OF_EXTRA.match(text)
        if found is not None:
            wanted.setdefault(found["extra"], set()).add(found["name"])
    there = {_normal(one.name) for one in importlib.metadata.distributions()}
    return [extra for extra, names in wanted.items() if all(_normal(name) in there for name in names)]


def _normal(name: str) -> str:
    """A distribution's name in the form in which two spellings are equal (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def has_pip() -> bool:
    """Whether this environment has pip; those that uv makes have none.

    Not `importlib.util.find_spec`: setuptools' import hook takes that for the start of pip, and hides its distutils from then on.
    """
    return PathFinder.find_spec("pip") is not None


def pip_command(*arguments: str) -> list[str]:
    """pip with these arguments: this environment's, or where it has none, the one that comes with Python, or one on PATH."""
    if has_pip():
        return module_command("pip", *arguments)
    ensurepip = PathFinder.find_spec("ensurepip")
    bundled = sorted(Path(ensurepip.origin).parent.glob("_bundled/pip-*.whl")) if ensurepip and ensurepip.origin else []
    if bundled:
        return [sys.executable, "-E", "-P", str(bundled[-1] / "pip"), *arguments]
    return [shutil.which("pip3") or shutil.which("pip") or "pip", *arguments]


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
