"""The thread in which the model runs. It reads the text ahead while the user types, and scores names on request.

A newer job replaces an older one, because only what the user does now matters. The thread also loads the runtime.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from lsp_server.ranking.freed_memory import give_back_freed_memory
from lsp_server.ranking.search_job import SearchJob

if TYPE_CHECKING:
    from tuning.ranking.serving.model.prompt import Prompt
    from tuning.ranking.serving.model.scorer import Scorer

log = logging.getLogger(__name__)

BACKGROUND = 15  # nice value of work that nobody waits for: it must not delay the user's typing
SCORING = 3  # nice value of work with a deadline: the wrapped server and the editor come first
GUESSES = 3  # forward passes over likely tokens before there is a list: more of them gave nothing
KEPT = 2  # maximum number of loaded models: the base with different adapters


def yield_to_others(niceness: int = BACKGROUND) -> None:
    """Lower the priority of the calling thread. Only Linux has priorities per thread; elsewhere nothing changes."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)


class ModelWorker(threading.Thread):
    """`state` is "loading", "ready" or "failed" (then `reason` says why).

    A requested adapter is loaded in the background; until then a loaded model is used. An adapter that can't be loaded
    is logged, and the base is used without an adapter.
    """

    def __init__(self, base: str, adapter: str) -> None:
        super().__init__(name="model", daemon=True)
        self.state, self.reason = "loading", ""
        self._base, self._first = base, adapter
        self._scorers: OrderedDict[str, Scorer] = OrderedDict()  # by adapter; the last used is at the end
        self._failed: set[str] = set()
        self._loading: tuple[str, Future[Scorer]] | None = None
        self._wake = threading.Condition()
        self._advance: tuple[str, Prompt, str, bool] | None = None
        self._search: SearchJob | None = None
        self._working: SearchJob | None = None

    @property
    def ready(self) -> bool:
        return self.state == "ready"

    def serving(self, adapter: str) -> str:
        """Return the adapter that would be used now for a job with `adapter`: the same one, or its replacement."""
        adapter = "" if adapter in self._failed else adapter
        loaded = tuple(self._scorers)
        return adapter if adapter in loaded or not loaded else loaded[-1]

    def advance(self, key: str, prompt: Prompt, adapter: str, *, ahead: bool = False) -> None:
        """Read the text up to here when there is nothing more urgent. `ahead`: see `Scorer.advance`."""
        with self._wake:
            self._advance = (key, prompt, adapter, ahead)
            self._wake.notify()

    def search(self, job: SearchJob) -> None:
        """Score the names of this job before anything else."""
        with self._wake:
            if not job.finished and job is not self._working:
                self._search = job
                self._wake.notify()

    def run(self) -> None:
        # A thread can't raise its priority again, so models are loaded in another thread.
        with ThreadPoolExecutor(1, "model loader", initializer=yield_to_others) as loader:
            for adapter in dict.fromkeys((self._first, "")):
                self._take(adapter, loader.submit(self._load, adapter), loader)
                if self._scorers:
                    break
            else:  # missing library, missing or broken base
                self.state = "failed"
                log.warning("no model: lists are ranked by signals only: %s", self.reason)
                return
            yield_to_others(SCORING)
            self.state = "ready"
            log.info("model ready")
            while True:
                self._next(loader)

    def _next(self, loader: ThreadPoolExecutor) -> None:
        with self._wake:
            while self._search is None and self._advance is None:
                self._wake.wait()
            job, advance = self._search, self._advance
            self._search = self._advance = None
            self._working = job
        try:
            if job is not None:
                scorer = self._scorer(job.adapter, loader)
                job.served_by = next(reversed(self._scorers))
                self._work(scorer, job)
            elif advance is not None:
                key, prompt, adapter, ahead = advance
                scorer = self._scorer(adapter, loader)
                scorer.advance(key, prompt, should_stop=self._interrupted, ahead=ahead, guesses=GUESSES)
        except Exception:  # a failure affects only this ranking
            log.exception("the model could not score")
        with self._wake:
            self._working = None

    def _scorer(self, adapter: str, loader: ThreadPoolExecutor) -> Scorer:
        """Return the model with this adapter; while it is being loaded, the model that was used last."""
        if self._loading is not None and self._loading[1].done():
            self._take(*self._loading, loader)
            self._loading = None
        adapter = "" if adapter in self._failed else adapter
        if adapter not in self._scorers and adapter not in self._failed and self._loading is None:
            self._loading = adapter, loader.submit(self._load, adapter)
        which = self.serving(adapter)
        self._scorers.move_to_end(which)
        return self._scorers[which]

    def _take(self, adapter: str, loaded: Future[Scorer], loader: ThreadPoolExecutor) -> None:
        try:
            scorer = loaded.result()
        except Exception as error:
            self._failed.add(adapter)
            self.reason = str(error)
            log.warning("%s can't be loaded: %s", f"the adapter {adapter}" if adapter else "the base", error)
            return
        self._scorers[adapter] = scorer
        while len(self._scorers) > KEPT:
            self._scorers.popitem(last=False)
            loader.submit(give_back_freed_memory)
        log.info("model with %s ready", adapter or "no adapter")

    def _load(self, adapter: str) -> Scorer:
        from tuning.ranking.serving.model import loading

        allowed = bool(self._base)  # the user may have given a hub id
        scorer = loading.load_scorer(self._base, adapter=adapter, allow_download=allowed)
        give_back_freed_memory()  # now, because nobody waits for this model yet: it blocks the interpreter for 0.2 s
        return scorer

    def _interrupted(self) -> bool:
        return self._search is not None or self._advance is not None

    def _work(self, scorer: Scorer, job: SearchJob) -> None:
        search = scorer.search(job.key, job.prompt, job.names, job.exact_scores())
        while True:
            finished = search.step()
            job.publish(search.scores(), finished=finished)
            if finished or self._search is not None or self._has_moved_on(job):
                search.close()
                return

    def _has_moved_on(self, job: SearchJob) -> bool:
        """Whether the author is elsewhere already, and no list waits for this job."""
        advance = self._advance
        return not job.awaited and advance is not None and advance[:2] != (job.key, job.prompt)
