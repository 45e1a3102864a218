"""gopls: members of members in one list, a preselected item, snippets that rewrite what stands before the dot."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from lsp_server.probe import in_order, items_of
from tests.servers.conftest import needs, servers
from tests.servers.harness import Pair, bare, by_name, pair
from tests.servers.items import essences

pytestmark = pytest.mark.asyncio(loop_scope="module")

SEES = frozenset(("Kettle", "Leaves", "Steep"))


@pytest_asyncio.fixture(loop_scope="module", scope="module", params=servers("gopls"))
async def go(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pair]:
    async with pair(needs(request.param), tmp_path_factory.mktemp("go")) as ends:
        yield ends


async def test_what_is_two_steps_away_comes_after_what_is_one(go: Pair) -> None:
    before, after = await go.lists("pot.", SEES)
    assert essences(after) == essences(before)
    ordered = [bare(item) for item in in_order(items_of(after))]
    assert "Kettle.Celsius" in ordered
    assert set(ordered[:3]) == SEES


async def test_what_was_preselected_leaves_that_to_the_first(go: Pair) -> None:
    before, after = await go.lists("pot.", SEES)
    assert any(item.get("preselect") for item in items_of(before))
    assert [item for item in items_of(after) if item.get("preselect")] == in_order(items_of(after))[:1]


async def test_a_snippet_rewrites_what_stands_before_the_dot(go: Pair) -> None:
    before, after = await go.lists("pot.", SEES)
    theirs, ours = by_name(before, "var!"), by_name(after, "var!")
    for name in ("textEdit", "additionalTextEdits", "insertTextFormat"):
        assert ours[name] == theirs[name]
