"""What tests publish and take over: people with homes of their own, small adapters and tables, and a server of files."""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
from collections.abc import Callable, Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from safetensors.numpy import save

from corpus.usage.building import table_of_counts
from corpus.usage.counts import Counts
from tuning.ranking.serving.model import adapter_registry
from tuning.ranking.serving.model.adapter_registry import ADAPTERS, Card, Installed
from tuning.ranking.serving.sharing.contents import file_of
from tuning.ranking.serving.sharing.publication import FILES, INDEX, checked

Answer = Callable[[BaseHTTPRequestHandler], object]
NAME = "base_model.model.model.layers.0.self_attn.q_proj.lora_{}.weight"


def adapter(folder: Path, value: float = 1.0, width: int = 8, **config: Any) -> Path:
    """A folder with a LoRA adapter of one layer, filled with a value."""
    folder.mkdir(parents=True, exist_ok=True)
    about = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "base_model_name_or_path": "/home/ann/models/tiny", **config}
    (folder / "adapter_config.json").write_text(json.dumps(about))
    weights = {
        NAME.format(part): np.full(shape, value, np.float32) for part, shape in (("A", (2, width)), ("B", (width, 2)))
    }
    (folder / "adapter_model.safetensors").write_bytes(save(weights))
    return folder


def table(folder: Path, name: str = "restock", projects: int = 3) -> Path:
    """A folder with a usage table for Python: after `shelf.` comes `name`."""
    folder.mkdir(parents=True, exist_ok=True)
    uses = {"m": {name: 1}, "m shelf": {name: 1}, "m< shelf": {name: 1}}
    table_of_counts(Counts.together([Counts.of_one(uses)] * projects), projects, fewest=1).save(folder / "python.usage")
    return folder


def trained(made: Path, name: str = "team", kind: str = ADAPTERS, **card: Any) -> Installed:
    """Install what was made as training does."""
    given: dict[str, Any] = {
        "base": "",
        "workspaces": ["/srv/ci/shop"],
        "languages": ["python"],
        "made": "2026-01-02T03:04:05+00:00",
    }
    return adapter_registry.install(name, made, Card(**{**given, **card}), kind)


def used_value(name: str = "team") -> float:
    """What the adapter that is used is filled with."""
    installed = adapter_registry.used(name)
    assert installed is not None
    return float(np.frombuffer((installed.folder / "adapter_model.safetensors").read_bytes()[-4:], np.float32)[0])


def version(name: str = "team", kind: str = ADAPTERS) -> int:
    """The version that is used; 0 for none."""
    installed = adapter_registry.used(name, kind)
    return installed.version if installed is not None else 0


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file beneath a folder with its time and bytes: the same where nothing was written."""
    return {
        str(file.relative_to(folder)): (file.stat().st_mtime_ns, file.read_bytes())
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def change_index(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the index as somebody else may have written it."""
    index = json.loads((folder / INDEX).read_text())
    change(index)
    (folder / INDEX).write_text(json.dumps(index))


def republish(folder: Path, name: str, files: dict[str, bytes]) -> None:
    """Publish other bytes of an adapter, as a program that checks nothing may."""
    index = json.loads((folder / INDEX).read_text())
    (row,) = (row for row in index["entries"] if row["name"] == name)
    before = checked(msgspec.Raw(json.dumps(row).encode()))
    for file, data in files.items():
        row["files"][file] = msgspec.to_builtins(file_of(data))
    after = checked(msgspec.Raw(json.dumps(row).encode()))
    shutil.copytree(folder / FILES / before.digest, folder / FILES / after.digest)
    for file, data in files.items():
        (folder / FILES / after.digest / file).write_bytes(data)
    (folder / INDEX).write_text(json.dumps(index))


def only_folder(folder: Path) -> Path:
    """The one folder of files that was published."""
    (found,) = folders(folder)
    return found


def folders(folder: Path) -> list[Path]:
    """The folders of files that were published, and what else lies there."""
    return [one for one in sorted((folder / FILES).iterdir()) if one.name != ".gitattributes"]


class Server:
    """Serves the files of a folder; `answers` has what is done in place of that, by path. `asked`: each request's path and headers."""

    def __init__(self, folder: Path) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
                answer = server.answers.get(self.path) or server.answers.get("")
                if answer is not None:
                    answer(self)
                    return
                file = folder / self.path.lstrip("/")
                if file.is_file():
                    send(self, file.read_bytes())
                else:
                    send(self, b"", 404)

            do_HEAD = do_GET

            def log_message(self, format: str, *_: Any) -> None:
                """A test prints nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._http.server_port}"

    @contextlib.contextmanager
    def running(self) -> Generator[Server]:
        thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            self._http.shutdown()
            self._http.server_close()
            thread.join()


def send(
    handler: BaseHTTPRequestHandler, body: bytes, status: int = 200, length: int | None = None, **headers: str
) -> None:
    """Answer; `length` is what the header says, if it is not the body's."""
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(body) if length is None else length))
    if length is not None and length > len(body):
        handler.close_connection = True
    handler.end_headers()
    if handler.command == "GET":
        with contextlib.suppress(ConnectionError):  # who asked may have heard enough
            handler.wfile.write(body)
