"""Runs a piece of code that would hang if it were wrong: in a process of its own, which is given a minute."""

from __future__ import annotations

import subprocess
import sys


def run_apart(script: str, *arguments: object) -> list[str]:
    """The lines that a script prints; fails where it does not end."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
