"""Weights in the layout that the runtime's kernels read, on disk, so that all processes of a machine share one copy of them.

When ONNX Runtime loads a graph, it rearranges the weights, into memory of the process: as much as the weights take. It
can save the rearranged weights beside the others and map them the next time. Such a file is for one kind of processor and one
version of the runtime: `machine` tells them apart.
"""

from __future__ import annotations

import platform
from pathlib import Path

from tuning.ranking.serving.model.errors import ScorerMissing
from tuning.ranking.serving.model.llama_graph import SMALL

CPU_INFO = Path("/proc/cpuinfo")  # Linux
INSTRUCTIONS = ("flags", "features")  # what it calls the instruction sets of a processor: x86, Arm


def machine() -> str:
    """What decides about the layout: the processor's instruction sets and the version of the runtime."""
    import onnxruntime

    described = [onnxruntime.__version__, platform.machine(), platform.processor()]
    if CPU_INFO.is_file():
        lines = CPU_INFO.read_text("utf-8", errors="replace").splitlines()
        described += [line for line in lines if line.casefold().startswith(INSTRUCTIONS)][:1]
    return " ".join(described)


def prepack(graph: Path, to: Path, weights: Path) -> None:
    """Write the optimised `graph` to the file `to`, and its weights to `weights` in the same folder. `graph` is in another one.

    Raises ScorerMissing where it can't be made, also where the disk is full.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.optimized_model_filepath = str(to)
    for key, value in {
        "session.save_external_prepacked_constant_initializers": "1",
        "session.optimized_model_external_initializers_file_name": weights.name,
        "session.optimized_model_external_initializers_min_size_in_bytes": str(SMALL),
    }.items():
        options.add_session_config_entry(key, value)
    try:
        onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the library's own errors share no class
        raise ScorerMissing(f"{to} can't be written: {error}") from error
