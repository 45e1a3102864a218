"""A language server that does what a JSON file says. Standard library only: python tests/fakes/server.py SPEC.json

Keys of the specification, all optional:
  initialize   the initialize result; encoding: its positionEncoding
  completion   the completion result; resolve: "document" echoes with documentation, "echo" echoes
  errors       method -> the error that it is answered with
  hang         methods that get no reply until `fake/release`
  crash_on     methods at which the process ends, in its first `crash_lives` lives (default: all)
  lives        file that gets one byte for each start
  ignore_exit, ignore_eof, ignore_signals
  log          file that gets the body of each message received, one a line
Everything else that is asked is answered with its own params. Notifications `fake/send` {raw} sends a message,
`fake/bytes` {latin1} sends bytes that need be no frame, `fake/crash` ends the process.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any, BinaryIO

CRASHED = 3


class FakeServer:
    def __init__(self, spec: dict[str, Any], source: BinaryIO, sink: BinaryIO) -> None:
        self.spec = spec
        self.source, self.sink = source, sink
        self.hanging: list[dict[str, Any]] = []
        self.life = 1
        if "lives" in spec:
            with Path(spec["lives"]).open("ab") as file:
                file.write(b"x")
            self.life = Path(spec["lives"]).stat().st_size
        self.crash_on = spec.get("crash_on", []) if self.life <= spec.get("crash_lives", 99) else []

    def serve(self) -> None:
        while (body := self.read()) is not None:
            if "log" in self.spec:
                with Path(self.spec["log"]).open("ab") as file:
                    file.write(body + b"\n")
            try:
                self.message(json.loads(body))
            except ValueError:
                self.write({"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "no JSON"}})

    def message(self, message: dict[str, Any]) -> None:
        method, params = message.get("method"), message.get("params")
        if method in self.crash_on or method == "fake/crash":
            print("the fake falls over", file=sys.stderr, flush=True)
            os._exit(CRASHED)
        if method == "fake/send":
            self.frame(params["raw"].encode("utf-8", "surrogatepass"))
        elif method == "fake/bytes":
            self.raw(params["latin1"].encode("latin-1"))
        elif method == "fake/release":
            for held in self.hanging:
                self.write({"jsonrpc": "2.0", "id": held["id"], "result": held.get("params")})
            self.hanging.clear()
        elif method == "exit" and not self.spec.get("ignore_exit"):
            os._exit(0)
        elif method is not None and "id" in message:
            if method in self.spec.get("hang", []):
                self.hanging.append(message)
            elif method in self.spec.get("errors", {}):
                self.write({"jsonrpc": "2.0", "id": message["id"], "error": self.spec["errors"][method]})
            else:
                self.write({"jsonrpc": "2.0", "id": message["id"], "result": self.result(method, params)})

    def result(self, method: str, params: Any) -> Any:
        if method == "initialize":
            capabilities: dict[str, Any] = {"textDocumentSync": 2, "completionProvider": {}}
            if "encoding" in self.spec:
                capabilities["positionEncoding"] = self.spec["encoding"]
            if "resolve" in self.spec:
                capabilities["completionProvider"] = {"resolveProvider": True}
            return self.spec.get("initialize", {"capabilities": capabilities})
        if method == "textDocument/completion":
            return self.spec.get("completion", [])
        if method == "completionItem/resolve" and self.spec.get("resolve") == "document":
            return {**params, "documentation": f"all about {params['label']}"}
        return None if method == "shutdown" else params

    def read(self) -> bytes | None:
        length = -1
        while line := self.source.readline():
            if line == b"\r\n":
                return self.source.read(length)
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        return None

    def write(self, message: dict[str, Any]) -> None:
        self.frame(json.dumps(message, separators=(",", ":")).encode())

    def frame(self, body: bytes) -> None:
        self.raw(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))

    def raw(self, data: bytes) -> None:
        self.sink.write(data)
        self.sink.flush()


def main() -> None:
    spec = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    if spec.get("ignore_signals"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    FakeServer(spec, sys.stdin.buffer, sys.stdout.buffer).serve()
    if spec.get("ignore_eof"):
        threading.Event().wait()


if __name__ == "__main__":
    main()
