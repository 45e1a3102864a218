"""What is counted of a file, and that a cursor's site has the contexts that counting finds there."""

from __future__ import annotations

import pytest

from corpus.syntax.language import languages
from corpus.usage.contexts import contexts_of, last_name, previous
from corpus.usage.counting import uses
from tests.corpus.sites import site

PYTHON = """\
import numpy as np
from os import path
from .own import hidden


def mean(values, axis=None):
    if not isinstance(values, np.ndarray):
        raise ValueError(values)
    return np.linalg.norm(values, ord=axis)  # never.counted
"""
JAVASCRIPT = """\
import express, { Router } from 'express';
const app = express();
app.use(Router);
for (const each of listed) {
  console.log(`never ${each.counted}`, each.name);
}
"""


def test_names_stand_in_their_contexts() -> None:
    found = uses(PYTHON.encode(), languages()["python"])
    assert found["m< numpy"] == {"ndarray": 1, "linalg": 1}
    assert found["m< numpy.linalg"] == {"norm": 1}
    assert found["n raise"] == {"ValueError": 1}
    assert found["n(< isinstance 1"] == {"np": 1}
    assert found["n(< numpy.linalg.norm ord"] == {"axis": 1}
    assert found["i< os"] == {"path": 1}
    names = {name for names in found.values() for name in names}
    assert not names & {"hidden", "own", "counted", "mean", "def", "return"}


def test_declared_names_are_no_uses() -> None:
    found = uses(JAVASCRIPT.encode(), languages()["javascript"])
    assert found["m< express()"] == {"use": 1}
    assert found["m console"] == {"log": 1}
    assert found["i< express"] == {"Router": 1}
    assert "app" not in found["n const"] and "counted" not in found["m"]


@pytest.mark.parametrize(
    ("text", "language", "names"),
    [
        (PYTHON, "python", ["ndarray", "norm", "ValueError", "isinstance"]),
        (JAVASCRIPT, "javascript", ["use", "log", "listed"]),
    ],
)
def test_a_site_has_the_contexts_that_are_counted(text: str, language: str, names: list[str]) -> None:
    found = uses(text.encode(), languages()[language])
    for name in names:
        start = text.index(name)
        line_end = text.index("\n", start)
        live = site(f"{text[:start]}|{text[line_end:]}", languages()[language])
        contexts = contexts_of(live, text[:start].encode(), languages()[language])
        assert set(contexts) == {context for context, here in found.items() if name in here}, name


@pytest.mark.parametrize(
    ("expression", "last"),
    [("a.b", "b"), ("a.b()", "b()"), ("a[0].c[1](2)", "c[]()"), ("'x'", ""), ("a", "a"), ("(a)", ""), ("", "")],
)
def test_the_last_name_of_an_expression(expression: str, last: str) -> None:
    assert last_name(expression, languages()["python"]) == last


@pytest.mark.parametrize(
    ("before", "token"),
    [
        ("raise ", "raise"),
        ("x = ", "="),
        ("f(a, ", ","),
        ("a\n    ", "\n"),
        ("a == ", "=="),
        ("f(", "("),
        ("foo ", "a"),
        ("", "\n"),
    ],
)
def test_the_token_before_a_name(before: str, token: str) -> None:
    assert previous(before.encode(), languages()["python"]) == token
