"""Which model scores a document's names: the team's engine, where one is named and answers in time, else the one on this machine.

The model on this machine is loaded when it is first needed. With an engine, that is when the engine fails, or when a document is open
that the engine is not sent. A default base that is installed later is loaded when it has come.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsp_server.ranking.model_worker import ModelWorker
from lsp_server.ranking.remote_worker import RemoteWorker
from lsp_server.ranking.search_job import Worker
from tuning.ranking.serving.model.model_store import is_installed
from tuning.ranking.serving.remote.address import Remote

if TYPE_CHECKING:
    from tuning.ranking.serving.remote.engine import RemoteEngine

log = logging.getLogger(__name__)

HALF = 0.5  # of a list's time


class ModelChoice:
    """The workers of one ranker process. Used from one event loop."""

    def __init__(self, base: str, remote: Remote | None) -> None:
        self._base, self._to = base, remote
        self._remote: RemoteWorker | None = None
        self._local: ModelWorker | None = None
        self._first = ""  # the adapter that is loaded first
        self._was_missing = False  # the default base, when the model on this machine was loaded

    def start(self, adapter: str, deadline: float) -> None:
        """Begin; returns at once. `deadline`: seconds that a list has."""
        self._first = adapter
        if self._to is None:
            self._start_local()
        elif self._remote is None:
            for folder in self._to.absent():
                log.warning("remoteOff: there is no folder %s", folder)
            self._remote = RemoteWorker(self._connect, deadline)
            self._remote.start()

    def set_deadline(self, seconds: float) -> None:
        if self._remote is not None:
            self._remote.deadline = seconds

    def for_document(self, path: Path | str | None) -> Worker | None:
        """Who scores this document's names now; None where nobody is ready."""
        if self._remote is not None and self._to is not None and not self._to.is_off(path):
            if self._remote.ready:
                return self._remote
            if self._remote.state == "connecting":
                return self._ready_local()
        return self.stand_in() if self._remote is not None else self._ready_local()

    def stand_in(self) -> Worker | None:
        """The model on this machine; it begins to load where it is not there."""
        self._start_local()
        return self._ready_local()

    def patience(self, worker: Worker) -> float:
        """The part of a list's time after which another worker begins too, if this one has no score by then."""
        return HALF if self.beside(worker) is not None else 1.0

    def beside(self, worker: Worker) -> Worker | None:
        """Who can score beside this one now."""
        local = self._ready_local()
        return None if worker is local else local

    def answered(self, worker: Worker, *, in_time: bool) -> None:
        """A list's deadline came."""
        if isinstance(worker, RemoteWorker):
            worker.answered(in_time=in_time)
            if not in_time:
                self._start_local()

    def status(self) -> dict[str, Any]:
        """`model`: the state of the model on this machine. `remote`: of the team's engine, null where none is named."""
        local = self._local
        state = "off" if self._remote is None else "not needed"
        return {
            "model": local.state if local is not None else state,
            "reason": local.reason if local is not None else "",
            "remote": None
            if self._remote is None or self._to is None
            else {"host": self._to.host, **self._remote.status()},
        }

    def _ready_local(self) -> ModelWorker | None:
        if self._local is not None and self._local.state == "failed" and self._was_missing and is_installed():
            self._local = None
            self._start_local()
        return self._local if self._local is not None and self._local.ready else None

    def _start_local(self) -> None:
        if self._local is None:
            self._was_missing = not self._base and not is_installed()
            self._local = ModelWorker(self._base, self._first)
            self._local.start()

    def _connect(self) -> RemoteEngine:
        """In a thread: it reads files and imports much."""
        from tuning.ranking.serving.model.loading import load_tokenizer
        from tuning.ranking.serving.remote.engine import RemoteEngine

        assert self._to is not None
        return RemoteEngine(self._to, load_tokenizer(self._base))
