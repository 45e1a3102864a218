"""The Windows job object, where no Windows is: which calls are made, with pywin32's names as its stubs have them."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

import pytest


class Refused(Exception):
    winerror, strerror = 5, "Access is denied."


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """pywin32's functions, which note how they are called."""
    made: list[tuple[Any, ...]] = []

    def module(name: str, **members: Any) -> None:
        fake = ModuleType(name)
        fake.__dict__.update(members)
        monkeypatch.setitem(sys.modules, name, fake)

    def assign(job: str, process: str) -> None:
        if process == "process 404":
            raise Refused
        made.append(("assign", job, process))

    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.delitem(sys.modules, "lsp_server.jsonrpc.job", raising=False)
    module("pywintypes", error=Refused)
    module("win32con", PROCESS_SET_QUOTA=256, PROCESS_TERMINATE=1)
    module("win32api", OpenProcess=lambda access, inherit, pid: f"process {pid}")
    module(
        "win32job",
        JobObjectExtendedLimitInformation=9,
        JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE=8192,
        CreateJobObject=lambda attributes, name: "job",
        QueryInformationJobObject=lambda job, kind: {"BasicLimitInformation": {"LimitFlags": 1}},
        SetInformationJobObject=lambda job, kind, limits: made.append(("limits", job, limits)),
        AssignProcessToJobObject=assign,
        TerminateJobObject=lambda job, code: made.append(("terminate", job, code)),
    )
    return made


def job() -> Any:
    return importlib.import_module("lsp_server.jsonrpc.job")


def test_a_job_ends_with_us_and_when_it_is_told_to(calls: list[tuple[Any, ...]]) -> None:
    job().Job(7).end()
    limits = {"BasicLimitInformation": {"LimitFlags": 8193}}
    assert calls == [("limits", "job", limits), ("assign", "job", "process 7"), ("terminate", "job", 1)]


def test_a_process_that_has_ended_can_not_be_held(calls: list[tuple[Any, ...]]) -> None:
    with pytest.raises(OSError, match="Access is denied"):
        job().Job(404)
    assert [name for name, *_ in calls] == ["limits"]
