"""Memory that was freed goes back to the system. glibc keeps it for itself otherwise: hundreds of megabytes after a model is made or loaded by torch."""

from __future__ import annotations

import ctypes
import gc
import sys


def give_back_freed_memory() -> None:
    """Collect garbage, and have the C library return what it holds unused. Does nothing where that is not glibc.

    Loading a model leaves large arrays in reference cycles. Takes 0.3 s after it, of which the interpreter is held for 0.2.
    """
    if sys.platform != "linux":
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # not in musl
    if trim is not None:
        gc.collect()
        trim(0)
