"""A message without parameters has no member `params`: JSON-RPC 2.0 knows no null there, and tsgo heeds none such."""

import psutil
import pytest

from lsp_server.jsonrpc import wire
from tests.servers.catalog import Server
from tests.servers.conftest import needs, servers
from tests.servers.harness import pair


@pytest.mark.parametrize("message", [wire.request(1, "shutdown", None), wire.notification("exit", None)])
def test_no_parameters_is_no_member(message: bytes) -> None:
    assert "params" not in wire.loads(message)


@pytest.mark.parametrize("server", servers("tsgo"))
async def test_exit_is_heeded(server: Server, tmp_path_factory: pytest.TempPathFactory) -> None:
    async with pair(needs(server), tmp_path_factory.mktemp("exit")) as both:
        process = psutil.Process(both.alone.probe.backend.pid)
        await both.alone.ask("shutdown", None)
        both.alone.probe.backend.notify("exit", None)
        _, alive = psutil.wait_procs([process], timeout=5)
        assert alive == []
