"""Where log lines go: stderr and a rotating file in the user's log folder. Never stdout, which is the editor's."""

from __future__ import annotations

import logging
import logging.handlers
import os
import sys
from pathlib import Path

import platformdirs

FORMAT = "%(asctime)s %(process)d %(name)s %(levelname)s %(message)s"
MAX_BYTES = 2_000_000
KEPT_FILES = 3


def log_file() -> Path:
    return Path(platformdirs.user_log_dir("starling", appauthor=False)) / "starling.log"


def to_stderr_and_file() -> None:
    """Set logging up. A home that can't be written costs the file and nothing else."""
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    missing = ""
    try:
        path = log_file()
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handlers.append(_Private(path, maxBytes=MAX_BYTES, backupCount=KEPT_FILES, encoding="utf-8", delay=False))
    except OSError as error:
        missing = str(error)
    logging.basicConfig(level=os.environ.get("STARLING_LOG", "INFO").upper(), format=FORMAT, handlers=handlers)
    logging.raiseExceptions = False  # an editor that closed our stderr is no reason to print about it
    if missing:
        logging.getLogger(__name__).warning("no log file: %s", missing)


class _Private(logging.handlers.RotatingFileHandler):
    """Readable by its owner alone: log lines name files."""

    def _open(self):  # type: ignore[no-untyped-def]
        stream = super()._open()
        Path(self.baseFilename).chmod(0o600)
        return stream
