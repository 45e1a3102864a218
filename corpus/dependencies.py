"""What a project says that it needs, brought from its language's registry for a language server to read.

Reads the project's lists as data and hands names and versions to the installer: nothing of the project is run, no package's
script either, and nothing comes from an address that the project names. Connects; call it only where that was asked for.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SECONDS = 240.0  # for one project
MOST = 80  # packages asked for
PACKAGES = "packages"  # the folder, beside the sources, of what has no place of its own
NAME = re.compile(r"@?[\w./-]*")
REQUIREMENT = re.compile(
    r"\s*([A-Za-z0-9][\w.-]*)\s*(\[[\w,\s.-]*\])?\s*((?:[<>=!~]=?=?\s*[\w.*+!-]+\s*,?\s*)*)(?:;.*)?$"
)
NODE_PACKAGE = re.compile(r"(?:@[a-z0-9~-][\w.~-]*/)?[a-z0-9~-][\w.~-]*")
NODE_VERSION = re.compile(r"[\^~<>=v]*\s*\d[\w.+-]*|\*|latest|[\w.<>=^~|\s-]+")


def installed(how: str, project: Path, beside: Path, kept: Path, not_brought: Collection[str] = ()) -> str:
    """Bring what `project` needs into the folder `beside`, above it; returns a line on how it went.

    `how` is a key of INSTALLERS, or "". Projects that name the same things share what is in `kept`.
    """
    if not how:
        return "nothing is looked for"
    installer = INSTALLERS[how]
    named = (name for name in installer.wanted(project) if _bare(name) not in not_brought)
    names = list(dict.fromkeys(named))[:MOST]
    if not names:
        return "none are named"
    folder = kept / hashlib.sha256(repr((how, sorted(names))).encode()).hexdigest()[:20]
    if not folder.is_dir():
        kept.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = Path(tempfile.mkdtemp(prefix="new-", dir=kept))
        (temporary / "note").write_text(_brought(installer, names, temporary))
        if folder.is_dir():  # another project was quicker
            shutil.rmtree(temporary)
        else:
            temporary.rename(folder)
    if (folder / installer.folder).is_dir():
        (beside / installer.folder).symlink_to(folder / installer.folder, target_is_directory=True)
    return (folder / "note").read_text()


def _brought(installer: Installer, names: list[str], to: Path) -> str:
    until = time.monotonic() + SECONDS
    command = [*installer.command(to), "--"]
    try:
        if _run([*command, *names], to, until):
            return f"{len(names)} installed"
        done = sum(_run([*command, name], to, until) for name in names) if len(names) > 1 else 0
        return f"{done} of {len(names)} installed"  # one that is not to be had keeps the others away
    except subprocess.TimeoutExpired:
        return f"{len(names)} took more than {SECONDS:.0f} s"
    except FileNotFoundError as error:
        return f"not installed: {error.filename} is not here"


# Python


def _python_wanted(project: Path) -> Iterator[str]:
    """Requirements by name and version; addresses, paths and options are left out."""
    for line in _python_lines(project):
        found = REQUIREMENT.match(line)
        if found is not None:
            name, extras, version = found.groups("")
            yield f"{name}{extras.replace(' ', '')}{version.strip().rstrip(',')}"


def _python_lines(project: Path) -> Iterator[str]:
    settings = _toml(project / "pyproject.toml")
    yield from _strings(_table(settings, "project").get("dependencies"))
    yield from _table(settings, "tool", "poetry", "dependencies")
    for file in (project / "PKG-INFO", *sorted(project.glob("*.dist-info/METADATA"))):
        required = re.findall(r"^Requires-Dist: (.*)$", _text(file).partition("\n\n")[0], re.MULTILINE)
        yield from (line for line in required if "extra ==" not in line)
    section = re.search(r"^install_requires\s*=(.*(?:\n[ \t]+.*|\n\s*)*)", _text(project / "setup.cfg"), re.MULTILINE)
    yield from section[1].split("\n") if section is not None else ()
    yield from _setup_requires(_text(project / "setup.py"))
    for name in ("requirements.txt", "requirements/base.txt", "requirements/requirements.txt"):
        yield from (line.partition(" #")[0] for line in _text(project / name).split("\n") if line[:1] not in "-#")


def _setup_requires(text: str) -> Iterator[str]:
    """The strings of `install_requires` and of lists with such a name in a setup.py, which is parsed and not run."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        named = (node.arg or "") if isinstance(node, ast.keyword) else ""
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            named = node.targets[0].id
        if named.lower() in ("install_requires", "requires", "requirements", "required") and isinstance(
            node, ast.keyword | ast.Assign
        ):
            for item in getattr(node.value, "elts", ()):
                if isinstance(item, ast.Constant) and isinstance(item.value, str):
                    yield item.value


