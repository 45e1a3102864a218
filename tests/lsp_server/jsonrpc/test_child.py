"""What a child writes is handled message by message, and known when its exit is reported."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest

from lsp_server.jsonrpc import child
from lsp_server.jsonrpc.child import Child
from lsp_server.jsonrpc.wire import WireError
from tests.scenarios.harness import until


async def test_last_lines_are_read_before_the_exit_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if the loop was busy for as long as it may take: then it reads the lines in the turn in which the time is over."""
    monkeypatch.setattr(child, "DRAIN_SECONDS", 0.05)
    was_told = Child.process_exited

    def told(self: Child) -> None:
        was_told(self)
        time.sleep(0.6)  # the loop is busy

    monkeypatch.setattr(Child, "process_exited", told)
    exited: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()
    # The second process writes while the loop is busy, and keeps the pipe open: its end is not what causes the report.
    command = ("/bin/sh", "-c", "(sleep 0.2; echo the reason >&2; sleep 3) & exit 3")
    started = await Child.start(
        command,
        on_body=lambda body: None,
        on_exit=lambda code: exited.set_result([*started.stderr_tail, str(code)]),
        guarded=False,
    )
    assert await asyncio.wait_for(exited, 20) == ["the reason", "3"]
    await started.stop()


async def test_a_message_that_is_not_handled_costs_no_other(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(child, "log", logging.getLogger("tests.child"))  # of lsp_server, it would fail the test
    handled: list[bytes | WireError] = []

    def take(body: bytes | WireError) -> None:
        handled.append(body)
        if body == b"{}":
            raise ValueError("as told")

    frames = r"Content-Length: 2\r\n\r\n{}Content-Length: 2\r\n\r\n[]"
    command = ("/bin/sh", "-c", f"printf '{frames}'; cat")
    started = await Child.start(command, on_body=take, on_exit=lambda code: None, guarded=False)
    await until(lambda: len(handled) == 2, 5)
    assert handled == [b"{}", b"[]"]
    assert "was not handled" in caplog.text
    await started.stop()
