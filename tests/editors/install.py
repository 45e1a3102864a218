"""What the VS Code extension is built and tested with, from the npm registry. Done at once where it is there already.

    python -m tests.editors.install client       vscode-client/node_modules, and node and npm in .editors/bin
    python -m tests.editors.install workbench    the same, and code-server in .editors/code-server

code-server's own scripts compile what it needs, so they are run, unlike those of any other package; on Debian they want
libkrb5-dev.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from tests.installing import WHEEL, npm, once, put_node

ROOT = Path(__file__).parent.parent.parent
EDITORS = ROOT / ".editors"  # git ignores it
CLIENT = ROOT / "vscode-client"
BIN = EDITORS / "bin"
CODE_SERVER = "code-server@4.139.1"


def main(what: str) -> None:
    if what not in ("client", "workbench"):
        sys.exit(f"client or workbench, not {what}")
    put_node(BIN)
    once(EDITORS / ".client", (CLIENT / "package.json").read_bytes(), client)
    if what == "workbench":
        if not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))):
            sys.exit("The workbench is tested in Chromium, and there is none: apt-get install chromium (or its like).")
        once(EDITORS / ".workbench", CODE_SERVER.encode(), workbench)


def client() -> None:
    npm(BIN, "install", "--prefix", str(CLIENT), "--ignore-scripts", "--no-package-lock")


def workbench() -> None:
    npm(
        BIN, "install", "--global", "--prefix", str(EDITORS / "code-server"), CODE_SERVER, npm_config_nodedir=str(WHEEL)
    )


if __name__ == "__main__":
    main(" ".join(sys.argv[1:]) or "client")
