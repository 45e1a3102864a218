"""jdtls: announced late, a range and data for the whole list, ids that only its last list knows, files of its own."""

import copy
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from lsp_server.probe import CLIENT_CAPABILITIES, items_of
from tests.servers.catalog import SAMPLES
from tests.servers.conftest import needs, servers
from tests.servers.harness import Pair, by_name, pair, refusal, starred
from tests.servers.items import essences, own_data

pytestmark = pytest.mark.asyncio(loop_scope="module")

REGISTER = "client/registerCapability"
SEES = frozenset(("boil", "pour"))


@pytest_asyncio.fixture(loop_scope="module", scope="module", params=servers("jdtls"))
async def java(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pair]:
    """As an editor that takes registrations of completion, which VS Code and Neovim are."""
    capabilities = copy.deepcopy(CLIENT_CAPABILITIES)
    capabilities["textDocument"]["completion"]["dynamicRegistration"] = True
    async with pair(needs(request.param), tmp_path_factory.mktemp("java"), capabilities=capabilities) as ends:
        yield ends


async def test_completion_is_registered_not_announced(java: Pair) -> None:
    options = []
    for end in (java.alone, java.through):
        assert "completionProvider" not in end.announced
        await end.list_at(end.type("kettle."), SEES)
        registrations = [one for params in await end.probe.heard(REGISTER) for one in params["registrations"]]
        options += [one for one in registrations if one["method"] == "textDocument/completion"]
    theirs, ours = options
    assert ours["registerOptions"] == theirs["registerOptions"]
    assert ours["id"].startswith("starling:")


async def test_range_and_data_stand_in_the_lists_defaults(java: Pair) -> None:
    before, after = await java.lists("kettle.", SEES)
    assert set(before["itemDefaults"]) >= {"editRange", "data"}
    assert after["itemDefaults"] == {name: value for name, value in before["itemDefaults"].items() if name != "data"}
    marked = starred(after)
    assert marked
    for item in marked:
        original = by_name(before, item["label"].removeprefix("★ "))
        assert "textEdit" not in item
        assert item["textEditText"] == original["textEditText"]
        assert item["filterText"] == original["filterText"]
        assert set(own_data(item)) == {"pid", "rid"}


async def test_ids_of_the_list_on_the_screen(java: Pair) -> None:
    _, after = await java.lists("kettle.", SEES)
    resolved = await java.through.resolve(by_name(after, "boil"), says="Heats the water until it boils.")
    assert resolved["textEdit"]["newText"] == "boil()"


async def test_ids_that_it_forgot_are_refused_as_ever(java: Pair) -> None:
    results = await java.lists("kettle.", SEES)
    refused = []
    for end, result in zip((java.alone, java.through), results, strict=True):
        for _ in range(6):  # more lists than Starling keeps
            await end.complete(end.type("kettle.po"))
        refused.append(await refusal(end.resolve(by_name(result, "boil"))))
    assert refused[0] == refused[1]


async def test_an_import_comes_with_resolve(java: Pair) -> None:
    before, after = await java.lists("ArrayLis", frozenset(("ArrayList",)))
    assert essences(after) == essences(before)
    imports = [
        (await end.resolve(by_name(result, "ArrayList")))["additionalTextEdits"]
        for end, result in ((java.alone, before), (java.through, after))
    ]
    assert imports[0] == imports[1]
    assert "import java.util.ArrayList;" in str(imports[1])


async def test_the_command_on_an_item_is_its_own(java: Pair) -> None:
    _, after = await java.lists("kettle.", SEES)
    for item in items_of(after):
        data = own_data(item)
        assert item["command"]["arguments"] == [data["rid"], data["pid"]]


async def test_it_writes_into_a_private_folder_only(java: Pair) -> None:
    folder = Path(java.server.started_by[0]).name
    homes = [java.through.root.parent / name for name in ("home alone", "home through")]
    for home in homes:
        (own,) = home.glob(f"**/starling/servers/{folder}/*")
        assert (own / ".metadata").is_dir()
    sample = SAMPLES / java.server.sample.folder
    written = {path.relative_to(java.through.root) for path in java.through.root.rglob("*")}
    assert written == {path.relative_to(sample) for path in sample.rglob("*")}
