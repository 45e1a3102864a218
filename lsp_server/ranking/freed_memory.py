"""Gives freed memory back to the system.

glibc would keep it: hundreds of megabytes after torch has made or loaded a model.
"""

from __future__ import annotations

import ctypes
import gc
import sys


def give_back_freed_memory() -> None:
    """Collect garbage, then make the C library return its unused memory. Does nothing if the C library is not glibc.

    Loading a model leaves large arrays in reference cycles. After that a call takes 0.3 s; it blocks the interpreter
    for 0.2 s.
    """
    if sys.platform != "linux":
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # not in musl
    if trim is not None:
        gc.collect()
        trim(0)
