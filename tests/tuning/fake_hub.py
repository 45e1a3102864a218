"""A hub of one process: what `huggingface_hub` asks of one to make a repository, upload a folder and fetch it again."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

COMMIT = "0" * 39 + "1"


class FakeHub(ThreadingHTTPServer):
    """`files`: repository -> path -> content. `asked`: the (method, path) of each request."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, dict[str, bytes]] = {}
        self.commits: list[dict[str, Any]] = []
        self.private: dict[str, bool] = {}

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def fake_hub() -> Iterator[FakeHub]:
    with FakeHub() as hub:
        thread = Thread(target=hub.serve_forever, daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: FakeHub  # pyright: ignore[reportIncompatibleVariableOverride]

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            name = "/".join(part for part in (asked.get("organization") or "me", asked["name"].split("/")[-1]))
            self.server.files.setdefault(name, {})
            self.server.private[name] = bool(asked.get("private")) or asked.get("visibility") == "private"
            self._json({"url": f"{self.server.address}/{name}"})
        elif "/preupload/" in self.path:
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            self._json({"files": files})
        elif "/commit/" in self.path:
            name = self.path.removeprefix("/api/models/").partition("/commit/")[0]
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.server.files[name][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                elif line["key"] == "header":
                    self.server.commits.append(line["value"])
            self._json({"commitUrl": f"{self.server.address}/{name}/commit/{COMMIT}", "commitOid": COMMIT})
        else:
            self._json({"type": "yaml", "errors": [], "warnings": []})  # validation of a card

    def do_HEAD(self) -> None:
        self._get(with_body=False)

    def do_GET(self) -> None:
        self._get(with_body=True)

    def _get(self, *, with_body: bool) -> None:
        if self.path.startswith("/api/models/"):
            name = "/".join(self.path.removeprefix("/api/models/").partition("?")[0].split("/")[:2])
            files = self.server.files.get(name)
            if files is None:
                self.send_error(404)
                return
            if "/tree/" in self.path:
                self._json(
                    [
                        {"type": "file", "path": path, "size": len(content), "oid": COMMIT}
                        for path, content in files.items()
                    ]
                )
                return
            self._json({"id": name, "modelId": name, "sha": COMMIT, "private": False, "tags": [],
                        "siblings": [{"rfilename": path} for path in files]})  # fmt: skip
            return
        name, _, rest = self.path.lstrip("/").partition("/resolve/")
        content = self.server.files.get(name, {}).get(rest.partition("/")[2])
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        for header, value in (("X-Repo-Commit", COMMIT), ("ETag", f'"{hash(content):x}"'), ("Content-Length", str(len(content)))):  # fmt: skip
            self.send_header(header, value)
        self.end_headers()
        if with_body:
            self.wfile.write(content)

    def _json(self, content: Any) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
