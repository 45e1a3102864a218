"""Servers for Python: questions to the editor, registrations, no resolve, and one without completion."""

import copy
from typing import Any

import pytest

from lsp_server.probe import CLIENT_CAPABILITIES, Probe, items_of
from tests.scenarios.harness import until
from tests.servers.catalog import PYTHON, Server
from tests.servers.conftest import needs, servers
from tests.servers.harness import by_name, pair, starred

RUFF = Server(name="ruff", command=("ruff", "server"), sample=PYTHON, install="make test")
REGISTER, UNREGISTER, CONFIGURATION = (
    "client/registerCapability",
    "client/unregisterCapability",
    "workspace/configuration",
)
OWN = "starling-watch:"  # Starling's own registration, until the server has one
WATCHING = {"didChangeWatchedFiles": {"dynamicRegistration": True, "relativePatternSupport": True}}


def theirs(probe: Probe) -> list[Any]:
    """Params of the registrations that the wrapped server sent."""
    heard = [params for name, params in probe.messages if name == REGISTER]
    return [params for params in heard if not params["registrations"][0]["id"].startswith(OWN)]


@pytest.mark.parametrize("server", servers("basedpyright"))
async def test_it_asks_the_editor_for_configuration(server: Server, tmp_path_factory: pytest.TempPathFactory) -> None:
    async with pair(needs(server), tmp_path_factory.mktemp("asks")) as both:
        asked = [await end.probe.heard(CONFIGURATION, count=2) for end in (both.alone, both.through)]
        assert asked[0][:2] == asked[1][:2]


@pytest.mark.parametrize("server", servers("basedpyright", "ty", "pyrefly"))
async def test_registrations_get_ids_of_ours(server: Server, tmp_path_factory: pytest.TempPathFactory) -> None:
    capabilities = copy.deepcopy(CLIENT_CAPABILITIES)
    capabilities["workspace"] |= WATCHING
    async with pair(needs(server), tmp_path_factory.mktemp("registers"), capabilities=capabilities) as both:
        methods = []
        for end in (both.alone, both.through):
            await until(lambda end=end: theirs(end.probe))
            heard = theirs(end.probe)
            methods.append([one["method"] for one in heard[0]["registrations"]])
        assert methods[0] == methods[1]
        messages = both.through.probe.messages
        ids = {one["id"] for params in theirs(both.through.probe) for one in params["registrations"]}
        gone = {
            one["id"]
            for name, params in messages
            if name == UNREGISTER
            for one in params["unregisterations"]
            if not one["id"].startswith(OWN)
        }
        assert all(id.startswith("starling:") for id in ids)
        assert gone <= ids


@pytest.mark.parametrize("server", servers("ty"))
async def test_resolve_is_ours_where_the_server_has_none(
    server: Server, tmp_path_factory: pytest.TempPathFactory
) -> None:
    async with pair(needs(server), tmp_path_factory.mktemp("resolves")) as both:
        assert "resolveProvider" not in both.alone.announced["completionProvider"]
        assert both.through.announced["completionProvider"]["resolveProvider"] is True
        before, after = await both.lists("kettle.", PYTHON.sees)
        item = starred(after)[0]
        theirs = by_name(before, item["label"].removeprefix("★ "))
        rating, _, description = item["labelDetails"]["description"].partition(" ")
        assert set(rating) <= set("★☆") and len(rating) == 5
        assert description == theirs["labelDetails"]["description"]
        resolved = await both.through.resolve(item)
        assert resolved["documentation"]["value"].startswith(theirs.get("documentation", {}).get("value", "★"))


async def test_a_server_without_completion_gains_none(tmp_path_factory: pytest.TempPathFactory) -> None:
    async with pair(needs(RUFF), tmp_path_factory.mktemp("ruff")) as both:
        provided = [set(end.announced) - {"experimental"} for end in (both.alone, both.through)]
        assert provided[0] == provided[1]
        assert "completionProvider" not in provided[1]
        edits = []
        for end in (both.alone, both.through):
            end.show("def  pour( litres ):\n  return litres\n")
            options = {"tabSize": 4, "insertSpaces": True}
            edits.append(await end.ask("textDocument/formatting", {**end.where(0, ""), "options": options}))
        assert edits[0] == edits[1] != []


@pytest.mark.parametrize("server", servers("pyrefly"))
async def test_an_import_stands_on_the_item_itself(server: Server, tmp_path_factory: pytest.TempPathFactory) -> None:
    async with pair(needs(server), tmp_path_factory.mktemp("imports")) as both:
        before, after = await both.lists("Thermo", frozenset(("Thermometer",)))
        edits = [by_name(result, "Thermometer")["additionalTextEdits"] for result in (before, after)]
        assert edits[0] == edits[1]
        assert len(items_of(before)) == len(items_of(after))
