"""An editor over pipes, for thousands of messages: a thread reads, and counts the replies to each id."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import psutil

from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.frames import Frames, frame

FAKE = Path(__file__).with_name("fake.py")
PATIENCE = 60.0  # seconds for what a machine with nothing else to do has done in one
SCRIPT = """
import ast, importlib, sys
from lsp_server.__main__ import main
for path, value in ast.literal_eval(sys.argv.pop(1)).items():
    module, _, name = path.rpartition(".")
    getattr(importlib.import_module(module), name)  # it is there
    setattr(sys.modules[module], name, value)
sys.exit(main(sys.argv[1:]))
"""
Key = tuple[str, Any]
Message = dict[str, Any]


def fake(**specification: Any) -> list[str]:
    """The command of a fake server with this specification."""
    return [sys.executable, "-E", "-S", str(FAKE), json.dumps(specification)]


def starling(*flags: str, wrapped: Sequence[str] = (), constants: Mapping[str, Any] | None = None) -> list[str]:
    """Starling's command. `constants`: "module.NAME" to a value, for constants that have another one in that process."""
    return [
        sys.executable,
        "-c",
        SCRIPT,
        repr(constants or {}),
        "--stdio",
        *flags,
        *(("--", *wrapped) if wrapped else ()),
    ]


def key(id: Any) -> Key:
    """An id as JSON-RPC compares it: 1 and 1.0 are one, 1 and "1" are two."""
    if isinstance(id, float) and id.is_integer():
        id = int(id)
    return type(id).__name__.replace("float", "int"), id


class Client:
    """Starling and its editor. `home` is the user's home folder; what runs when the block ends is killed."""

    def __init__(self, command: Sequence[str], home: Path) -> None:
        home.mkdir(exist_ok=True)
        env = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**env, "HOME": str(home)},
        )
        self.sent: Counter[Key] = Counter()  # requests by id
        self.replies: Counter[Key] = Counter()
        self.answers: dict[Key, Message] = {}  # the last reply to each id
        self.unreadable: list[bytes] = []
        self._count = 0
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.process.poll() is None:
            kill(psutil.Process(self.process.pid).children(recursive=True))
            self.process.kill()
            self.process.wait()
        self._reader.join(PATIENCE)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()

    # What goes out

    def send(self, data: bytes) -> None:
        assert self.process.stdin is not None
        left = memoryview(data)
        while left:
            left = left[os.write(self.process.stdin.fileno(), left) :]

    def notify(self, method: str, params: Any = None) -> None:
        self.send(frame(wire.notification(method, params)))

    def ask(self, method: str, params: Any = None) -> int:
        """Ask, and go on; returns the id, which is none that a test made up."""
        self._count += 1
        id = 10**9 + self._count
        self.sent[key(id)] += 1
        self.send(frame(wire.request(id, method, params)))
        return id

    def cancel(self, id: Any) -> None:
        self.notify("$/cancelRequest", {"id": id})

    # What comes in

    def _read(self) -> None:
        assert self.process.stdout is not None
        frames = Frames()
        while data := os.read(self.process.stdout.fileno(), 1 << 20):
            with self._news:
                for body in frames.feed(data):
                    self._take(body)
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def _take(self, body: bytes | wire.WireError) -> None:
        message = self._decoded(body)
        if message is None:
            self.unreadable.append(body if isinstance(body, bytes) else str(body).encode())
        elif "method" not in message:
            self.replies[key(message["id"])] += 1
            self.answers[key(message["id"])] = message

    @staticmethod
    def _decoded(body: bytes | wire.WireError) -> Message | None:
        """Read as leniently as odd requests need it: an item that is not UTF-8, or nested deep, comes back as it was sent."""
        if isinstance(body, wire.WireError):
            return None
        try:
            message = json.loads(body.decode("utf-8", "replace"))
        except RecursionError:
            message = {"id": wire.guess(body)[0], "result": "nested too deep"}
        except ValueError:
            return None
        return message if isinstance(message, dict) else None

    def missing(self, ids: Iterable[Any] | None = None, patience: float = PATIENCE) -> list[Key]:
        """Wait for replies to these requests, or to all; returns the ids of those that got none."""
        until = time.monotonic() + patience
        with self._news:
            while True:
                keys = list(self.sent) if ids is None else [key(id) for id in ids]
                found = [one for one in keys if self.replies[one] < self.sent[one]]
                left = until - time.monotonic()
                if not found or left <= 0 or not self._reader.is_alive():
                    return found
                self._news.wait(min(left, 1.0))

    def call(self, method: str, params: Any = None) -> Message:
        """Ask, and wait for the whole reply."""
        id = self.ask(method, params)
        assert not self.missing([id]), f"no reply to {method}; exit code {self.process.poll()}"
        return self.answers[key(id)]

    # A session

    def initialize(self, root: Path | None = None, options: Any = None) -> Message:
        """Ask for it, and say `initialized`."""
        reply = self.call("initialize", hello(root, options))
        self.notify("initialized", {})
        return reply

    def until_ranking(self) -> psutil.Process:
        """Wait until the ranker has its index; returns its process."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            status = self.call("starling/status", {})["result"]
            if status["ranker"] is not None and status["ranker"]["index"]:
                return psutil.Process(status["rankerPid"])
            time.sleep(0.05)
        raise AssertionError("the ranker is not ready")

    def texts(self) -> dict[str, str]:
        """The wrapped server's texts, by URI."""
        return self.call("fake/texts").get("result") or {}

    def ended(self) -> int:
        """The exit code, when all that Starling said has been read."""
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def wrong_counts(self) -> dict[Key, tuple[int, int]]:
        """Ids with another number of replies than requests: (requests, replies).

        A reply to null may be to a message whose id could not be read, so of those there may be more.
        """
        keys = self.sent.keys() | self.replies.keys()
        counts = {one: (self.sent[one], self.replies[one]) for one in keys}
        return {one: n for one, n in counts.items() if n[0] > n[1] or (n[0] < n[1] and one[1] is not None)}


def hello(root: Path | None = None, options: Any = None) -> Message:
    """Params of initialize."""
    params: Message = {"processId": os.getpid(), "rootUri": None, "capabilities": {}}
    if root is not None:
        params |= {"rootUri": root.as_uri(), "workspaceFolders": [{"uri": root.as_uri(), "name": "root"}]}
    return params if options is None else {**params, "initializationOptions": options}


class Usage(NamedTuple):
    """What a process takes of the machine; `memory` in MB."""

    memory: float
    files: int
    threads: int


def usage(process: psutil.Process) -> Usage:
    return Usage(process.memory_info().rss / 1e6, process.num_fds(), process.num_threads())


def left_of(processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    """Those that do not end soon; they are killed."""
    until = time.monotonic() + 10
    while any(map(running, processes)) and time.monotonic() < until:
        time.sleep(0.05)
    left = [process for process in processes if running(process)]
    kill(left)
    return left


def running(process: psutil.Process) -> bool:
    """Whether it has not ended; one that nobody has waited for has."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def processes_of(folder: Path) -> list[psutil.Process]:
    """What runs a command that names something in this folder."""
    found = psutil.process_iter(["cmdline"])
    named = [process for process in found if any(str(folder) in word for word in process.info["cmdline"] or ())]
    return [process for process in named if running(process)]


def kill(processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue  # it has ended
