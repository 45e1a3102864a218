"""Document filters and LSP's glob patterns."""

from __future__ import annotations

import time

import pytest

from lsp_server.documents.selectors import RelativePattern, glob, pattern_matches, selector_of, selects
from lsp_server.jsonrpc import wire

URI = "file:///w/src/deep/a.test.py"
MATCHES = ["**/*.py", "*.py", "/w/**", "w/src/**/a.*", "**/*.{ts,py}", "**/{src,lib}/**", "**/[a-c].test.p?", "**"]
NOT = ["/w/*.py", "**/*.{ts,js}", "**/[!a]*.py", "src/**", "**/*.p", "{", "[", "**/lib/**"]


@pytest.mark.parametrize(("pattern", "expected"), [*((one, True) for one in MATCHES), *((one, False) for one in NOT)])
def test_globs(pattern: str, expected: bool) -> None:
    assert pattern_matches(pattern, URI) is expected


@pytest.mark.parametrize(
    ("base", "expected"), [("file:///w/src", True), ("file:///w/src/", True), ("file:///w/s", False)]
)
def test_relative_patterns(base: str, expected: bool) -> None:
    assert pattern_matches(RelativePattern(base, "deep/*.py"), URI) is expected
    assert pattern_matches(RelativePattern("file:///C%3A/w", "*.py"), "file:///c:/w/a.py")


def test_selectors() -> None:
    given = [{"language": "toy", "scheme": "file"}, {"pattern": {"baseUri": "file:///w", "pattern": "**/*.py"}}, "java"]
    selector = selector_of(given)
    assert selects(selector, URI, "python")
    assert selects(selector, "file:///x.toy", "toy")
    assert not selects(selector, "untitled:x", "toy")
    assert selects(selector, "untitled:x", "java")
    assert selects(selector_of(None), URI, "python")
    assert not selects(selector_of([]), URI, "python")


@pytest.mark.parametrize("given", ["python", [{"language": 1}], [{"pattern": {"pattern": "x"}}], {}])
def test_what_is_no_selector_is_malformed(given: object) -> None:
    with pytest.raises(wire.Malformed):
        selector_of(given)


def test_a_hostile_pattern_is_no_hang() -> None:
    for pattern in ("**/" * 500 + "x", "*a" * 500, "{a,b}" * 30, "[" * 1000):
        started = time.process_time()
        glob(pattern)("/" + "a/" * 300 + "a" * 3000)
        assert time.process_time() - started < 5
