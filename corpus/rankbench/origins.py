"""Where RankBench's repositories come from, and how their source is brought back. Connects; runs nothing of them.

    pypi:NAME==VERSION      a wheel: an sdist would have to be built to be downloaded with pip
    npm:NAME@VERSION        the package's tarball
    git:OWNER/NAME@COMMIT   a repository; from a folder of clones where $STARLING_MIRROR names one (OWNER+NAME/repo in it)

OriginError    carries the origin and what to do about it
"""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from corpus.interpreter import pip_command

MIRROR = "STARLING_MIRROR"
HERE = Path(__file__).parent
SECONDS = 600
CHECKOUT = "Run this from a checkout of Starling's repository, with its .venv (make demo)."
GIT = re.compile(r"git:(?P<owner>[\w.-]+)/(?P<name>[\w.-]+)@(?P<commit>[0-9a-f]{40})")
NPM = re.compile(r"npm:(?P<name>(?:@[\w.-]+/)?[\w.-]+)@(?P<version>[\w.+-]+)")
PYPI = re.compile(r"pypi:(?P<name>[\w.-]+)==(?P<version>[\w.+-]+)")


class OriginError(Exception):
    """A source that can't be brought."""

    def __init__(self, origin: str, problem: str, remedy: str) -> None:
        super().__init__(f"{origin}: {problem} {remedy}")
        self.origin = origin


@dataclass(frozen=True, kw_only=True)
class Bench:
    """One language's part of RankBench."""

    language: str
    server: str
    languages: Sequence[str]
    origins: Sequence[str]
    written: Sequence[str]
    each: int = 250  # positions of an origin at most

    @property
    def file(self) -> Path:
        """Where the recorded lists belong."""
        return HERE / f"{self.language}.parquet"

    @property
    def lists(self) -> Path:
        """The recorded lists. Raises OriginError where they are not: an installed package is without them."""
        if not self.file.is_file():
            raise OriginError(str(self.file), "is not here: RankBench's lists are no part of the package.", CHECKOUT)
        return self.file


def benches() -> Mapping[str, Bench]:
    """Every language's part, by its name."""
    tables = tomllib.loads((HERE / "repositories.toml").read_text("utf-8"))
    return {name: Bench(language=name, **table) for name, table in tables.items()}


def home() -> Path:
    """The user's own copy of what was fetched."""
    return Path(platformdirs.user_cache_dir("starling", appauthor=False)) / "rankbench"


def place_of(origin: str) -> str:
    """Where an origin's source is on disk, as `corpus.mining.sources.snapshot` takes it. Raises OriginError where it was not fetched."""
    git = GIT.fullmatch(origin)
    if git is not None:
        return f"{_clone(git)}@{git['commit']}"
    archive = next(iter(sorted(_folder(origin).glob("*"))), None)
    if archive is None:
        raise OriginError(origin, "is not here.", "Run: python -P -m corpus.rankbench fetch")
    return str(archive)


def fetch(origin: str, revisions: Sequence[str] = ()) -> None:
    """Bring an origin's source, of a repository these `revisions` too. Done at once where it is there."""
    git = GIT.fullmatch(origin)
    if git is not None:
        _fetch_git(git, origin, [git["commit"], *revisions])
        return
    folder = _folder(origin)
    if any(folder.glob("*")):
        return
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    npm, pypi = NPM.fullmatch(origin), PYPI.fullmatch(origin)
    if npm is not None:
        command = [
            "npm",
            "pack",
            "--silent",
            "--ignore-scripts",
            "--pack-destination",
            str(folder),
            f"{npm['name']}@{npm['version']}",
        ]
    elif pypi is not None:
        wheel = ("--no-deps", "--only-binary=:all:", f"{pypi['name']}=={pypi['version']}")
        command = pip_command("download", "--quiet", "--disable-pip-version-check", "-d", str(folder), *wheel)
    else:
        raise OriginError(origin, "is no origin.", "It should begin with pypi:, npm: or git:.")
    _run(command, origin, folder)


def _fetch_git(git: re.Match[str], origin: str, revisions: Sequence[str]) -> None:
    clone = _clone(git)
    if not clone.is_dir():
        clone.mkdir(parents=True, mode=0o700)
        _run(["git", "init", "--quiet", "--bare", str(clone)], origin, clone)
    for revision in dict.fromkeys(revisions):
        known = ["git", "-C", str(clone), "cat-file", "-e", f"{revision}^{{tree}}"]
        if subprocess.run(known, capture_output=True, check=False).returncode:
            url = f"https://github.com/{git['owner']}/{git['name']}"
            _run(["git", "-C", str(clone), "fetch", "--quiet", "--depth", "1", url, revision], origin, clone)


def _clone(git: re.Match[str]) -> Path:
    mirror = Path(os.environ.get(MIRROR, "/nowhere")) / f"{git['owner']}+{git['name']}" / "repo"
    return mirror if mirror.is_dir() else home() / "git" / f"{git['owner']}+{git['name']}"


def _folder(origin: str) -> Path:
    return home() / "archives" / origin.replace(":", "-").replace("/", "+")


def _run(command: Sequence[str], origin: str, cwd: Path) -> None:
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, timeout=SECONDS, check=False, text=True)
    except FileNotFoundError as error:
        raise OriginError(origin, f"needs {error.filename}, which is not here.", "Install it.") from error
    except subprocess.TimeoutExpired as error:
        raise OriginError(origin, f"did not come within {SECONDS} s.", "Try again: what came is kept.") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise OriginError(origin, f"could not be fetched ({' '.join(said)}).", "Is there a network? Then try again.")
