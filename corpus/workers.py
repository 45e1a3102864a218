"""One function over many pieces of work in other processes: of this machine, or of a Ray cluster where one is named.

Takes from the work no more than is soon under way, so that it may be endless. Never lets a process that dies take another's
piece with it, and never drops a piece silently: each comes back once, with what became of it. Connects to nothing and imports
no Ray unless given an address.

WorkersError           carries the problem and what to do about it
  WorkerDied           the process that had the piece died, each time that it was tried
  RayMissing           Ray is not installed
  RayUnreachable       no cluster that can be used answers at the address
"""

from __future__ import annotations

import importlib
import itertools
import logging
import os
import socket
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any, TypeVar, final

T = TypeVar("T")
R = TypeVar("R")

AHEAD = 2  # pieces under way a process
RETRIES = 3  # of a piece whose process or node was lost; with Ray, which loses nodes
PATIENCE = 10  # seconds for a cluster to answer


class WorkersError(Exception):
    """Base of what is wrong with processes, not with the work; carries the problem and what to do."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem} {remedy}")
        self.problem, self.remedy = problem, remedy


@final
class WorkerDied(WorkersError):
    """The process that had the piece died, each time that it was tried."""


@final
class RayMissing(WorkersError):
    """Ray is not installed."""


@final
class RayUnreachable(WorkersError):
    """No cluster that can be used answers at the address."""


def results(
    function: Callable[[T], R], work: Iterable[T], *, jobs: int, ray: str = ""
) -> Iterator[tuple[T, R | Exception]]:
    """Each piece of work with what the function returned or raised, as they end; WorkerDied where its process died.

    `function` is a module's own, or a partial of one; it, the pieces and the results are pickled. It runs in `jobs` spawned
    processes, or on every processor of the cluster at the address `ray` ("auto" for the one that runs here, "local" for
    one of `jobs` processors that ends with the work). Raises RayMissing and RayUnreachable, and what `work` raises.
    """
    return _on_cluster(function, work, jobs, ray) if ray else _in_processes(function, work, jobs)


# This machine


def _in_processes(function: Callable[[T], R], work: Iterable[T], jobs: int) -> Iterator[tuple[T, R | Exception]]:
    queue = iter(work)
    while lost := (yield from _pool(function, queue, jobs, AHEAD * jobs)):
        # Any of them may have been the death of the process: alone, each answers for itself.
        for piece in lost:
            if (yield from _pool(function, iter([piece]), 1, 1)):
                yield piece, WorkerDied("the process that read it died.", "Report it, and leave the source out.")


def _pool(
    function: Callable[[T], R], queue: Iterator[T], jobs: int, most: int
) -> Generator[tuple[T, R | Exception], None, list[T]]:
    """Work until the queue is empty or a process dies; returns what was under way then, with nothing for an empty queue."""
    running: dict[Future[R], T] = {}
    lost: list[T] = []
    # Spawned, not forked: libraries that are loaded here have threads that a fork would lack.
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))
    try:
        while True:
            for piece in itertools.islice(queue, 0 if lost else most - len(running)):
                try:
                    running[pool.submit(function, piece)] = piece
                except BrokenProcessPool:
                    lost.append(piece)
                    break
            if not running:
                return lost
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                piece = running.pop(future)
                try:
                    result = future.result()
                except BrokenProcessPool:
                    lost.append(piece)
                except Exception as error:
                    yield piece, error
                else:
                    yield piece, result
    finally:
        pool.shutdown(cancel_futures=True)


# A cluster


def _on_cluster(
    function: Callable[[T], R], work: Iterable[T], jobs: int, address: str
) -> Iterator[tuple[T, R | Exception]]:
    ray = _connected(jobs, address)
    try:
        task = ray.remote(_call).options(num_cpus=1, max_retries=RETRIES)
        queue = iter(work)
        running: dict[Any, T] = {}
        while True:
            most = AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)))  # nodes come and go
            for piece in itertools.islice(queue, max(0, most - len(running))):
                running[task.remote(function, piece)] = piece
            if not running:
                return
            for reference in ray.wait(list(running))[0]:
                yield running.pop(reference), _outcome(ray, reference)
    finally:
        ray.shutdown()


def _call(function: Callable[[T], R], piece: T) -> R:
    return function(piece)


def _outcome(ray: Any, reference: Any) -> Any:
    """What a task returned or raised. A worker has one task at a time, so that a dead one's is known."""
    gone = (
        ray.exceptions.WorkerCrashedError,
        ray.exceptions.NodeDiedError,
        ray.exceptions.OutOfMemoryError,
        ray.exceptions.ObjectLostError,
    )
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        return error.cause
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
        raise RayMissing("Ray is not installed.", "Run: pip install '.[corpus,ray]'") from None
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
