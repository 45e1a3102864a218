"""Imported paths in words that all files share, in each language's spelling."""

from __future__ import annotations

import pytest

from corpus.syntax.imports import bound_name, origin_of
from corpus.syntax.language import languages
from tests.corpus.sites import check_site


@pytest.mark.parametrize(
    ("language", "module", "member", "origin"),
    [
        ("python", "os.path", "join", "os.path.join"),
        ("python", ".", "own", ".own"),
        ("javascript", "./own.js", "a", "./own.js.a"),
        ("rust", "std::collections", "HashMap", "std.collections.HashMap"),
        ("rust", "crate::cups", "Cup", ".crate.cups.Cup"),
        ("rust", "super", "Cup", ".super.Cup"),
        ("go", "example.org/pgx/v5/pool", "", "example.org/pgx/pool"),
        ("go", "example.org/api/v1", "", "example.org/api/v1"),
        ("cpp", "std", "string", "std.string"),
    ],
)
def test_an_origin_has_dots_and_no_version(language: str, module: str, member: str, origin: str) -> None:
    assert origin_of(module, member, languages()[language]) == origin


@pytest.mark.parametrize(
    ("language", "path", "name"),
    [
        ("go", "net/http", "http"),
        ("go", "example.org/pgx/v5", "pgx"),
        ("go", "example.org/yaml.v3", "yaml"),
        ("go", "example.org/go-isatty", "isatty"),
        ("python", "os", "os"),
    ],
)
def test_the_name_that_an_import_binds(language: str, path: str, name: str) -> None:
    assert bound_name(path, languages()[language]) == name


def test_lists_within_lists_bind_their_names() -> None:
    check_site(
        "use std::{io::{self, Read as In}, fmt, sync::{atomic::AtomicBool, mpsc::{self}}};\nfn f() { | }",
        "rust",
        imports={"io": "std.io", "fmt": "std.fmt", "AtomicBool": "std.sync.atomic.AtomicBool"},
    )
