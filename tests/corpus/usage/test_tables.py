"""Repositories counted once each, added up in any order, and looked up in a table that keeps nobody's private names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from corpus.__main__ import main
from corpus.mining.mine import mine
from corpus.mining.readings import Source
from corpus.mining.shards import CorpusError
from corpus.mining.survey import Options
from corpus.syntax.tokens import hash_names, name_ids
from corpus.usage.building import build, table_of_counts
from corpus.usage.cli import measured_on
from corpus.usage.counts import Counts, read_counted
from corpus.usage.gathering import gather
from corpus.usage.table import FOLDER, Table, TableError, evidence
from tests.corpus.repositories import module, repository

COUNTED = FOLDER.parent / "counted"
COMMON = "import numpy as np\n\n\ndef {name}_{i}(values):\n    return np.array(values).{name}_{i}\n\n\n"


def text(name: str, often: int = 9) -> bytes:
    return module(name) + "".join(COMMON.format(name=name, i=i) for i in range(often)).encode()


@pytest.fixture
def mined(tmp_path: Path) -> Path:
    """Four repositories that all call `numpy.array`, one of them very often."""
    sources = [
        Source(
            place=str(repository(tmp_path / name, {f"{name}.py": text(name, 90 if name == "ada" else 9)})),
            name=f"x/{name}",
        )
        for name in ("ada", "bea", "cyd", "dan")
    ]
    mine(sources, tmp_path / "corpus", Options())
    return tmp_path / "corpus"


def ids(*names: str) -> np.ndarray:
    return name_ids(hash_names(names))


def table(uses: dict[str, dict[str, int]], repositories: int) -> Table:
    counts = Counts.together([Counts.of_one(uses)] * repositories)
    return table_of_counts(counts, repositories, fewest=1)


def test_a_table_of_ones_own_says_more_than_the_packaged_one_in_the_same_context() -> None:
    packaged = table({"m": {"array": 1, "append": 9}, "m np": {"array": 9, "zeros": 1}}, 100)
    own = table({"m": {"append": 1}, "m np": {"zeros": 1}, "m< numpy": {"ours": 1}}, 4)
    place = ["m", "m np"]
    names = ids("array", "zeros", "append")
    before, after = packaged.evidence(place, names), evidence([packaged, own], place, names)
    assert before.p.argmax() == 0 and after.p.argmax() == 1
    assert (
        after.p[0] > after.p[2]
    )  # what only a coarser context of one's own has stays behind what the packaged one has here
    assert after.projects.tolist() == [100, 104, 0] and (after.context, after.of) == (1, 104)
    assert evidence([packaged, own], [*place, "m< numpy"], ids("ours")).projects.tolist() == [4]
    assert evidence([packaged], place, names).p.tolist() == before.p.tolist()
    assert evidence([own], ["i"], names).context == -1


def test_each_repository_counts_once_and_names_of_few_are_not_kept(mined: Path, tmp_path: Path) -> None:
    manifest = gather(mined, tmp_path / "counts")
    assert [one.name for one in manifest.repositories] == ["x/ada", "x/bea", "x/cyd", "x/dan"]
    table = build(tmp_path / "counts", tmp_path / "tables")["python"]
    assert table.counted == 4
    found = table.evidence(["m", "m np", "m< numpy"], ids("array", "ada_1", "nothing"))
    assert (found.projects.tolist(), found.context, found.of) == ([4, 0, 0], 2, 4)
    assert found.share[0] > 0.9 and found.p[0] > 10 * found.p[1]
    private = ids("ada_1", "bea_1", "ada_store")
    assert not np.isin(private, table.names).any()


def test_the_same_in_whatever_order_and_however_often(mined: Path, tmp_path: Path) -> None:
    gather(mined, tmp_path / "one")
    build(tmp_path / "one", tmp_path / "one-tables")
    gather(mined, tmp_path / "two", left_out=["X/Bea", "x/dan"])
    assert [one.name for one in read_counted(tmp_path / "two").repositories] == ["x/ada", "x/cyd"]
    gather(mined, tmp_path / "two", jobs=2)
    gather(mined, tmp_path / "two")
    build(tmp_path / "two", tmp_path / "two-tables")
    one, two = (tmp_path / f"{name}-tables" / "python.usage" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    with pytest.raises(CorpusError, match="counted with"):
        gather(mined, tmp_path / "two", most=1)


def test_compact_counts_lose_what_few_repositories_have_and_are_added_to(mined: Path, tmp_path: Path) -> None:
    gather(mined, tmp_path / "counts", left_out=["x/dan"])
    for name, options in (("small", []), ("none", ["--fewest", "4"])):
        assert main(["usage", "compact", str(tmp_path / "counts"), "--out", str(tmp_path / name), *options]) == 0
    whole, small, none = (Counts.load(tmp_path / name / "python.parquet") for name in ("counts", "small", "none"))
    assert whole.repositories.min() == 1 < small.repositories.min() and not none.names.size
    assert build(tmp_path / "counts", tmp_path / "a").keys() == build(tmp_path / "small", tmp_path / "b").keys()
    assert (tmp_path / "a" / "python.usage").read_bytes() == (tmp_path / "b" / "python.usage").read_bytes()
    gather(mined, tmp_path / "small")
    table = build(tmp_path / "small", tmp_path / "b")["python"]
    assert table.counted == 4 and table.evidence(["m< numpy"], ids("array")).projects.tolist() == [4]


def test_what_figures_are_measured_on_is_left_out_with_its_near_copies(mined: Path, tmp_path: Path) -> None:
    near = text("bea").replace(b"bea_0", b"other")
    mine(
        [Source(place=str(repository(tmp_path / "bench", {"b.py": near})), name="x/bench")],
        tmp_path / "apart",
        Options(),
    )
    mine(
        [Source(place=str(repository(tmp_path / "ada2", {"b.py": text("eve")})), name="x/cyd")],
        tmp_path / "apart2",
        Options(),
    )
    manifest = gather(mined, tmp_path / "counts", apart=[tmp_path / "apart", tmp_path / "apart2"])
    assert [one.name for one in manifest.repositories] == ["x/ada", "x/dan"]
    assert {"axios/axios", "scrapy", "pallets/click"} <= measured_on()


def test_a_table_is_no_larger_than_it_may_be() -> None:
    uses = [
        {f"m< {context}": {f"name{i}": 1 for i in range(context + number)} for context in range(1, 40)}
        for number in range(6)
    ]
    counts = Counts.together([Counts.of_one(one) for one in uses])
    whole, small = table_of_counts(counts, 6), table_of_counts(counts, 6, 6_300)
    assert 0 < small.names.nbytes < whole.names.nbytes
    assert small.repositories.min() > whole.repositories.min() == 3


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.usage"
    table_of_counts(Counts.together([Counts.of_one({"m": {"a": 1}})] * 3), 3).save(file)
    assert Table.load(file).evidence(["m"], ids("a")).projects.tolist() == [3]
    whole = file.read_bytes()
    astray = whole.replace(
        np.array([0, 1], np.uint32).tobytes(), np.array([0, 9], np.uint32).tobytes()
    )  # where the context's names end
    assert astray != whole
    for broken in (b"", b"nonsense" * 9, whole[:-1], astray):
        file.write_bytes(broken)
        with pytest.raises(TableError):
            Table.load(file)


def test_the_commands_count_and_build(mined: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    counts, tables, card = tmp_path / "counts", tmp_path / "tables", tmp_path / "card.md"
    assert main(["usage", "count", str(mined), "--out", str(counts), "--jobs", "1"]) == 0
    assert main(["usage", "build", str(counts), "--out", str(tables), "--card", str(card)]) == 0
    assert (tables / "python.usage").is_file()
    assert "| python | 4 |" in card.read_text() and "| Apache-2.0 | 4 |" in card.read_text()
    assert main(["usage", "build", str(tmp_path / "nothing"), "--out", str(tables)]) == 2


def test_the_tables_of_the_package_are_those_of_its_counts(tmp_path: Path) -> None:
    """Built again from the committed counts, byte for byte; small; of nobody that figures are measured on."""
    build(COUNTED, tmp_path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {
        file.name: file.read_bytes() for file in FOLDER.iterdir()
    }
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) <= 6_000_000
    names = {one.name.casefold() for one in read_counted(COUNTED).repositories}
    assert not names & {name.casefold() for name in measured_on()}
    packages = {name.removeprefix("pypi:").partition("==")[0] for name in names if name.startswith("pypi:")}
    packages |= {name.removeprefix("npm:").rpartition("@")[0] for name in names if name.startswith("npm:")}
    assert not packages & {name.rpartition("/")[2].casefold() for name in measured_on()}
