"""The table of methods against every message of LSP 3.18 (lsprotocol)."""

from __future__ import annotations

import typing

import attrs
import pytest
from lsprotocol import types

from lsp_server.documents.notebooks import PREFIX
from lsp_server.features import OWNED
from lsp_server.ranking import ranker_process
from lsp_server.routing.notifications import FOR_RANKER, PASSED_ON
from lsp_server.routing.registrations import ANY
from lsp_server.routing.table import REGISTRABLE, ROUTES, TABLE, Capability

CLIENT_TO_SERVER = [
    name for name in types.METHOD_TO_TYPES if types.message_direction(name) in ("clientToServer", "both")
]
REQUESTS = [name for name in CLIENT_TO_SERVER if types.METHOD_TO_TYPES[name][1] is not None]
NOTIFICATIONS = [name for name in CLIENT_TO_SERVER if types.METHOD_TO_TYPES[name][1] is None]
SESSION = {"initialize", "shutdown", "initialized", "exit", "$/cancelRequest"}  # of the session itself
READ = {"workspace/didChangeConfiguration", "workspace/didChangeWorkspaceFolders", "window/workDoneProgress/cancel"}
TEXT = {f"textDocument/did{name}" for name in ("Open", "Change", "Close")}
NOTEBOOK = {f"{PREFIX}did{name}" for name in ("Open", "Change", "Close")}


def test_there_is_something_to_compare() -> None:
    assert len(REQUESTS) > 50
    assert len(NOTIFICATIONS) > 15


@pytest.mark.parametrize("method", REQUESTS)
def test_each_request_of_lsp_has_a_row(method: str) -> None:
    assert method in ROUTES or method in OWNED or method in SESSION


@pytest.mark.parametrize("method", NOTIFICATIONS)
def test_each_notification_of_lsp_is_read_or_named_as_passed_on(method: str) -> None:
    assert method in SESSION | READ | TEXT | NOTEBOOK | PASSED_ON


def test_the_ranker_is_sent_what_it_reads() -> None:
    assert set(ranker_process.NOTIFICATIONS) >= FOR_RANKER


@pytest.mark.parametrize("method", ROUTES)
def test_each_row_is_of_a_request_of_lsp(method: str) -> None:
    assert method in REQUESTS


def members(cls: type) -> dict[str, list[type]]:
    """LSP's names of a type's members, and the types with members that each may have."""
    found: dict[str, list[type]] = {}
    for name, hint in typing.get_type_hints(cls, vars(types)).items():
        camel = "".join(part.title() if at else part for at, part in enumerate(name.split("_")))
        found[camel] = [kind for kind in (hint, *typing.get_args(hint)) if isinstance(kind, type) and attrs.has(kind)]
    return found


def at_the_end_of(path: str, cls: type) -> bool:
    """Whether a path of LSP's names leads somewhere from a type."""
    first, _, rest = path.partition(".")
    inside = members(cls)
    return first in inside and (not rest or any(at_the_end_of(rest, kind) for kind in inside[first]))


PROVIDERS = (
    {row.key for row in TABLE if row.key}
    | {route.provider for route in ROUTES.values() if route.provider}
    | set(ANY["capabilities"])
)


@pytest.mark.parametrize("key", sorted(PROVIDERS))
def test_each_key_is_a_capability_of_servers(key: str) -> None:
    assert at_the_end_of(key, types.ServerCapabilities)


@pytest.mark.parametrize("row", REGISTRABLE, ids=lambda row: row.key)
def test_each_client_capability_takes_registrations(row: Capability) -> None:
    assert at_the_end_of(f"{row.client}.dynamicRegistration", types.ClientCapabilities)
