"""The machine as Starling sees it: Python, memory, the index's folder, the log's."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import platformdirs

from lsp_server import __version__
from lsp_server.logs import log_folder
from starling_lsp.findings import Finding

LITTLE = 700_000_000  # bytes: what server, index and model take together on a large workspace


def machine() -> Finding:
    """Version, Python, cores and memory."""
    free = free_memory()
    short = free is not None and free < LITTLE
    memory = "" if free is None else f", {megabytes(free)} of memory free"
    return Finding(
        what="Starling",
        found=f"{__version__}, Python {platform.python_version()}, {os.cpu_count()} cores{memory}",
        remedy="little memory for the model: use --ranker signals" if short else "",
    )


def index() -> Finding:
    """What is kept of workspaces, so that a restart need not read them again."""
    folder = Path(platformdirs.user_cache_dir("starling", appauthor=False)) / "index"
    count = sum(1 for _ in folder.iterdir()) if folder.is_dir() else 0
    if not count:
        return Finding(
            what="index", found=f"none yet: it is made of a workspace's files when one is opened, in {folder}"
        )
    spaces = "1 workspace" if count == 1 else f"{count} workspaces"
    return Finding(what="index", found=f"of {spaces}, {megabytes(size_of(folder))} in {folder}")


def logs() -> Finding:
    """The log's folder, which must be writable."""
    folder = log_folder()
    writable = os.access(_existing(folder), os.W_OK)
    return Finding(
        what="log files",
        found=str(folder),
        remedy="" if writable else "the folder is not writable, so logs go to stderr only: change its permissions",
    )


def resident_memory() -> int | None:
    """Bytes of this process in memory; None where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return None


def free_memory() -> int | None:
    """Bytes that programs can still have; None where the system does not say."""
    try:
        fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, ValueError, KeyError):
        return None


def size_of(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def megabytes(size: int) -> str:
    """A size in plain words."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def _existing(folder: Path) -> Path:
    """The folder, or its nearest parent that exists."""
    while not folder.exists():
        folder = folder.parent
    return folder
