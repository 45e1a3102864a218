"""Three servers for TypeScript: edits that replace the dot, ids in `data`, commands, imports through resolve."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from lsp_server.probe import items_of
from tests.servers.conftest import needs, servers
from tests.servers.harness import STAR, Pair, by_name, names, pair, starred
from tests.servers.items import essences, own_data

pytestmark = pytest.mark.asyncio(loop_scope="module")

SEES = frozenset(("boil", "pour"))
ON_TSSERVER = ("typescript-language-server", "vtsls")
OPTIONS = {"preferences": {"includeCompletionsForModuleExports": True}}


@pytest_asyncio.fixture(loop_scope="module", scope="module", params=servers(*ON_TSSERVER, "tsgo"))
async def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pair]:
    async with pair(needs(request.param), tmp_path_factory.mktemp("typescript"), options=OPTIONS) as ends:
        yield ends


async def test_an_edit_that_replaces_the_dot(both: Pair) -> None:
    before, after = await both.lists("kettle.boil(); " * 5 + "kettle.", SEES)  # so often that it gets a star
    assert essences(after) == essences(before)
    assert starred(after)
    for item in starred(after):
        name = item["label"].removeprefix(STAR)
        if both.server.name in ON_TSSERVER:
            assert (item["textEdit"]["newText"], item["filterText"]) == (f".{name}", f".{name}")
        else:
            assert (item["insertText"], item["filterText"]) == (name, name)


async def test_a_dot_that_becomes_optional(both: Pair) -> None:
    before, after = await both.lists("guest.", SEES)
    assert essences(after) == essences(before)
    for name in SEES:
        assert by_name(after, name)["textEdit"]["newText"] == f"?.{name}"
        assert by_name(after, name)["filterText"] == by_name(before, name)["filterText"]


async def test_a_member_that_needs_brackets(both: Pair) -> None:
    before, after = await both.lists("pot.", frozenset(("dried leaves", "steep")))
    assert essences(after) == essences(before)
    assert by_name(after, "dried leaves")["textEdit"]["newText"] == '["dried leaves"]'


async def test_a_list_at_a_bare_name(both: Pair) -> None:
    before, after = await both.lists("kett", frozenset(("kettle",)))
    assert len(items_of(after)) > 500
    assert essences(after) == essences(before)
    if both.server.name == "tsgo":
        assert "editRange" in after["itemDefaults"]
        assert [item["textEditText"] for item in starred(after)] == [
            item["label"].removeprefix(STAR) for item in starred(after)
        ]


async def test_each_item_keeps_its_id(both: Pair) -> None:
    before, after = await both.lists("kettle.", SEES)
    for name in names(before):
        theirs, ours = own_data(by_name(before, name)), own_data(by_name(after, name))
        assert set(ours) == set(theirs)
        documented = await both.through.resolve(by_name(after, name))
        assert name in documented["detail"]


async def test_an_item_of_a_list_that_is_long_gone(both: Pair) -> None:
    before, after = await both.lists("kettle.", SEES)
    for end in (both.alone, both.through):
        for _ in range(6):  # more lists than Starling keeps
            await end.complete(end.type("kettle.po"))
    theirs, ours = await both.alone.resolve(by_name(before, "boil")), await both.through.resolve(by_name(after, "boil"))
    assert (ours.get("detail"), ours.get("textEdit")) == (theirs.get("detail"), theirs.get("textEdit"))
    assert ours["label"] == by_name(after, "boil")["label"]


async def test_the_command_on_an_item_is_its_own(both: Pair) -> None:
    before, after = await both.lists("kettle.", SEES)
    assert essences(after) == essences(before)  # the command's name is part of it
    if both.server.name == "vtsls":
        assert [item["command"]["arguments"] for item in items_of(after)] == [
            [own_data(item)] for item in items_of(after)
        ]


async def test_an_import_comes_with_resolve(both: Pair) -> None:
    before, after = await both.lists("Thermo", frozenset(("Thermometer",)))
    theirs = await both.alone.resolve(by_name(before, "Thermometer"))
    ours = await both.through.resolve(by_name(after, "Thermometer"))
    assert ours["additionalTextEdits"] == theirs["additionalTextEdits"]
    assert "Thermometer" in str(ours["additionalTextEdits"])
