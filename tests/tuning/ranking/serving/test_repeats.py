"""Repeats of the text before the cursor: their length, with any receiver, nearby and across the ends of files."""

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from corpus.syntax.tokens import U32, hash_names, name_ids, tokenize
from tuning.ranking.serving.index.context import FileContext
from tuning.ranking.serving.index.repeats import GAP, LONGEST, RECEIVER, Nearby, columns, nearest, shared


def ids(*names: str) -> U32:
    return name_ids(hash_names(names))


def tokens(text: str) -> U32:
    return tokenize(text.encode()).ids()


def longest(before: str, names: list[str], *, after: str = "", nearby: tuple[str, ...] = ()) -> dict[str, list[float]]:
    context = FileContext.of(before.encode(), after.encode())
    found = Nearby(tokens(text) for text in nearby).repeats(context.tail)
    return {name: values.tolist() for name, values in columns(ids(*names), context.repeats, found).items()}


def test_a_longer_repeat_is_told_from_a_shorter() -> None:
    found = longest("if x: a.one\ny = a.two\nif x: a.", ["one", "two", "three"])
    assert found["repeat_file"] == [5, 2, 0]
    assert found["repeats_file"][0] > found["repeats_file"][1] > found["repeats_file"][2] == 0


def test_any_receiver_repeats_what_stands_before_it() -> None:
    found = longest("return await b.get\nreturn await a.", ["get"], nearby=("\nreturn await c.post\n",))
    assert (found["repeat_file"], found["alike_file"]) == ([0], [4])
    found = longest("x = 1\nreturn await a.", ["get", "post"], nearby=("x = 1\nreturn await c.post\n",))
    assert (found["repeat_nearby"], found["alike_nearby"], found["alike"]) == ([0, 0], [0, 8], [0, 8])


def test_text_after_the_cursor_counts_as_well() -> None:
    assert longest("f(a.", ["one"], after="f(a.one)\n")["repeat"] == [4]


def test_a_repeat_ends_where_a_file_does() -> None:
    assert longest("a b c.", ["d"], nearby=("x a", "b c.d"))["repeat_nearby"] == [3]


def test_nothing_before_and_nothing_nearby() -> None:
    found = longest("", ["one"])
    assert {tuple(values) for values in found.values()} == {(0,)}
    assert longest("a.", [])["repeat"] == []


def test_the_nearest_files_come_first() -> None:
    files = {
        str(Path("/", *path.split("/"))): tokens(path)
        for path in ("w/lib/x/far.py", "w/app/own.py", "w/other.py", "w/app/deep/in.py", "w/app/also.py")
    }
    found = nearest(str(Path("/w/app")), files)
    order = [next(path for path, text in files.items() if text is each) for each in found]
    assert [Path(path).name for path in order] == ["also.py", "own.py", "other.py", "in.py", "far.py"]


@given(st.lists(st.sampled_from("ab.("), max_size=60), st.lists(st.sampled_from("ab.("), min_size=1, max_size=40))
def test_lengths_are_those_of_a_walk_back(text: list[str], before: list[str]) -> None:
    body = np.concatenate([GAP, tokens(" ".join(text))])
    tail = np.concatenate([GAP, tokens(" ".join(before))])[-LONGEST:]
    places = np.arange(LONGEST, len(body))
    for hole in (0, RECEIVER):
        expected: list[int] = []
        for place in places:
            length = 0
            while (
                length < LONGEST
                and tail[-length - 1]
                and (length + 1 == hole or body[place - length - 1] == tail[-length - 1])
            ):
                length += 1
            expected.append(length)
        assert shared(body, places, tail, hole=hole).tolist() == expected
