"""What loading a model freed goes back to the system."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from lsp_server.ranking import model_worker
from lsp_server.ranking.freed_memory import give_back_freed_memory

GLIBC = sys.platform == "linux" and hasattr(ctypes.CDLL(None), "malloc_trim")


@pytest.mark.skipif(not GLIBC, reason="glibc's")
def test_freed_memory_is_given_back() -> None:
    script = """
import ctypes
from pathlib import Path
from lsp_server.ranking.freed_memory import give_back_freed_memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

c = ctypes.CDLL(None)
c.malloc.restype, c.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
ctypes.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
blocks = [c.malloc(100_000) for _ in range(1_000)]  # below the size from which on glibc maps each
for block in blocks:
    ctypes.memset(block, 1, 100_000)
for block in blocks[:-1]:  # the last one keeps the heap from shrinking by itself
    c.free(block)
before = resident()
give_back_freed_memory()
print(before - resident())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert int(done.stdout) > 80_000_000


def test_elsewhere_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(ctypes, "CDLL", lambda *_: pytest.fail("loaded a library"))
    give_back_freed_memory()


@pytest.mark.parametrize("adapters", [1, model_worker.KEPT + 1])
def test_a_model_that_was_loaded_or_dropped_leaves_no_freed_memory(
    monkeypatch: pytest.MonkeyPatch, adapters: int
) -> None:
    from tuning.ranking.serving.model import loading

    given_back: list[str] = []
    monkeypatch.setattr(loading, "load_scorer", lambda *_, **__: object())
    monkeypatch.setattr(model_worker, "give_back_freed_memory", lambda: given_back.append(""))
    worker = model_worker.ModelWorker("a base", "")
    with ThreadPoolExecutor(1) as loader:
        for number in range(adapters):
            worker._take(str(number), loader.submit(worker._load, str(number)), loader)  # pyright: ignore[reportPrivateUsage]
    assert len(given_back) == adapters + max(0, adapters - model_worker.KEPT)