def _pip(to: Path) -> list[str]:
    """Wheels only, for this Python: an sdist would run its own setup."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--only-binary=:all:", "--no-compile", "--no-input"]
    return [
        *command,
        "--no-warn-conflicts",
        "--disable-pip-version-check",
        "--upgrade",
        "--target",
        str(to / PACKAGES),
    ]


# Node


def _node_wanted(project: Path) -> Iterator[str]:
    """Packages of every package.json near the top, those that the project itself holds left out."""
    manifests = [_json(path) for path in _manifests(project)]
    own = {manifest.get("name") for manifest in manifests}
    for manifest in manifests:
        for key in ("dependencies", "peerDependencies", "devDependencies"):
            listed = manifest.get(key)
            for name, version in listed.items() if isinstance(listed, dict) else ():
                known = isinstance(version, str) and NODE_VERSION.fullmatch(version.removeprefix("workspace:"))
                if name not in own and NODE_PACKAGE.fullmatch(name) and (key != "devDependencies" or _has_types(name)):
                    yield f"{name}@{version}" if known and not str(version).startswith("workspace:") else name


def _has_types(name: str) -> bool:
    """Of what is used in development only, what code is written against: types and what tests are written with."""
    return name.startswith("@types/") or name in ("vitest", "react", "vue", "chai", "sinon", "tap", "ava", "uvu")


def _manifests(project: Path) -> list[Path]:
    patterns = ("package.json", "*/package.json", "*/*/package.json")
    return [path for pattern in patterns for path in sorted(project.glob(pattern))][:200]


def _npm(to: Path) -> list[str]:
    """Into a folder above the project, where none of its settings count; no script of a package runs."""
    flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--legacy-peer-deps", "--no-save", "--loglevel=error"]
    return ["npm", "install", "--prefix", str(to), *flags]


@dataclass(frozen=True, kw_only=True)
class Installer:
    """How one registry's packages are brought: what a project wants, the command to put it into a folder, and where in there."""

    wanted: Callable[[Path], Iterable[str]]
    command: Callable[[Path], list[str]]
    folder: str


INSTALLERS: Mapping[str, Installer] = {
    "pip": Installer(wanted=_python_wanted, command=_pip, folder=PACKAGES),
    "npm": Installer(wanted=_node_wanted, command=_npm, folder="node_modules"),
}


def _run(command: list[str], folder: Path, until: float) -> bool:
    left = max(0.1, until - time.monotonic())
    return subprocess.run(command, cwd=folder, capture_output=True, timeout=left, check=False).returncode == 0


def _bare(name: str) -> str:
    """A package's name without its version."""
    found = NAME.match(name)
    return found[0].lower() if found is not None else ""


def _text(path: Path) -> str:
    return path.read_text("utf-8", "replace") if path.is_file() and path.stat().st_size < 1_000_000 else ""


def _toml(path: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(_text(path))
    except tomllib.TOMLDecodeError:
        return {}


def _table(settings: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    """The table that the keys lead to; empty where something else stands there."""
    found: Any = settings
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _json(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(_text(path) or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _strings(value: object) -> Iterator[str]:
    yield from (item for item in value if isinstance(item, str)) if isinstance(value, list) else ()
