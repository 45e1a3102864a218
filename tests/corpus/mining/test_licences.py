"""Under which licence a repository is: what its files say in full, whatever they look like."""

from __future__ import annotations

import pytest

from corpus.mining import licences
from corpus.mining.licences import UNKNOWN, allowed, is_licence_file, licence_of, searched
from tests.corpus.repositories import APACHE

MIT = b"""Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""
COMMON = [
    (MIT, "MIT"),
    (b"MIT License\n\nCopyright (c) 2020 A. Author\n\n" + MIT, "MIT"),
    (b"# The MIT License (MIT)\nCopyright 2020 A. Author\n\n" + MIT.replace(b"\n", b"\n> "), "MIT"),
    (APACHE, "Apache-2.0"),
    (APACHE.replace(b"http://", b"https://").replace(b"\n", b"\r\n"), "Apache-2.0"),
    (APACHE.replace(b"Copyright [yyyy] [name of copyright owner]", b"Copyright 2020 A. Author"), "Apache-2.0"),
]


@pytest.mark.parametrize(("text", "expected"), COMMON, ids=range(len(COMMON)))
def test_common_texts_are_known_without_a_search_that_finds_the_same(
    text: bytes, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert searched(text.decode()) == expected
    monkeypatch.setattr(licences, "searched", pytest.fail)
    assert licence_of({"LICENSE": text}) == expected


@pytest.mark.parametrize(
    "text",
    [
        MIT + b"Not for use in weapons.",
        MIT.replace(b"sell", b"keep"),
        b"GNU GPL\n" + MIT,
        APACHE.replace(b"perpetual", b"annual"),
    ],
    ids=range(4),
)
def test_any_other_text_is_searched_for(text: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(licences, "searched", lambda whole: f"searched {len(whole)}")
    assert licence_of({"LICENSE": text}).startswith("searched")


def test_the_licence_is_that_of_whole_texts() -> None:
    assert licence_of({"LICENSE": APACHE}) == "Apache-2.0"
    assert licence_of({"LICENSE": APACHE, "deep/er/LICENSE": b"All rights reserved."}) == "Apache-2.0"
    assert licence_of({"LICENSE": b"You may use this under MIT."}) == UNKNOWN
    assert licence_of({"LICENSE-APACHE": APACHE, "LICENSE-OTHER": b"All rights reserved."}) == UNKNOWN
    assert licence_of({}) == UNKNOWN


@pytest.mark.parametrize("text", [MIT, APACHE], ids=["mit", "apache"])
def test_a_clause_that_is_added_makes_another_licence(text: bytes) -> None:
    clause = b"Commons Clause License Condition v1.0"
    assert licence_of({"LICENSE": clause + b"\n\n" + text}) == UNKNOWN
    assert licence_of({"LICENSE": text + b"\n\n" + clause}) == UNKNOWN


def test_what_is_unknown_is_not_allowed() -> None:
    assert allowed("Apache-2.0") and allowed("Apache-2.0 OR MIT")
    assert not allowed(UNKNOWN) and not allowed("GPL-3.0") and not allowed("GPL-3.0 OR MIT")
    assert allowed(UNKNOWN, ["unknown"])


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("LICENSE", True),
        ("License.txt", True),
        ("LICENCE.md", True),
        ("COPYING", True),
        ("LICENSE-MIT", True),
        ("UNLICENSE", True),
        ("pkg-1.0/LICENSE", True),
        ("src/deep/LICENSE", False),
        ("licenses.py", False),
        ("THIRD-PARTY-NOTICES", False),
        ("LICENSE-third-party.txt", False),
        ("license_checker.js", False),
    ],
)
def test_which_files_state_the_licence(path: str, expected: bool) -> None:
    assert is_licence_file(path) == expected
