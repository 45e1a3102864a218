"""Where completion is asked for: what is typed there, what is not there yet, and what figures call it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.lists.positions import CLASSES, TYPED, Position, class_of, cut, example, line_end, positions
from corpus.mining.sites import KINDS, Site
from corpus.syntax.language import languages
from tests.corpus.sites import site

TURNS = range(12)  # a multiple of the length of each of TYPED's rows


def position(marked: str, kind: str = "member", *, turn: int = 0, form: str = "line", path: str = "a.py") -> Position:
    """The one position of a text whose identifier stands between two '|'."""
    before, name, after = (part.encode() for part in marked.split("|"))
    at = Site(start=len(before), end=len(before + name), kind=kind)
    (found,) = positions(path, before + name + after, [at], turn=turn, form=form)
    return found


def check(marked: str, seen: str, kind: str = "member", **given: object) -> None:
    """What a ranker is shown, the cursor as '|'."""
    found = position(marked, kind, **given)  # pyright: ignore[reportArgumentType]
    assert b"|".join(cut(marked.replace("|", "").encode(), found)).decode() == seen


def test_the_rest_of_the_line_is_not_there_while_it_is_typed() -> None:
    check("a = b.|count|(c) + d\ne = 1\n", "a = b.|\ne = 1\n")
    check("a = b.|count|(c) + d\ne = 1\n", "a = b.co|\ne = 1\n", turn=5)
    check("a = b.|count|(c)", "a = b.|")


def test_only_the_rest_of_the_name_is_not_there_where_a_line_is_changed() -> None:
    check("a = b.|count|(c) + d\ne = 1\n", "a = b.|(c) + d\ne = 1\n", form="name")
    check("a = b.|count|(c) + d\ne = 1\n", "a = b.co|(c) + d\ne = 1\n", form="name", turn=5)


def test_a_line_keeps_its_carriage_return() -> None:
    check("a.|b|(c)\r\nd\r\n", "a.|\r\nd\r\n")
    check("a.|b|\r\nd\r\n", "a.|\r\nd\r\n")
    check("a.|b|(c)\r\nd\r\n", "a.|(c)\r\nd\r\n", form="name")
    assert [line_end(b"ab\r\ncd", at) for at in (0, 2, 4)] == [2, 2, 6]
    assert line_end(b"", 0) == 0 and line_end(b"\n", 0) == 0 and line_end(b"\r\n\r\n", 2) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_letters_are_typed_in_turn(kind: str) -> None:
    typed = [position("x.|abcdef|", kind, turn=turn) for turn in TURNS]
    expected = (TYPED[kind] * len(TURNS))[: len(TURNS)]
    assert [found.offset - found.start for found in typed] == list(expected)


def test_the_sites_of_a_file_take_turns_too() -> None:
    data = b"first second third\n"
    spans = [(0, 5), (6, 12), (13, 18)]
    found = positions("a.py", data, [Site(start=start, end=end, kind="name") for start, end in spans], turn=1)
    assert [data[at.start : at.offset] for at in found] == [b"fi", b"sec", b"t"]


@given(st.text(st.characters(codec="utf-8", categories=("L",)), min_size=1, max_size=4), st.sampled_from(KINDS))
def test_whole_characters_are_typed_and_never_the_whole_name(name: str, kind: str) -> None:
    for turn in TURNS:
        found = position(f"x.|{name}| = 1\n", kind, turn=turn)
        typed = f"x.{name}".encode()[found.start : found.offset].decode()
        assert name.startswith(typed) and len(typed) == min(TYPED[kind][turn % len(TYPED[kind])], len(name) - 1)
        assert found.start <= found.offset < found.end <= found.tail


def test_a_byte_that_is_no_character_is_not_the_whole_name() -> None:
    (found,) = positions("a.py", b"x.\xffab\n", [Site(start=2, end=5, kind="member")], turn=3)
    assert found.offset < found.end


def test_a_decorator_is_asked_for_at_its_sign_with_a_letter() -> None:
    check("@|cached|\n", "@c|\n", "decorator")
    check("@a.|cached|\n", "@a.|\n", "decorator")
    check("@|a|\n", "@|\n", "decorator")


def test_every_class_is_reached_and_no_other() -> None:
    found = {position("x.|abcdef|", kind, turn=turn).named for kind in KINDS for turn in TURNS}
    assert found == set(CLASSES)
    assert {class_of(kind, letters) for kind in KINDS for letters in range(9)} == set(CLASSES)


@pytest.mark.parametrize(
    ("kind", "letters", "expected"),
    [
        ("member", 0, "member"),
        ("member", 1, "member, 1 letter"),
        ("member", 9, "member, 2 letters"),
        ("name", 0, "name, 1 letter"),
        ("name", 2, "name, 2 letters"),
        ("name", 9, "name, 3 letters"),
        ("import", 3, "import"),
    ],
)
def test_a_class_counts_letters_up_to_a_few(kind: str, letters: int, expected: str) -> None:
    assert class_of(kind, letters) == expected


@pytest.mark.parametrize("form", ["line", "name"])
@pytest.mark.parametrize("turn", [0, 5])
def test_an_example_is_what_is_seen_live(form: str, turn: int) -> None:
    marked = "import os\r\n\r\nclass Größe:\r\n    def f(self):\r\n        return self.|länge|(os) + 1\r\n"
    data = marked.replace("|", "").encode()
    found = example(data, position(marked, turn=turn, form=form))
    assert found.site == site((found.before + b"|" + found.after).decode(), languages()["python"])
    assert (found.truth, found.site.kind, found.site.receiver) == ("länge", "member", "self")
    assert found.site.prefix == "länge"[: 2 if turn else 0] and found.site.enclosing == ("Größe", "f")
    assert b"(os)" in found.after if form == "name" else found.after == b"\r\n"


def test_what_is_not_there_yet_is_not_looked_at() -> None:
    marked = "x = |first|; late = 1\n"
    whole, typed = (position(marked, "name", form=form) for form in ("name", "line"))
    data = marked.replace("|", "").encode()
    assert "late" in example(data, whole).site.visible
    assert "late" not in example(data, typed).site.visible


def test_a_written_line_stands_before_what_its_parent_has_next() -> None:
    parent = b"a = 1\nz = gone(a)\n"
    data = b"a = 1\nb = a.count(1)\nc = b\n"
    tail = parent.index(b"\nz")
    typed = replace(position("a = 1\nb = a.|count|(1)\nc = b\n", form="written", turn=3), tail=tail)
    assert cut(data, typed, parent) == (b"a = 1\nb = a.c", b"\nz = gone(a)\n")
    found = example(data, typed, parent)
    assert (found.truth, found.site.receiver, found.site.prefix) == ("count", "a", "c")
    assert {"a", "z"} <= set(found.site.visible) and "c" not in found.site.visible
    assert cut(data, replace(typed, tail=0), b"") == (b"a = 1\nb = a.c", b"")  # the file is new in this commit


def test_the_language_is_the_files_own() -> None:
    found = example(b"a.count", position("a.|count|", path="lib/a.ts"))
    assert found.site.language == "typescript"
