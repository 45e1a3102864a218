"""What other projects write at a place, as columns of a list and in words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from corpus.syntax.language import languages
from corpus.syntax.tokens import hash_names, name_ids
from corpus.usage.building import table_of_counts
from corpus.usage.contexts import contexts_of
from corpus.usage.counts import Counts
from corpus.usage.table import Table
from tests.corpus.sites import site
from tuning.ranking.serving.index.workspace_index import FileContext, WorkspaceIndex
from tuning.ranking.serving.usage import COLUMNS, NONE, Usage, columns

MEMBERS = {"array": 6, "zeros": 3, "ndim": 1}
USES = {
    "m": {"append": 9, "array": 1},
    "m np": MEMBERS,
    "m< numpy": MEMBERS,
    "n": {"None": 5, "ValueError": 1},
    "n raise": {"ValueError": 4, "KeyError": 1},
    "n( run": {"check": 1},
    "n(< subprocess.run": {"check": 1},
    "i< numpy": {"array": 1},
}


def table() -> Table:
    return table_of_counts(Counts.together([Counts.of_one(USES)] * 5), 5)


def usage(marked: str) -> tuple[Usage, str]:
    """The usage at '|', and what it says of the place."""
    found = site(marked, languages()["python"])
    before = marked.rpartition("|")[0].encode()
    used = Usage(tables=[table()], contexts=contexts_of(found, before, languages()["python"]))
    return used, used.where(found, used.evidence(ids("array")))


def ids(*names: str) -> np.ndarray:
    return name_ids(hash_names(names))


def looked_up(marked: str, *names: str, seen: int = 0) -> dict[str, np.ndarray]:
    """The columns of names at '|', of which the workspace has the first one so often after this receiver."""
    used, _ = usage(marked)
    found = site(marked, languages()["python"])
    file = WorkspaceIndex([], (".py",))
    known = file.score(FileContext.of(b"", b""), hash_names(names))
    known = replace(known, receiver_workspace=np.array([seen, *[0] * (len(names) - 1)]))
    fitting = np.array([name.startswith(found.prefix) for name in names])
    return columns(used.evidence(ids(*names)), found, known, fitting)


def test_the_likelier_name_has_the_larger_columns() -> None:
    found = looked_up("import numpy as np\nnp.|", "nothing", "ndim", "zeros", "array")
    assert set(found) == set(COLUMNS)
    for values in found.values():
        assert (np.diff(values) >= 0).all() and values[0] < values[-1]


def test_they_count_less_the_more_the_workspace_has_seen() -> None:
    new, known = (looked_up("import numpy as np\nnp.|", "zeros", "array", seen=seen) for seen in (0, 9))
    for name in COLUMNS:
        assert known[name] == pytest.approx(new[name] / 10)


def test_of_the_instance_itself_and_of_what_does_not_fit_they_say_nothing() -> None:
    own = looked_up("class A:\n    def array(self):\n        self.|\n", "array", "append")
    assert not any(values.any() for values in own.values())
    typed = looked_up("import numpy as np\nnp.z|", "zeros", "array")
    assert typed["usage_share"][0] > 0 == typed["usage_share"][1]


def test_a_finer_context_counts_for_more_than_a_coarser_one() -> None:
    used, _ = usage("import numpy as np\nnp.|")
    evidence = used.evidence(ids("array", "append"))
    assert evidence is not None and evidence.p[0] > evidence.p[1]
    other, _ = usage("def f(x):\n    x.y.|\n")
    evidence = other.evidence(ids("array", "append"))
    assert evidence is not None and evidence.p[0] < evidence.p[1]


@pytest.mark.parametrize(
    ("marked", "words"),
    [
        ("import numpy as np\nnp.|", "written after `np.`"),
        ("from numpy import |", "imported from `numpy`"),
        ("import subprocess as sp\nsp.run(|", "written in `sp.run(…)`"),
        ("raise |", "written after `raise`"),
        ("def f(x):\n    x.y.|\n", ""),
        ("x = |", ""),
    ],
)
def test_the_place_in_words(marked: str, words: str) -> None:
    assert usage(marked)[1] == words


def test_without_a_table_nothing_is_said() -> None:
    assert NONE.evidence(ids("a")) is None
    assert NONE.where(site("np.|", languages()["python"]), None) == ""


def test_a_folder_of_tables_of_ones_own_is_asked_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    own = table_of_counts(Counts.of_one({"m": {"restock": 3}, "m shelf": {"restock": 3}}), 1, fewest=1)
    own.save(tmp_path / "python.usage")
    found = site("shelf.|", languages()["python"])
    used = Usage.of(found, b"shelf.", str(tmp_path))
    evidence = used.evidence(ids("restock", "append"))
    assert evidence is not None and evidence.projects[0] == 1
    assert used.where(found, evidence) == "written after `shelf.`"
    packaged = Usage.of(found, b"shelf.").evidence(ids("restock", "append"))
    assert packaged is not None and packaged.p[0] < evidence.p[0] / 100

    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "python.usage").write_bytes(b"nothing of the kind")
    for _ in range(3):  # at each key
        assert len(Usage.of(found, b"shelf.", str(broken)).tables) == 1
    assert caplog.text.count("is no table of this version") == 1
