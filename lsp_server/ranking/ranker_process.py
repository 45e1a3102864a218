"""The ranker process. It holds the syntax trees, the index and the model, and ranks. Started by `ranker_client`.

It exchanges LSP frames over its standard streams. If it is slow or dies, the server process still answers the editor.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from lsp_server.jsonrpc import guard, wire
from lsp_server.jsonrpc.frames import Frames, frame
from lsp_server.ranking.ranker import Ranker
from tuning.ranking.serving.remote.address import remote_of

log = logging.getLogger(__name__)

# Seconds that the model's thread may keep the interpreter. With the default of 0.005, computing signals takes 50 ms
# while the model runs.
SWITCH = 0.0005

NOTIFICATIONS = {
    "starling/open": Ranker.open,
    "starling/configure": Ranker.configure,
    "starling/prepare": Ranker.prepare,
    "starling/look": Ranker.look,
    "textDocument/didOpen": Ranker.did_open,
    "textDocument/didChange": Ranker.did_change,
    "textDocument/didClose": Ranker.did_close,
    "workspace/didChangeWatchedFiles": Ranker.did_change_files,
    "workspace/didChangeWorkspaceFolders": Ranker.did_change_folders,
}


class _Pipe(asyncio.Protocol):
    """Handles the messages of the server process in order."""

    def __init__(self, ranker: Ranker, out: asyncio.WriteTransport) -> None:
        self.closed = asyncio.get_running_loop().create_future()
        self._ranker = ranker
        self._out = out
        self._frames = Frames()
        self._tasks: set[asyncio.Task[None]] = set()

    def data_received(self, data: bytes) -> None:
        for body in self._frames.feed(data):
            try:
                self._message(body)  # type: ignore[arg-type]
            except Exception:  # a failure affects only this message
                log.exception("a message could not be handled")

    def _message(self, body: bytes) -> None:
        envelope = wire.peek(body)
        method = str(envelope.method)
        if method == "starling/ping":
            self._out.write(frame(wire.response(wire.id_of(envelope), None)))
        elif envelope.is_request:
            task = asyncio.get_running_loop().create_task(self._answer(envelope, time.monotonic()))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif method in NOTIFICATIONS:
            NOTIFICATIONS[method](self._ranker, wire.loads(envelope.params))  # type: ignore[arg-type]

    async def _answer(self, envelope: wire.Envelope, arrived: float) -> None:
        result: Any = None
        try:
            if envelope.method == "starling/status":
                result = self._ranker.status()
            else:
                fields: dict[str, Any] = dict(wire.fields(envelope.params))  # type: ignore[arg-type]
                listed = bytes(fields.pop("result"))
                params = {name: wire.loads(raw) for name, raw in fields.items()}
                # Both processes have the same clock, if the system has one for all.
                asked = min(arrived, params["asked"])
                if time.monotonic() - asked < params["deadline"] / 1000:  # otherwise nobody waits any more
                    early = partial(self._early, envelope)
                    result = await self._ranker.rank(params, listed, early, asked)
        except Exception:
            log.exception("a list could not be ranked")
        self._out.write(frame(wire.response(envelope.id, result)))  # type: ignore[arg-type]

    def _early(self, envelope: wire.Envelope, order: dict[str, Any]) -> None:
        self._out.write(frame(wire.dumps({"id": envelope.id, "early": True, "result": order})))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(None)


async def serve(ranker: Ranker) -> None:
    """Serve the server process on stdin and stdout until it closes stdin."""
    loop = asyncio.get_running_loop()
    out = os.dup(1)
    os.dup2(2, 1)  # libraries may print, but not into the pipe
    writer, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, os.fdopen(out, "wb", 0))
    pipe = _Pipe(ranker, writer)
    await loop.connect_read_pipe(lambda: pipe, sys.stdin.buffer)
    await pipe.closed
    ranker.close()


def main() -> None:
    """Run the ranker process."""
    arguments = argparse.ArgumentParser(description="Starling's ranker process; the server starts it.")
    arguments.add_argument("--base", default="")
    arguments.add_argument("--adapter", default="")
    arguments.add_argument("--log-accepted", action="store_true")
    arguments.add_argument("--remote", default="")
    arguments.add_argument("--remote-model", default="")
    arguments.add_argument("--remote-token-file", default="")
    arguments.add_argument("--remote-off", default="")
    given = arguments.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(name)s %(levelname)s %(message)s")
    if sys.platform == "linux":  # closing stdin ends this process too, but not during a long computation
        guard.prctl(guard.PR_SET_PDEATHSIG, signal.SIGKILL)
    sys.setswitchinterval(SWITCH)
    import platformdirs

    cache_dir = Path(platformdirs.user_cache_dir("starling", appauthor=False)) / "index"
    remote = remote_of(given.remote, given.remote_model, given.remote_token_file, given.remote_off)
    ranker = Ranker(
        base=given.base, adapter=given.adapter, cache_dir=cache_dir, log_accepted=given.log_accepted, remote=remote
    )
    asyncio.run(serve(ranker))
    os._exit(0)  # does not wait for threads in a forward pass: they have nothing to save


if __name__ == "__main__":
    main()
