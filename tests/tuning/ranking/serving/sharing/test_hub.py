"""The hub by its own library, with a server here that answers as the hub does."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tests.tuning.ranking.serving.sharing.publications import Server, send

SCRIPT = """
import sys
from pathlib import Path, PurePosixPath
from tuning.ranking.serving.model.model_store import File
from tuning.ranking.serving.sharing.errors import SharingError
from tuning.ranking.serving.sharing.sources import index_of, source_of, taken

source, repository, out = source_of("hf:team/adapters"), Path(sys.argv[1]), Path(sys.argv[2])
place, file = PurePosixPath("files/0123/x.usage"), File(size=4, sha256=sys.argv[3])

def said(do):
    try:
        print(do())
    except SharingError as error:
        print(f"{type(error).__name__}: {error}")

def take():
    taken(source, place, file, out, lambda count: None)
    return out.read_text()

said(lambda: index_of(source).decode())
said(take)
(repository / place).write_text("longer")
said(take)
(repository / place).unlink()
said(take)
(repository / "starling-adapters.json").unlink()
said(lambda: index_of(source))
"""


@pytest.fixture
def hub(tmp_path: Path) -> Generator[Server]:
    """Has the files of `repository`, at one commit."""
    folder = tmp_path / "repository"
    (folder / "files" / "0123").mkdir(parents=True)
    (folder / "starling-adapters.json").write_text("index")
    (folder / "files" / "0123" / "x.usage").write_text("file")
    server = Server(folder)

    def answer(handler: BaseHTTPRequestHandler) -> None:
        file = folder / handler.path.removeprefix("/team/adapters/resolve/main/")
        if not file.is_file():
            send(handler, b"", 404, X_Error_Code="EntryNotFound")
            return
        body = file.read_bytes()
        send(handler, body, X_Repo_Commit="c" * 40, ETag=f'"{hashlib.sha256(body).hexdigest()}"')

    server.answers[""] = answer
    with server.running():
        yield server


def follow(tmp_path: Path, hub: Server, **variables: str) -> list[str]:
    """What is said of the index and a file; of the file when it is longer, and gone; and of the index when it is gone."""
    sha256 = hashlib.sha256(b"file").hexdigest()
    env = {**os.environ, "HF_HOME": str(tmp_path / "hf"), "HF_ENDPOINT": hub.address, **variables}
    words = [sys.executable, "-c", SCRIPT, str(tmp_path / "repository"), str(tmp_path / "taken"), sha256]
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=True)
    assert not done.stderr
    return done.stdout.splitlines()


def test_a_repository_is_read_with_the_library_s_own_token(tmp_path: Path, hub: Server) -> None:
    index, file, longer, gone, unpublished = follow(tmp_path, hub, HF_TOKEN="hf_s3cret")
    assert (index, file) == ("index", "file")
    assert longer == "EntryRefused: x.usage is longer than the 4 bytes that are taken"
    assert gone == "EntryRefused: files/0123/x.usage is not there"
    assert unpublished.endswith("starling-adapters.json is not there. Was anything published there?")
    told = {headers.get("authorization") for path, headers in hub.asked if path.startswith("/team/")}
    assert told == {"Bearer hf_s3cret"}
    assert not list((tmp_path / "hf").rglob("*.usage"))  # not kept in the library's cache too


def test_its_offline_mode_counts(tmp_path: Path, hub: Server) -> None:
    index, file, *_ = follow(tmp_path, hub, HF_HUB_OFFLINE="1")
    for said in (index, file):
        assert said.startswith("SourceUnreachable: hf:team/adapters could not be reached") and "offline" in said.lower()
    assert not hub.asked
