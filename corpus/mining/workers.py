"""One function over many pieces of work in other processes: of this machine, or of a Ray cluster where one is named.

Takes from the work no more than is soon under way, so that it may be endless. Never lets a process that dies take another's
piece with it, nor one that hangs keep the others waiting, and never drops a piece silently: each comes back once, with what
became of it. Connects to nothing and imports no Ray unless given an address.

WorkersError           carries the problem and what to do about it
  WorkerDied           the process that had the piece died, each time that it was tried
  TimedOut             the piece took longer than one may
  RayMissing           Ray is not installed
  RayUnreachable       no cluster that can be used answers at the address
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import itertools
import logging
import os
import signal
import socket
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from multiprocessing.connection import wait
from typing import Any, TypeVar, final

from corpus.interpreter import install_command
from corpus.mining.limits import SECONDS
from corpus.mining.processes import Died, Worker, portable

T = TypeVar("T")
R = TypeVar("R")

AHEAD = 2  # pieces under way a process
RETRIES = 3  # of a piece whose process or node was lost; with Ray, which loses nodes
PATIENCE = 10  # seconds for a cluster to answer
GRACE = 60  # seconds after which a process is ended that was told to stop, and did not hear


class WorkersError(Exception):
    """Base of what is wrong with processes, not with the work; carries the problem and what to do."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem} {remedy}")
        self.problem, self.remedy = problem, remedy

    def __reduce__(self) -> tuple[type[WorkersError], tuple[str, str]]:
        return type(self), (self.problem, self.remedy)


@final
class WorkerDied(WorkersError):
    """The process that had the piece died, each time that it was tried."""


@final
class TimedOut(WorkersError):
    """The piece took longer than one may."""


@final
class RayMissing(WorkersError):
    """Ray is not installed."""


@final
class RayUnreachable(WorkersError):
    """No cluster that can be used answers at the address."""


def results(
    function: Callable[[T], R], work: Iterable[T], *, jobs: int, ray: str = "", seconds: float = SECONDS
) -> Iterator[tuple[T, R | Exception]]:
    """Each piece of work with what the function returned or raised, as they end; WorkerDied where its process died, TimedOut
    where it took longer than `seconds` by the clock.

    `function` is a module's own, or a partial of one; it, the pieces and the results are pickled. It runs in `jobs` spawned
    processes, which end with this one and with the thread that takes the first result, or on every processor of the cluster
    at the address `ray` ("auto" for the one that runs here, "local" for one of `jobs` processors that ends with the work).
    Raises RayMissing and RayUnreachable, and what `work` raises.
    """
    return _on_cluster(function, work, jobs, ray, seconds) if ray else _in_processes(function, work, jobs, seconds)


# This machine


def _in_processes(
    function: Callable[[T], R], work: Iterable[T], jobs: int, seconds: float
) -> Iterator[tuple[T, R | Exception]]:
    queue = iter(work)
    while True:
        died, unread = yield from _pool(function, queue, jobs, AHEAD, seconds)
        if not died:
            return
        for piece in died:  # of memory that others used, perhaps: alone, it answers for itself
            again, _ = yield from _pool(function, iter([piece]), 1, 1, seconds)
            if again:
                yield piece, WorkerDied("the process that read it died.", "Report it, and leave the source out.")
        queue = itertools.chain(unread, queue)


def _pool(
    function: Callable[[T], R], queue: Iterator[T], jobs: int, ahead: int, seconds: float
) -> Generator[tuple[T, R | Exception], None, tuple[list[T], list[T]]]:
    """Work until the queue is empty or a process dies. Returns the pieces whose processes died, and those that were taken from
    the queue and not begun."""
    pool: list[Worker[T, R]] = []
    died: list[T] = []
    unread: deque[T] = deque()

    def given_up(worker: Worker[T, R]) -> T:
        """The piece that a process was at, when it is put down; what it had not begun on goes back."""
        worker.stop()
        pool.remove(worker)
        piece = worker.pieces.popleft()
        unread.extendleft(reversed(worker.pieces))
        return piece

    try:
        while True:
            while not died and (free := _free(pool, jobs, ahead)) is not None:
                taken = [unread.popleft()] if unread else list(itertools.islice(queue, 1))
                if not taken:
                    break
                if free == len(pool):
                    pool.append(Worker(function, seconds))
                pool[free].give(taken[0])
            busy = [worker for worker in pool if worker.pieces]
            if not busy:
                return died, list(unread)
            ready = wait([worker.connection for worker in busy], max(0.0, min(worker.left() for worker in busy)))
            for worker in [worker for worker in busy if worker.connection in ready]:
                try:
                    result = worker.take()
                except Died:
                    died.append(given_up(worker))
                    continue
                if result is not None:
                    yield result
            for worker in [worker for worker in pool if worker.pieces and worker.overdue()]:
                yield given_up(worker), _timed_out(seconds)
    finally:
        for worker in pool:
            worker.stop()


