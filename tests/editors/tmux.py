"""A terminal that a test types into and reads: tmux with a socket and a configuration of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

PAUSE = 0.05  # seconds between two looks at the screen


class Terminal:
    """One program in one window. Everything that it started ends with it."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        folder: Path,
        environment: dict[str, str],
        columns: int = 110,
        lines: int = 34,
    ) -> None:
        found = shutil.which("tmux")
        assert found, "no tmux here: install your system's"
        self._sockets = Path(tempfile.mkdtemp(prefix="starling-tmux-"))  # a socket's path may have 100 letters
        self._tmux = [found, "-f", "/dev/null", "-S", str(self._sockets / "tmux")]
        self._environment = {
            **os.environ,
            **environment,
            "LANG": "C.UTF-8",
            "LC_ALL": "C.UTF-8",
            "TERM": "xterm-256color",
        }
        self._environment.pop("TMUX", None)
        self._size = ["-x", str(columns), "-y", str(lines)]
        self._command, self._folder = list(command), str(folder)

    def __enter__(self) -> Self:
        self._run("new-session", "-d", *self._size, "-c", self._folder, *self._command)
        self._pid = int(self._run("display-message", "-p", "#{pane_pid}"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        subprocess.run([*self._tmux, "kill-server"], env=self._environment, capture_output=True, check=False)
        end = time.monotonic() + 10
        while psutil.pid_exists(self._pid) and time.monotonic() < end:
            time.sleep(PAUSE)
        shutil.rmtree(self._sockets, ignore_errors=True)

    def type(self, text: str) -> None:
        """Type letters as they stand."""
        self._run("send-keys", "-l", text)

    def press(self, *keys: str) -> None:
        """Press keys by tmux's names: Enter, Escape, C-y."""
        self._run("send-keys", *keys)

    def screen(self) -> str:
        return self._run("capture-pane", "-p")

    def until(self, holds: Callable[[str], bool], *, seconds: float = 30.0) -> str:
        """The first screen that holds; fails with the last one."""
        end = time.monotonic() + seconds
        while True:
            screen = self.screen()
            if holds(screen):
                return screen
            assert time.monotonic() < end, f"not seen within {seconds:.0f} s:\n{screen}"
            time.sleep(PAUSE)

    def until_shown(self, *texts: str, seconds: float = 30.0) -> str:
        """The first screen with all of these texts."""
        return self.until(lambda screen: all(text in screen for text in texts), seconds=seconds)

    def _run(self, *words: str) -> str:
        done = subprocess.run(
            [*self._tmux, *words], env=self._environment, capture_output=True, text=True, timeout=10, check=False
        )
        assert done.returncode == 0, f"tmux {words[0]}: {done.stderr}"
        return done.stdout
