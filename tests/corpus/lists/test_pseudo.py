"""Lists that no server gave: names that the repository itself uses, marked as such."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from corpus.lists.candidates import Asked, Project
from corpus.lists.list_files import Recorded
from corpus.lists.positions import positions
from corpus.lists.pseudo import MOST, pseudo_lists
from corpus.mining.sites import Site

HERE = "|"


def project(files: Mapping[str, str], kind: str = "member", turn: int = 0) -> Project:
    """Files of which one has an identifier between two '|', which is what is asked for."""
    asked: list[Asked] = []
    for path, text in files.items():
        before, *marked = text.encode().split(HERE.encode())
        data, sites = before, []
        if marked:
            name, after = marked
            sites = [Site(start=len(before), end=len(before + name), kind=kind)]
            data = before + name + after
        asked.append(Asked(path=path, language="python", data=data, positions=positions(path, data, sites, turn=turn)))
    return Project(name="o/n", revision="r", place="/nowhere", server="basedpyright", files=asked)


def listed(text: str, kind: str = "member", *, turn: int = 0, **others: str) -> Recorded:
    (row,) = pseudo_lists(
        [project({"a.py": text, **{f"{name}.py": other for name, other in others.items()}}, kind, turn)]
    )
    return row


def check(text: str, *expected: str, kind: str = "member", turn: int = 0, **others: str) -> None:
    """The names of the list, in any order; none where the truth is not among them."""
    row = listed(text, kind, turn=turn, **others)
    assert set(row.names) == set(expected) and len(row.names) == len(expected)
    assert row.has_truth == bool(expected)


def test_a_list_is_marked_as_no_servers() -> None:
    row = listed("f.|read|()\nf.read()\nf.write()\n")
    assert (row.server, row.repository, row.revision, row.truth) == ("", "o/n", "r", "read")
    assert (row.offered, set(row.kinds), list(row.details), set(row.flags)) == (2, {0}, [], {0})
    assert all(not found.deprecated and not found.edits_elsewhere for found in row.candidates())


def test_the_truth_is_there_only_where_it_is_used_elsewhere() -> None:
    check("f.|read|()\nf.write()\n")
    check("f.|read|()\nf.read()\n", "read")
    check("f.|read|()\nf.write()\n", "read", "write", b="f.read()\n")
    check("f.|read|()\nf.write()\n", b="g.read()\n")  # of another receiver in another file


def test_a_row_without_the_truth_is_a_row_too() -> None:
    row = listed("f.|read|()\nf.write()\n")
    assert (row.names, row.offered, row.has_truth) == ((), 1, False)


def test_members_are_those_of_the_receiver_anywhere_and_of_any_in_the_file() -> None:
    check("f.|a|\nf.a\ng.b\n", "a", "b", "c", b="f.c\ng.d\n")
    check("f->|a|;\nf->a;\ng::b;\nh?.c\n", "a", "b", "c", "d", b="f.d\n")
    check("f().|a|\ng().a\n", "a", "b", b="h().b\n")  # what a call gives is one receiver
    check("größe.|länge|\n", "länge", "höhe", b="größe.länge\ngröße.höhe\n")


def test_the_receiver_of_a_longer_path_is_the_name_before_the_operator() -> None:
    check("self.store.|get|(1)\n", "get", "put", "store", b="self.store.get(2)\nself.store.put(3)\n")


def test_other_uses_in_a_longer_path_are_uses() -> None:
    check("self.store.|get|(1)\nself.store.get(2)\n", "get", "store")
    check("self.store.|get|(1)\nother.get(2)\n", "get", "store")


def test_digits_are_no_members() -> None:
    check("f.|a|\nf.a\nx = 1.5 + 1.e5\n", "a")


def test_names_are_those_of_the_same_file() -> None:
    check("value = 1\nprint(|value|)\n", "value", kind="name", b="value = other\n", turn=0)
    check("x = |value|\n", kind="name", b="value = 1\n")
    check("value_1 = v\nx = |value|\n", kind="name")
    assert "print" in listed("p = print\nx = |p|\n", kind="name").names


def test_what_does_not_fit_the_letters_is_left_out() -> None:
    check("f.|read|()\nf.read()\nf.rewind()\nf.seek()\n", "read", "rewind", turn=5)


def test_a_long_list_keeps_what_is_used_most() -> None:
    rare = "".join(f"f.m{number}\n" for number in range(MOST + 50))
    row = listed("f.|often|\n" + "f.often\n" * 3 + rare)
    assert len(row.names) <= MOST and row.has_truth


def test_the_order_says_nothing_of_the_truth() -> None:
    names = ["alpha", "beta", "gamma", "delta"]
    uses = "".join(f"f.{name}\n" * 2 for name in names)
    orders = {tuple(listed(f"f.|{name}|\n{uses}").names) for name in names}
    assert len(orders) == 1
    assert listed("f.|beta|\n" + "f.beta\n" * 50 + uses).names == list(orders.pop())


def test_every_position_has_a_row_and_the_same_one_every_time(tmp_path: Path) -> None:
    files = {f"{name}.py": f"x.|{name}|()\ny.other()\n" + "x.ada()\nx.bea()\n" for name in ("ada", "bea", "cyd")}
    once, again = (list(pseudo_lists([project(files), project({"d.py": "no.thing\n"})])) for _ in range(2))
    assert once == again and [row.path for row in once] == list(files)
    script = tmp_path / "again.py"  # where strings and sets are hashed otherwise
    script.write_text(
        "from tests.corpus.lists.test_pseudo import project\nfrom corpus.lists.pseudo import pseudo_lists\n"
        f"for row in pseudo_lists([project({files!r})]): print(*row.names)\n"
    )
    root = str(Path(__file__).parents[3])
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, str(script)],
            env={"PYTHONPATH": root, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        )
        assert done.stdout.decode().splitlines() == [" ".join(row.names) for row in once]