def _free(pool: Sequence[Worker[T, R]], jobs: int, ahead: int) -> int | None:
    """The number of the process with the fewest pieces, perhaps of one that is yet to start; None where all have enough."""
    counts = [len(worker.pieces) for worker in pool] + [0] * (len(pool) < jobs)
    fewest = min(counts)
    return counts.index(fewest) if fewest < ahead else None


def _timed_out(seconds: float) -> TimedOut:
    return TimedOut(f"took longer than {seconds:,.0f} s.", "Leave the source out, or allow it more with --seconds.")


# A cluster


def _on_cluster(
    function: Callable[[T], R], work: Iterable[T], jobs: int, address: str, seconds: float
) -> Iterator[tuple[T, R | Exception]]:
    ray = _connected(jobs, address)
    try:
        task = ray.remote(_call).options(num_cpus=1, max_retries=RETRIES)
        sent = ray.put(function)  # once, not with every piece
        queue = iter(work)
        running: dict[Any, T] = {}
        while True:
            most = AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)))  # nodes come and go
            for piece in itertools.islice(queue, max(0, most - len(running))):
                running[task.remote(sent, piece, seconds)] = piece
            if not running:
                return
            for reference in ray.wait(list(running))[0]:
                yield running.pop(reference), _outcome(ray, reference)
    finally:
        ray.shutdown()


class _Stop(BaseException):
    """Told to a piece that takes too long; no handler of ordinary errors on its way out stops it."""


def _call(function: Callable[[T], R], piece: T, seconds: float) -> R | Exception:
    """One task: what the function returned or raised. The driver can't know when it begins, so the limit is kept here."""
    try:
        with _limited(seconds):
            return function(piece)
    except _Stop:
        return _timed_out(seconds)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        return portable(error)


@contextlib.contextmanager
def _limited(seconds: float) -> Generator[None]:
    """Raise _Stop after the time. A process that hangs outside of Python does not hear that, and ends a little later: Ray
    then tries the piece again, as it does whenever a process dies."""

    def stop(*_: object) -> None:
        raise _Stop

    with open(os.devnull, "w") as nowhere:  # noqa: PTH123
        faulthandler.dump_traceback_later(seconds + GRACE, file=nowhere, exit=True)
        heard = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
        before = signal.signal(signal.SIGALRM, stop) if heard else None
        try:
            if heard:
                signal.setitimer(signal.ITIMER_REAL, seconds)
            yield
        finally:
            if heard:
                signal.setitimer(signal.ITIMER_REAL, 0)
                signal.signal(signal.SIGALRM, before)
            faulthandler.cancel_dump_traceback_later()


def _outcome(ray: Any, reference: Any) -> Any:
    """What became of a task. A worker has one task at a time, so that a dead one's is known."""
    gone = (
        ray.exceptions.WorkerCrashedError,
        ray.exceptions.NodeDiedError,
        ray.exceptions.OutOfMemoryError,
        ray.exceptions.ObjectLostError,
    )
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        return error.cause or error
    except gone as error:
        problem = f"the process that read it died {1 + RETRIES} times ({type(error).__name__})."
        return WorkerDied(problem, "Report it, and leave the source out.")


def _connected(jobs: int, address: str) -> Any:
    """Ray, connected; a cluster of our own ("local") has no dashboard and listens on the loopback interface alone."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    own: dict[str, Any] = {}
    if address == "local":
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # else Ray takes another address for 127.0.0.1
        own = {"num_cpus": jobs, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    try:
        ray: Any = importlib.import_module("ray")
    except ImportError:
        raise RayMissing("Ray is not installed.", f"Run: {install_command('corpus,ray')}") from None
    host, _, port = address.rpartition(":")
    try:
        if host and port.isdecimal() and "://" not in host:
            # Ray would wait for minutes, and then end this process.
            socket.create_connection((host, int(port)), PATIENCE).close()
        ray.init(address, log_to_driver=False, logging_level=logging.WARNING, **own)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        problem = f"no Ray cluster can be used at {address} ({error})."
        raise RayUnreachable(
            problem, "Start one, give it and this run the same token (docs/at-scale.md), or leave --ray out."
        ) from error
    return ray
