"""Every real server alone and through Starling: the same items, the same inserted text, Starling's order."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from lsp_server.jsonrpc.wire import Json
from lsp_server.probe import in_order, items_of
from tests.servers.catalog import SAMPLES, Server
from tests.servers.conftest import needs, servers
from tests.servers.harness import Pair, Seat, bare, by_name, documentation, pair, refusal, seat, starred
from tests.servers.items import essences

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module", params=servers())
async def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pair]:
    async with pair(needs(request.param), tmp_path_factory.mktemp("real")) as ends:
        yield ends


def check_ranked(before: Json, after: Json) -> None:
    """The same list but for Starling's order and at most five stars."""
    assert essences(after) == essences(before)
    keys = [item["sortText"] for item in in_order(items_of(after))]
    assert keys == [f"{place:05d}" for place in range(len(keys))]
    assert len(starred(after)) <= 5
    if isinstance(before, dict):
        assert around(after) == around(before)
    preselected = [sum(bool(item.get("preselect")) for item in items_of(result)) for result in (before, after)]
    assert preselected[1] == min(preselected[0], 1)


def around(result: Json) -> Json:
    """A list without its items, and without the `data` that goes into each of them."""
    defaults = {name: value for name, value in (result.get("itemDefaults") or {}).items() if name != "data"}
    return {**result, "items": [], "itemDefaults": defaults}


async def test_same_items_in_starlings_order(both: Pair) -> None:
    sample = both.server.sample
    before, after = await both.lists(sample.member, sample.sees)
    check_ranked(before, after)
    # One of the two names is used nowhere: what every object of the language has (`equals`) may stand before it.
    assert sample.sees <= {bare(item) for item in in_order(items_of(after))[:6]}


async def test_columns_after_an_emoji(both: Pair) -> None:
    sample = both.server.sample
    if both.server.columns_as_characters:
        refused = [await refusal(end.complete(end.type(sample.emoji))) for end in (both.alone, both.through)]
        assert refused[0] == refused[1]
        return
    before, after = await both.lists(sample.emoji, sample.sees)
    check_ranked(before, after)


async def test_edits_after_an_emoji(both: Pair) -> None:
    sample = both.server.sample
    if both.server.columns_as_characters or both.server.full_sync:
        pytest.skip("it knows no edits of a part")
    sees = frozenset() if both.server.edits_as_characters else sample.sees
    results = []
    for end in (both.alone, both.through):
        where = end.type(sample.emoji.removesuffix(sample.member))
        for letter in sample.member:
            where = end.insert(where, letter)
        results.append(await end.list_at(where, sees))
    check_ranked(*results)


async def test_resolve_keeps_what_the_server_says_and_adds_reasons(both: Pair) -> None:
    sample = both.server.sample
    before, after = await both.lists(sample.member, sample.sees)
    for name in sorted(sample.sees):
        theirs = by_name(before, name)
        if both.alone.announced["completionProvider"].get("resolveProvider"):
            theirs = await both.alone.resolve(theirs)
        ours = await both.through.resolve(by_name(after, name), says=documentation(theirs))
        assert " % likely" in documentation(ours)
        same = ("kind", "detail", "textEdit", "additionalTextEdits", "tags", "commitCharacters")
        assert {part: ours.get(part) for part in same} == {part: theirs.get(part) for part in same}
        assert ours["label"] == by_name(after, name)["label"]


async def test_hover_is_the_servers_own(both: Pair) -> None:
    hovers = [await both.alone.hover(), await both.through.hover()]
    assert hovers[0] == hovers[1] is not None


@pytest.mark.parametrize("server", servers())
async def test_no_process_is_left_after_exit(server: Server, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("exit")
    async with project_seat(needs(server), folder) as end:
        await end.list_at(end.type(server.sample.member), server.sample.sees)
        starling = psutil.Process(end.probe.backend.pid)
        family = [starling, *starling.children(recursive=True)]
        assert len(family) >= 3  # Starling, its ranker, the server
    _, alive = psutil.wait_procs(family, timeout=20)
    assert alive == []


@asynccontextmanager
async def project_seat(server: Server, folder: Path) -> AsyncIterator[Seat]:
    root = Path(shutil.copytree(SAMPLES / server.sample.folder, folder / "project"))
    async with seat(server, root, folder / "home", starling=True) as end:
        yield end
