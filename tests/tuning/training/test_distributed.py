"""Two processes with half a batch each end where one process with all of it ends."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from tests.tuning.training.bases import run_in
from tuning.checkpoint import WEIGHTS
from tuning.cli import main
from tuning.training import report
from tuning.training.distributed import Group, current

PATIENCE = 300  # seconds: many times what it takes, and less than for ever


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def processes(config: Path, count: int) -> None:
    """What `torchrun` does: the same command, with ranks in the environment and a port that nothing else has used."""
    address = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "WORLD_SIZE": str(count),
        "OMP_NUM_THREADS": "1",
    }
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "tuning", "train", "--quiet", str(config)],
            env={**os.environ, **address, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
        )
        for rank in range(count)
    ]
    try:
        ends = [process.communicate(timeout=PATIENCE) for process in started]
    finally:
        for process in started:
            process.kill()  # one that waits for another that is gone would wait for half an hour
    assert [process.returncode for process in started] == [0] * count, ends


def test_two_processes_are_one(tmp_path: Path) -> None:
    """Each with the whole base, and each with a share of it (FSDP)."""
    kinds = {"alone": "", "together": "", "sharded": "sharded = true"}
    folders = {name: tmp_path / name for name in kinds}
    configs = {name: run_in(folder, kinds[name]) for name, folder in folders.items()}
    assert main(["train", "--quiet", str(configs["alone"])]) == 0
    for name in ("together", "sharded"):
        processes(configs[name], 2)
    alone, *others = (load_file(folder / "out" / WEIGHTS) for folder in folders.values())
    for other in others:
        assert sorted(other) == sorted(alone)
        for name, tensor in alone.items():
            assert torch.allclose(other[name], tensor, rtol=0, atol=1e-5), name
    for folder in folders.values():
        steps = [line["step"] for line in report.read(folder / "out" / report.METRICS)]
        assert steps == sorted(set(steps))  # one process writes


def test_a_process_alone_is_a_group_of_one() -> None:
    group = current()
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.grad = torch.ones(2)
    group.sum_gradients([parameter])
    assert group == Group(rank=0, size=1)
    assert group.writes
    assert group.share([1, 2, 3]) == [1, 2, 3]
    assert group.summed([1.5], torch.device("cpu")) == [1.5]
    assert parameter.grad.tolist() == [1, 1]


def test_shares_are_disjoint_and_all() -> None:
    shares = [Group(rank=rank, size=3).share(range(8)) for rank in range(3)]
    assert sorted(item for share in shares for item in share) == list(range(8))
