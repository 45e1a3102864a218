"""What a project says that it needs, brought from its language's registry for a language server to read.

Reads the project's lists as data and hands names and versions to the installer: nothing of the project is run, no package's
script either, and nothing comes from an address that the project names. Connects; call it only where that was asked for.
"""

from __future__ import annotations

import ast
import configparser
import hashlib
import json
import re
import shutil
import subprocess
import tempfile
import time
import tomllib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpus.interpreter import pip_command

SECONDS = 240.0  # for one project
MOST = 80  # packages asked for
PACKAGES = "packages"  # the folder, beside the sources, of what has no place of its own
NAME = re.compile(r"@?[\w./-]*")
LONGEST = 200  # characters of a name with its version
NODE_PACKAGE = re.compile(r"(?:@[a-z0-9][\w.~-]*/)?[a-z0-9][\w.~-]*")
NODE_VERSION = re.compile(r"\*|latest|[\^~<>=v]*\s*\d[\w.+-]*(?:\s*(?:\|\||-|\s)\s*[\^~<>=v]*\s*\d[\w.+-]*)*")
UNREADABLE = (
    ValueError,
    SyntaxError,
    RecursionError,
    MemoryError,
    configparser.Error,
)  # what parsers raise on odd files


def installed(how: str, project: Path, beside: Path, kept: Path, not_brought: Collection[str] = ()) -> str:
    """Bring what `project` needs into the folder `beside`, above it; returns a line on how it went.

    `how` is a key of INSTALLERS, or "". Projects that name the same things share what is in `kept`.
    """
    if not how:
        return "nothing is looked for"
    installer = INSTALLERS[how]
    named = (name for name in installer.wanted(project) if len(name) <= LONGEST and _bare(name) not in not_brought)
    names = list(dict.fromkeys(named))[:MOST]
    if not names:
        return "none are named"
    kept = kept.absolute()  # the installer works in a folder of its own
    folder = kept / hashlib.sha256(repr((how, sorted(names))).encode()).hexdigest()[:20]
    if not folder.is_dir():
        kept.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = Path(tempfile.mkdtemp(prefix="new-", dir=kept))
        note, is_lasting = _brought(installer, names, temporary)
        (temporary / "note").write_text(note)
        if folder.is_dir():  # another project was quicker
            shutil.rmtree(temporary)
        elif is_lasting:
            temporary.rename(folder)
        else:
            folder = temporary  # the next project tries again
    if (folder / installer.folder).is_dir():
        (beside / installer.folder).symlink_to(folder / installer.folder, target_is_directory=True)
    return (folder / "note").read_text()


def _brought(installer: Installer, names: list[str], to: Path) -> tuple[str, bool]:
    """A line on how it went, and whether it would go the same way again."""
    until = time.monotonic() + SECONDS
    command = [*installer.command(to), "--"]
    try:
        if _run([*command, *names], to, until):
            return f"{len(names)} installed", True
        done = sum(_run([*command, name], to, until) for name in names) if len(names) > 1 else 0
        return f"{done} of {len(names)} installed", True  # one that is not to be had keeps the others away
    except subprocess.TimeoutExpired:
        return f"{len(names)} took more than {SECONDS:.0f} s", False
    except FileNotFoundError as error:
        return f"not installed: {error.filename} is not here", False


# Python


def _python_wanted(project: Path) -> Iterator[str]:
    """Requirements by name and version; addresses, paths and options are left out."""
    from packaging.requirements import InvalidRequirement, Requirement

    for line in _python_lines(project):
        try:
            found = Requirement(line[: 2 * LONGEST])
        except InvalidRequirement:
            continue
        if not found.url:
            extras = f"[{','.join(sorted(found.extras))}]" if found.extras else ""
            yield f"{found.name}{extras}{found.specifier}"


def _python_lines(project: Path) -> Iterator[str]:
    settings = _toml(project / "pyproject.toml")
    yield from _strings(_table(settings, "project").get("dependencies"))
    for name, wanted in _table(settings, "tool", "poetry", "dependencies").items():
        if isinstance(wanted, str) or (isinstance(wanted, dict) and not {"path", "git", "url", "file"} & set(wanted)):
            yield name
    for file in (project / "PKG-INFO", *sorted(project.glob("*.dist-info/METADATA"))):
        required = re.findall(r"^Requires-Dist: (.*)$", _text(file).partition("\n\n")[0], re.MULTILINE)
        yield from (line for line in required if "extra ==" not in line)
    yield from _configured(_text(project / "setup.cfg"))
    yield from _setup_requires(_text(project / "setup.py"))
    for name in ("requirements.txt", "requirements/base.txt", "requirements/requirements.txt"):
        lines = _text(project / name).replace("\\\n", " ").split("\n")
        yield from (line.partition(" #")[0].partition(" --")[0] for line in lines if line[:1] not in "-#")


def _configured(text: str) -> list[str]:
    """The requirements of a setup.cfg."""
    settings = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        settings.read_string(text)
        return settings.get("options", "install_requires", fallback="").split("\n")
    except UNREADABLE:
        return []


def _setup_requires(text: str) -> Iterator[str]:
    """The strings of `install_requires` and of lists with such a name in a setup.py, which is parsed and not run."""
    try:
        tree = ast.parse(text)
    except UNREADABLE:
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
    quiet = ("--quiet", "--no-input", "--no-warn-conflicts", "--disable-pip-version-check")
    where = ("--upgrade", "--target", str(to / PACKAGES))
    return pip_command("install", "--only-binary=:all:", "--no-compile", *quiet, *where)


# Node


def _node_wanted(project: Path) -> Iterator[str]:
    """Packages of every package.json near the top, those that the project itself holds left out."""
    manifests = [_json(path) for path in _manifests(project)]
    own = {str(manifest.get("name")) for manifest in manifests}
    for manifest in manifests:
        for key in ("dependencies", "peerDependencies", "devDependencies"):
            for name, version in _table(manifest, key).items():
                if (
                    name in own
                    or not NODE_PACKAGE.fullmatch(name)
                    or (key == "devDependencies" and not _has_types(name))
                ):
                    continue
                spelled = version.removeprefix("workspace:") if isinstance(version, str) else ""
                if "npm:" in spelled:  # another package by this name
                    continue
                yield f"{name}@{version}" if spelled == version and NODE_VERSION.fullmatch(spelled) else name


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
    except UNREADABLE:
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
    except UNREADABLE:
        return {}
    return found if isinstance(found, dict) else {}


def _strings(value: object) -> Iterator[str]:
    yield from (item for item in value if isinstance(item, str)) if isinstance(value, list) else ()
