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
JAVA = """\
package app.shown;
import java.util.*;
import java.util.List;
import static org.junit.Assert.assertEquals;

class Screen extends View {
    private final List<String> names = new ArrayList<>();
    void show(Bundle state, int x) {
        super.show(state);
        names.add(state.getString("a"));
        assertEquals(names.size(), x);
    }
}
"""
GO = """\
package shown

import (
	"net/http"
	"strings"
)

func fetch(client *http.Client, addresses []string) error {
	request, err := http.NewRequest("GET", strings.Join(addresses, ""), nil)
	if err != nil {
		return err
	}
	request.Header.Set("a", "b")
	return nil
}
"""
RUST = """\
use std::{collections::HashMap, io::{self, Read}};
use super::*;

pub fn count<'l>(text: &'l str, known: &mut HashMap<String, usize>) -> io::Result<usize> {
    let file = std::fs::File::open(text)?;
    known.insert(text.to_string(), 1);
    Ok(file.metadata()?.len())
}
"""
CPP = """\
#include <sys/types.h>
#include <vector>

int shown(const std::vector<int> &all, FILE *out) {
  fprintf(out, "%d", all.size());
  return 0;
}
"""
PHP = """\
<?php
namespace App\\Shown;

use Illuminate\\Support\\Collection;
use function Shop\\pour;

class Screen extends View
{
    private Collection $names;

    public function show(Bundle $state): void
    {
        parent::show($state);
        $this->names->push(\\strlen("a $state"), at: $state);
        pour($state);
        throw new \\InvalidArgumentException(pour(...$names));
    }
}
"""
CSHARP = """\
using System.Text;

namespace App.Shown;

class Screen : View<int>
{
    private readonly List<string> names = new();

    void Show(Bundle state, int x)
    {
        base.Show(state);
        names.Add(string.Join(" ", state), at: x);
        throw new ArgumentException(nameof(state));
    }
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
    ("text", "language", "contexts"),
    [
        (
            JAVA,
            "java",
            {
                "i< java.util": {"List": 1},
                "m< java.util.List()": {"add": 1, "size": 1},
                "m< View()": {"show": 1},
                "n new": {"ArrayList": 1},
                "n(< org.junit.Assert.assertEquals 0": {"names": 1},
            },
        ),
        (
            GO,
            "go",
            {
                "m< net/http": {"Client": 1, "NewRequest": 1},
                "m< net/http.Request()": {"Header": 1},
                "m< net/http.Request().Header": {"Set": 1},
                "n(< strings.Join 0": {"addresses": 1},
            },
        ),
        (
            RUST,
            "rust",
            {
                "i< std.io": {"Read": 1},
                "m< std.fs.File": {"open": 1},
                "m< std.collections.HashMap()": {"insert": 1},
                "m< std.fs.File.open().metadata()": {"len": 1},
                "n(< std.fs.File.open 0": {"text": 1},
            },
        ),
        (
            PHP,
            "php",
            {
                "i< Illuminate.Support": {"Collection": 1},
                "i< Shop": {"pour": 1},
                "m< Illuminate.Support.Collection()": {"push": 1},
                "m< View()": {"show": 1, "names": 1},
                "n new": {"InvalidArgumentException": 1},
                "n(< Shop.pour 0": {"$state": 1, "$names": 1},
                "n(< Illuminate.Support.Collection().push at": {"$state": 1},
            },
        ),
        (
            CSHARP,
            "csharp",
            {
                "i< System": {"Text": 1},
                "m< List()": {"Add": 1},
                "m< string": {"Join": 1},
                "m< View()": {"Show": 1},
                "n new": {"ArgumentException": 1},
                "n(< nameof 0": {"state": 1},
                "n(< List().Add at": {"x": 1},
            },
        ),
        (CPP, "cpp", {"m< std.vector()": {"size": 1}, "n(< fprintf 0": {"out": 1}, "m< std": {"vector": 1}}),
    ],
)
def test_typed_languages(text: str, language: str, contexts: dict[str, dict[str, int]]) -> None:
    found = uses(text.encode(), languages()[language])
    assert contexts == {context: dict(found[context]) for context in contexts}
    names = {name for names in found.values() for name in names}
    assert not names & {"app", "shown", "java", "util", "l", "sys", "types", "h", "count", "fetch"}
    assert not {context for context in found if context.startswith(("n( show", "n( count", "n( fetch", "n( Show"))} - {
        "n( Show",
        "n( Show 0",
        "n( show",
        "n( show 0",
    }


@pytest.mark.parametrize(
    ("text", "language", "names"),
    [
        (PYTHON, "python", ["ndarray", "norm", "ValueError", "isinstance"]),
        (JAVASCRIPT, "javascript", ["use", "log", "listed"]),
        (JAVA, "java", ["ArrayList", "show(state", "add", "getString"]),
        (GO, "go", ["NewRequest", "Header", "Set"]),
        (RUST, "rust", ["open", "insert", "metadata"]),
        (CPP, "cpp", ["fprintf", "size"]),
        (PHP, "php", ["push", "strlen", "InvalidArgumentException"]),
        (CSHARP, "csharp", ["Add", "Join", "ArgumentException", "nameof"]),
    ],
)
def test_a_site_has_the_contexts_that_are_counted(text: str, language: str, names: list[str]) -> None:
    found = uses(text.encode(), languages()[language])
    for place in names:
        start, name = text.index(place), place.partition("(")[0]
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
