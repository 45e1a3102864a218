""".gitignore patterns: what they match, and that no pattern takes long."""

from __future__ import annotations

import pytest

from tests.tuning.ranking.serving.hostile import run_apart
from tuning.ranking.serving.index.ignore import PATTERN_CHARS, PATTERNS, SEGMENTS, IgnorePatterns


def check(text: str, *, excludes: str = "", keeps: str = "", says_nothing_of: str = "") -> None:
    """What a file with this text says of paths, separated by commas. One that ends with a slash is a folder."""
    patterns = IgnorePatterns(text)
    for paths, expected in ((excludes, True), (keeps, False), (says_nothing_of, None)):
        for path in filter(None, paths.split(",")):
            verdict = patterns.verdict(path.removesuffix("/"), folder=path.endswith("/"))
            assert verdict is expected, (text, path)


def test_a_name_matches_at_any_depth_and_a_path_from_its_folder() -> None:
    check("a.py", excludes="a.py,x/a.py,a.py/", says_nothing_of="b.py,a.pyc,xa.py")
    check("/a.py", excludes="a.py", says_nothing_of="x/a.py")
    check("x/a.py", excludes="x/a.py", says_nothing_of="y/x/a.py,a.py")
    check("a/", excludes="a/,x/a/", says_nothing_of="a,x/a")


def test_the_last_pattern_that_matches_counts() -> None:
    check("*.py\n!keep.py\n", excludes="a.py", keeps="keep.py,x/keep.py")
    check("!keep.py\n*.py\n", excludes="keep.py")
    check("out/*\n!out/keep.py", excludes="out/a.py", keeps="out/keep.py", says_nothing_of="out/,x/out/a.py")
    check("a\n!a/", excludes="a", keeps="a/")
    check("*.b.py\n!*.py\n", keeps="a.b.py,a.py")


@pytest.mark.parametrize(
    ("pattern", "matches", "others"),
    [
        ("a*b*c", "abc,aXbYc,abbcc", "ab,abcd,xabc,acb"),
        ("*a", "a,ba,x/ba", "ab"),
        ("a?c", "abc,aéc", "ac,abbc"),
        ("[ab]x[!ab]", "axc,bxx", "cxc,axa"),
        ("[a-c][^a-c]", "ad,c9", "aa,dd"),
        ("[]a-]x", "]x,ax,-x", "bx"),
        ("[z-a]", "z", "m,a"),
        (r"[\]\\]", "],\\", "a"),
        ("[[:digit:]_]x", "1x,_x", "ax,:x"),
        (r"\*\?", "*?", "ab"),
        (r"\!a", "!a", "a"),
        (r"\#a", "#a", "a"),
        ("a  ", "a", "a  "),
        ("a\\ ", "a ", "a"),
        ("a\r", "a", "b"),
        ("**/a", "a,x/a,x/y/a", "ab"),
        ("a/**", "a/x,a/x/y", "a,x/a/y"),
        ("a/**/b", "a/b,a/x/b,a/x/y/b", "ab,x/a/b,a/b/c"),
        ("**/x/**/y/*.py", "x/y/a.py,a/x/b/x/y/c.py", "x/y,x/a.py"),
        ("a**b/c", "ab/c,axxb/c", "a/b/c"),
        ("*", "a,x/y", ""),
        ("**", "a,x/y", ""),
        ("/**", "a,x/y", ""),
    ],
)
def test_wildcards(pattern: str, matches: str, others: str) -> None:
    check(pattern, excludes=matches, says_nothing_of=others)


@pytest.mark.parametrize("line", ["", "# a", "/", "!", "[a", "a\\", "a[[:no:]]"])
def test_a_line_that_means_nothing_costs_itself(line: str) -> None:
    check(f"{line}\nb\n", excludes="b", says_nothing_of="a,[a,a\\")


@pytest.mark.parametrize("line", ["a" * (PATTERN_CHARS + 1), "*/" * SEGMENTS + "*/a"])
def test_a_line_that_is_too_long_costs_itself_and_is_said_so(line: str) -> None:
    patterns = IgnorePatterns(f"{line}\nb\n")
    assert len(patterns) == 1
    assert patterns.refused


def test_too_many_patterns_are_cut_off_and_said_so() -> None:
    patterns = IgnorePatterns("".join(f"{number}\n" for number in range(PATTERNS + 100)))
    assert len(patterns) == PATTERNS
    assert str(PATTERNS) in patterns.refused


def test_patterns_with_many_stars_end() -> None:
    lines = run_apart(
        """
from tuning.ranking.serving.index.ignore import IgnorePatterns

patterns = IgnorePatterns("*a*a*a*a*a*a*a*a*a*ab\\n" "**/a/**/a/**/a/**/a/**/a/**/b\\n" "*[a]*[a]*[a]*[a]*[a]*[a]b\\n" "?*?*?*?*?*?*?*b\\n")
print(len(patterns), patterns.verdict("/".join(["a"] * 80 + ["a" * 250 + "c"]), folder=False))
"""
    )
    assert lines == ["4 None"]
