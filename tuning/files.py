"""Files and folders that are whole or not there."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import time
from collections.abc import Generator
from pathlib import Path

OLD = 86_400.0  # seconds: what a killed process left is that old


@contextlib.contextmanager
def replacing(path: Path) -> Generator[Path]:
    """A file to write that takes `path`'s place at the end, or is removed where writing it failed."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def new_folder(folder: Path) -> Generator[Path]:
    """A folder to fill that is called `folder` at the end, or is removed where filling it failed. Raises OSError, also where one that
    holds something is there by then.
    """
    for left in folder.parent.glob(f".{glob.escape(folder.name)}.*"):
        if time.time() - left.stat().st_mtime > OLD:
            shutil.rmtree(left, ignore_errors=True)
    fresh = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        fresh.mkdir()
        yield fresh
        fresh.replace(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


@contextlib.contextmanager
def replacing_folder(folder: Path) -> Generator[Path]:
    """As `new_folder`, in place of one that is there. Raises OSError."""
    with new_folder(folder) as fresh:
        yield fresh
        shutil.rmtree(folder, ignore_errors=True)
