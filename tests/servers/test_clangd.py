"""clangd: names before types are known, lists cut at a hundred, labels with a space, a dot that becomes an arrow."""

import copy
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from lsp_server.jsonrpc.wire import Json
from lsp_server.probe import CLIENT_CAPABILITIES, in_order, items_of
from tests.servers.conftest import needs, servers
from tests.servers.harness import Pair, Seat, by_name, names, pair
from tests.servers.items import essences

pytestmark = pytest.mark.asyncio(loop_scope="module")

CUPS = [f"int cup_{number:03d};" for number in range(150)]


@pytest_asyncio.fixture(loop_scope="module", scope="module", params=servers("clangd", "clangd (C)"))
async def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pair]:
    """As an editor that likes UTF-8 best, which clangd then takes, and that knows its extension for arrows."""
    capabilities = copy.deepcopy(CLIENT_CAPABILITIES)
    capabilities["general"]["positionEncodings"] = ["utf-8", "utf-16"]
    capabilities["textDocument"]["completion"]["editsNearCursor"] = True
    async with pair(needs(request.param), tmp_path_factory.mktemp("clangd"), capabilities=capabilities) as ends:
        yield ends


def check_every_item_has_a_place(result: Json) -> None:
    keys = [item["sortText"] for item in in_order(items_of(result))]
    assert keys == [f"{place:05d}" for place in range(len(keys))]


async def test_answers_before_the_preamble_are_ranked_too(both: Pair) -> None:
    seen: list[Json] = []

    def enough(result: Json) -> bool:
        seen.append(result)
        return both.server.sample.sees <= names(result)

    sample = both.server.sample
    file = f"again_{sample.file}"
    shutil.copy(both.through.root / sample.file, both.through.root / file)
    again = replace(both.through, server=replace(both.server, sample=replace(sample, file=file)))  # not open yet
    await again.list_when(again.type(sample.member), enough)
    for result in seen:
        check_every_item_has_a_place(result)


async def test_columns_are_utf8(both: Pair) -> None:
    assert both.through.utf8
    before, after = await both.lists(both.server.sample.emoji, both.server.sample.sees)
    assert essences(after) == essences(before)


async def test_labels_and_scores_are_kept(both: Pair) -> None:
    before, after = await both.lists(both.server.sample.member, both.server.sample.sees)
    labels = [[item["label"].removeprefix("★ ").lstrip(" ") for item in items_of(result)] for result in (before, after)]
    assert labels[0] == labels[1]
    assert all(item["label"].startswith((" ", "•", "★ ")) for item in items_of(after))
    assert all(isinstance(item["score"], float) for item in items_of(after))


async def test_a_cut_list_is_asked_for_again(both: Pair) -> None:
    results = []
    for end in (both.alone, both.through):
        where = write_cups(end)
        cut = await end.list_when(where, lambda result: len(items_of(result)) >= 100)
        assert cut["isIncomplete"]
        results.append((cut, await end.complete(end.insert(where, "149"))))
    (cut_alone, exact_alone), (cut, exact) = results
    assert (essences(cut), essences(exact)) == (essences(cut_alone), essences(exact_alone))
    assert names(exact) == {"cup_149"}
    check_every_item_has_a_place(cut)


def write_cups(end: Seat) -> Json:
    """More names than a list holds, and the cursor after what they have in common."""
    include, *rest = end.source.split("\n")
    lines = [include, *CUPS, *rest]  # what stands before the first declaration, its preamble, stays as it is
    row = next(number for number, line in enumerate(lines) if "HERE" in line)
    lines[row] = "cup_"
    end.show("\n".join(lines))
    return end.where(row, lines[row])


async def test_a_dot_that_becomes_an_arrow(both: Pair) -> None:
    typed, sees = {"cpp": ("this.", "leaves_"), "c": ("pot.", "leaves")}[both.server.sample.folder]
    before, after = await both.lists(typed, frozenset((sees,)))
    assert essences(after) == essences(before)
    assert by_name(after, sees)["textEdit"]["newText"] == f"->{sees}"
    assert by_name(after, sees)["filterText"] == sees
