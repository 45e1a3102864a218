"""Tests of a server that is not installed are skipped, and the end of the run says which and how to install it."""

import pytest

from tests.servers.catalog import CATALOG, EVERYWHERE, Server

MISSING: dict[str, Server] = {}


def servers(*names: str) -> list:
    """Parameters: these servers. But for those of the development venv they belong to `make test-servers`."""
    chosen = [CATALOG[name] for name in (names or CATALOG)]
    return [
        pytest.param(server, id=server.name, marks=() if server.name in EVERYWHERE else pytest.mark.servers)
        for server in chosen
    ]


def needs(server: Server) -> Server:
    """The server, or a skip that the summary repeats. Those of the development venv are there, or it is broken."""
    if not server.installed:
        if server.install == "make test":
            pytest.fail(f"{server.name} is not in the development venv")
        MISSING[server.name] = server
        pytest.skip(f"{server.name} is not installed: {server.install}")
    return server


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if MISSING:
        terminalreporter.section("servers that are not installed; their tests were SKIPPED")
        for server in MISSING.values():
            terminalreporter.line(f"{server.name}: {server.install}")
