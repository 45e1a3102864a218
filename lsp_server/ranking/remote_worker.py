"""A team's engine as a worker: names scored on another machine, beside the event loop, in time or not at all.

Where the engine is away, refuses, answers nonsense or is slow, the worker is not ready, and tries again by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsp_server.ranking.search_job import SearchJob
from tuning.ranking.serving.remote.errors import RemoteError, RemoteUnreachable

if TYPE_CHECKING:
    from tuning.ranking.serving.model.prompt import Prompt
    from tuning.ranking.serving.remote.engine import RemoteEngine

log = logging.getLogger(__name__)

AGAIN = (1.0, 2.0, 5.0, 15.0, 30.0)  # seconds until the engine is tried again; the last one is repeated
LATE = 3  # lists in a row without a score by their deadline, and the engine counts as slow
CHECKS = 3.0  # deadlines: what the three requests of a check may take
LONGEST = 5.0  # seconds that a search goes on: the user is somewhere else by then

Connect = Callable[[], "RemoteEngine"]


class RemoteWorker:
    """`state` is "connecting", "ready" or "away" (then `reason` says why). `connect` makes the engine's client; it may fail."""

    name = "remote"

    def __init__(self, connect: Connect, deadline: float) -> None:
        """`deadline`: seconds that a list has."""
        self.state = "connecting"
        self.reason: str = ""
        self.deadline = deadline
        self.in_time = self.late = 0  # lists
        self._connect = connect
        self._engine: RemoteEngine | None = None
        self._failures = self._late_in_a_row = 0
        self._connecting: asyncio.Task[None] | None = None
        self._reading: asyncio.Task[None] | None = None
        self._searching: asyncio.Task[None] | None = None
        self._working: SearchJob | None = None
        self._next: tuple[str, str] | None = None  # what is read when the engine has read what it reads now
        self._read = ("", "")

    @property
    def ready(self) -> bool:
        return self.state == "ready"

    def start(self) -> None:
        """Begin connecting; returns at once."""
        self._connecting = asyncio.get_running_loop().create_task(self._keep_connected())

    def serving(self, adapter: str) -> str:
        """The model that the engine would be asked for: the one that is called like the adapter that is installed, or the team's."""
        assert self._engine is not None
        return self._engine.model_for(_name(adapter))

    def advance(self, key: str, prompt: Prompt, adapter: str, *, ahead: bool = False) -> None:
        """Let the engine read the text up to here. A newer text waits for the older one, and replaces what waits."""
        if self._engine is None or not self.ready:
            return
        self._next = (prompt.text, self.serving(adapter))
        if self._reading is None or self._reading.done():
            self._reading = self._run(self._read_on(self._engine))

    def search(self, job: SearchJob) -> None:
        """Score the names of this job; an older one is given up."""
        if self._engine is None or not self.ready or job.finished or job is self._working:
            return
        if self._searching is not None:
            self._searching.cancel()
        self._working, job.served_by = job, self.serving(job.adapter)
        self._searching = self._run(self._score(self._engine, job))

    def answered(self, *, in_time: bool) -> None:
        """A list's deadline came: were there any scores?"""
        if in_time:
            self.in_time += 1
            self._late_in_a_row = 0
            return
        self.late += 1
        self._late_in_a_row += 1
        if self._late_in_a_row >= LATE and self.ready:
            self._lose(f"slow: {LATE} lists in a row had no score within {self.deadline * 1000:.0f} ms")

    def status(self) -> Mapping[str, Any]:
        """For `starling/status`."""
        return {
            "state": self.state,
            "reason": self.reason,
            "model": self._engine.model if self._engine is not None else "",
            "inTime": self.in_time,
            "late": self.late,
        }

    def _run(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(self._watched(work))

    async def _watched(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except RemoteError as error:
            self._lose(str(error))
        except Exception as error:  # a failure affects only this ranking
            log.exception("the engine could not be asked")
            self._lose(str(error))

    async def _read_on(self, engine: RemoteEngine) -> None:
        while self._next is not None:
            now, self._next = self._next, None
            if now != self._read:
                text, model = now
                await engine.read(engine.tokens.prompt(text), model)
                self._read = now

    async def _score(self, engine: RemoteEngine, job: SearchJob) -> None:
        steps = engine.search(job.prompt, job.names, job.exact_scores(), job.served_by or engine.model)
        try:
            async with asyncio.timeout(LONGEST), contextlib.aclosing(steps):
                async for scores, is_certain in steps:
                    job.publish(scores, finished=is_certain)
        except TimeoutError:
            log.info("a search by the engine was given up after %s s", LONGEST)
        finally:
            if self._working is job:
                self._working = None

    def _lose(self, reason: str) -> None:
        """Not ready until the engine was checked anew."""
        if self.state != "away":
            log.warning("the team's engine is not used: %s", reason)
        self.state, self.reason = "away", reason
        for task in (self._reading, self._searching):
            if task is not None and task is not asyncio.current_task():
                task.cancel()
        self._read, self._next = ("", ""), None
        if self._connecting is None or self._connecting.done():
            self.start()

    async def _keep_connected(self) -> None:
        """Try until the engine answers as it should, and in time."""
        while True:
            if self._failures:
                await asyncio.sleep(AGAIN[min(self._failures, len(AGAIN)) - 1])
            try:
                engine = await self._checked()
            except Exception as error:  # a missing tokenizer or token file is said like an engine that is away
                if not isinstance(error, RemoteError):
                    log.info("the team's engine can't be asked", exc_info=True)
                reason = str(error) or type(error).__name__
            else:
                break
            self._failures += 1
            if reason != self.reason:
                log.warning("the team's engine is not used: %s", reason)
            self.state, self.reason = "away", reason
        self.state, self.reason = "ready", ""
        self._failures = self._late_in_a_row = 0
        log.info("the team's engine is ready: %s", engine.model)

    async def _checked(self) -> RemoteEngine:
        if self._engine is None:
            self._engine = await asyncio.to_thread(self._connect)
        else:
            await asyncio.to_thread(self._engine.read_token)
        engine = self._engine
        await engine.check()
        began = time.monotonic()
        await engine.check()  # now that it is connected and has read what it is asked
        took = time.monotonic() - began
        if took > self.deadline * CHECKS:
            raise RemoteUnreachable(f"slow: a check took {took * 1000:.0f} ms")
        return engine

    async def close(self) -> None:
        """End all that runs."""
        for task in (self._connecting, self._reading, self._searching):
            if task is not None:
                task.cancel()
        if self._engine is not None:
            await self._engine.close()


def _name(adapter: str) -> str:
    """An installed adapter's name; its folder is NAME/VERSION."""
    return Path(adapter).parent.name if adapter else ""
