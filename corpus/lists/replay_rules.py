"""How each wrapped server is run over somebody else's sources: `corpus/languages/<id>/replay.toml`. Data only.

    [basedpyright]
    dependencies = "pip"                                    # how what the sources need is brought: see corpus.lists.dependencies
    not_brought = ["torch"]                                 # names left out of it
    settings = { python = { analysis = {…} } }              # what it is told where it asks for its configuration
    options = {…}                                           # initializationOptions
    left_out = ["pom.xml"]                                  # names of files that the server is not shown
    source_root = '^package\\s+([\\w.]+)'                     # a file's own word for its place below a source root

Within settings and options, "{dependencies}" is the folder with what was installed, "{source_roots}" a list of folders, and
"{module:NAME}" the folder of a node module that stands beside the server's own.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from corpus.syntax.language import FOLDER

FILE = "replay.toml"
MODULE = re.compile(r"\{module:([\w@/-]+)\}")


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How one server is run. All empty: as it comes."""

    dependencies: str = ""
    not_brought: Sequence[str] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    source_root: str = ""
    left_out: Sequence[str] = ()


def rules_for(server: str) -> Rules:
    """The rules for a preset's name; the empty ones where no language says any."""
    return _known().get(server, Rules())


@cache
def _known() -> Mapping[str, Rules]:
    return {
        name: Rules(**table)
        for file in sorted(FOLDER.glob(f"*/{FILE}"))
        for name, table in tomllib.loads(file.read_text("utf-8")).items()
    }


def filled(value: Any, *, dependencies: Path, source_roots: list[str], server: Path) -> Any:
    """A value with its placeholders resolved; a key whose module is not there is left out."""
    again = lambda inner: filled(inner, dependencies=dependencies, source_roots=source_roots, server=server)  # noqa: E731
    if isinstance(value, dict):
        return {key: found for key, inner in value.items() if (found := again(inner)) is not None}
    if isinstance(value, list):
        return [found for inner in value if (found := again(inner)) is not None]
    if value == "{source_roots}":
        return source_roots
    if not isinstance(value, str):
        return value
    module = MODULE.match(value)
    if module is not None:
        beside = (parent / "node_modules" / module[1] for parent in server.resolve().parents)
        found = next((path for path in beside if path.is_dir()), None)
        return None if found is None else f"{found}{value[module.end() :]}"
    return value.replace("{dependencies}", str(dependencies))


def source_roots(root: Path, pattern: str, suffixes: tuple[str, ...], most: int = 60) -> list[str]:
    """Folders below `root`, relative to it, whose files say so by the name of the package that they are in."""
    if not pattern:
        return []
    compiled = re.compile(pattern.encode(), re.MULTILINE)
    seen: dict[str, None] = {}
    folders: set[Path] = set()
    for path in sorted(root.rglob("*")):
        if path.parent in folders or not path.name.endswith(suffixes) or not path.is_file():
            continue
        folders.add(path.parent)
        found = compiled.search(path.read_bytes()[:20_000])
        package = tuple(found[1].decode("utf-8", "replace").split(".")) if found is not None else ()
        parts = path.parent.relative_to(root).parts
        if package and parts[-len(package) :] == package:
            seen["/".join(parts[: -len(package)]) or "."] = None
    return list(seen)[:most]
