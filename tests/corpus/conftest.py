"""A real Ray cluster of two nodes, here, on the loopback interface."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ENVIRONMENT = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # a driver that is told 127.0.0.1 keeps to it
    "RAY_USAGE_STATS_ENABLED": "0",
    "PYTHONPATH": str(Path(__file__).parents[2]),
}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    os.environ.update(ENVIRONMENT)
    from ray.cluster_utils import Cluster

    folder = tempfile.mkdtemp(prefix="ray")  # short: sockets are in it
    monkeypatch.setenv("RAY_TMPDIR", folder)  # where the cluster writes its address, into a folder that has to be there
    Path(folder, "ray").mkdir()
    made = Cluster()
    try:
        for _ in range(2):
            made.add_node(num_cpus=1, node_ip_address="127.0.0.1", include_dashboard=False, temp_dir=folder)
        yield made
    finally:
        made.shutdown()
        shutil.rmtree(folder, ignore_errors=True)
