"""How each wrapped server is run over somebody else's sources: `corpus/languages/<id>/replay.toml`. Data only.

    [basedpyright]
    dependencies = "pip"                                    # how what the sources need is brought: see corpus.lists.dependencies
    not_brought = ["torch"]                                 # names left out of it
    settings = { python = { analysis = {…} } }              # what it is told where it asks for its configuration
    options = {…}                                           # initializationOptions
    left_out = ["pom.xml"]                                  # names of files that the server is not shown
    source_root = '^package\\s+([\\w.]+)'                     # a file's own word for its place below a source root
    included = '^#include "([\\w./]+)"'                      # what a file calls another file by: a path below an include folder
    arguments = ["--log=error"]                             # added to its own command
    above = { ".clangd" = "…" }                             # files that it reads, written in a folder above the sources

Within settings and options, "{dependencies}" is the folder with what was installed, "{source_roots}" a list of folders, and
"{module:NAME}" the folder of a node module that stands beside the server's own. In the files `above`, "{include_folders:FLAG}" is
FLAG and an include folder, for each of them: strings in JSON, with commas between them.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from corpus.syntax.language import FOLDER

FILE = "replay.toml"
MODULE = re.compile(r"\{module:([\w@/-]+)\}")
FOLDERS = re.compile(r"\{include_folders:([\w-]+)\}")


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How one server is run. All empty: as it comes."""

    dependencies: str = ""
    not_brought: Sequence[str] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    source_root: str = ""
    included: str = ""
    arguments: Sequence[str] = ()
    above: Mapping[str, str] = field(default_factory=dict)
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


def include_folders(root: Path, pattern: str, suffixes: tuple[str, ...], most: int = 40) -> list[str]:
    """Folders below `root`, relative to it, in which files are found by the paths that other files include them by; the commonest first.

    A file that is found from the including file's own folder says nothing of others.
    """
    if not pattern:
        return []
    compiled = re.compile(pattern.encode(), re.MULTILINE)
    files = [path for path in sorted(root.rglob("*")) if path.name.endswith(suffixes) and path.is_file()]
    named: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    for path in files:
        named[path.name].append(path.relative_to(root).parts)
    found: Counter[str] = Counter()
    for path in files:
        for included in set(compiled.findall(path.read_bytes())):
            parts = tuple(included.decode("utf-8", "replace").split("/"))
            if path.parent.joinpath(*parts).is_file():
                continue
            found.update(
                "/".join(there[: -len(parts)]) or "." for there in named[parts[-1]] if there[-len(parts) :] == parts
            )
    return [folder for folder, _ in sorted(found.items(), key=lambda item: (-item[1], item[0]))][:most]


def written_above(rules: Rules, root: Path, folder: Path, suffixes: tuple[str, ...]) -> None:
    """Write the files that the server reads of a folder above the sources."""
    folders = include_folders(root, rules.included, suffixes)

    def flags(found: re.Match[str]) -> str:
        return ", ".join(json.dumps(f"{found[1]}{root / inner}") for inner in folders)

    for name, text in rules.above.items():
        (folder / name).write_text(FOLDERS.sub(flags, text), encoding="utf-8")
