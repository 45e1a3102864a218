"""bash-language-server: a bare array, no order of its own, whole texts."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from lsp_server.probe import in_order
from tests.servers.conftest import needs, servers
from tests.servers.harness import Pair, names, pair
from tests.servers.items import essences

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module", params=servers("bash-language-server"))
async def bash(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pair]:
    async with pair(needs(request.param), tmp_path_factory.mktemp("bash")) as ends:
        yield ends


async def test_an_array_stays_an_array(bash: Pair) -> None:
    before, after = await bash.lists("kettle_", bash.server.sample.sees)
    assert isinstance(before, list) and isinstance(after, list)
    assert not any("sortText" in item for item in before)
    assert [item["sortText"] for item in in_order(after)] == [f"{place:05d}" for place in range(len(after))]
    assert essences(after) == essences(before)


async def test_whole_texts_are_followed(bash: Pair) -> None:
    assert bash.through.announced["textDocumentSync"] == bash.alone.announced["textDocumentSync"] == 1
    end = bash.through
    end.show("mug_small=1\nmug_large=2\necho $mug_\n")
    assert names(await end.list_at(end.where(2, "echo $mug_"), frozenset(("mug_small",)))) == {"mug_small", "mug_large"}
    end.show("mug_small=1\nmug_tall=2\n\necho $mug_\n")
    assert names(await end.list_at(end.where(3, "echo $mug_"), frozenset(("mug_tall",)))) == {"mug_small", "mug_tall"}
