"""What a repository gives where some of its files can't be read, or come many at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pygit2
import pytest

from corpus.mining import survey as surveys
from corpus.mining.copies import shingles, signatures
from corpus.mining.sources import Entry, snapshot
from corpus.mining.survey import Options, survey
from corpus.syntax.tokens import tokenize
from tests.corpus.repositories import module, repository

SCRIPT = b"#!/usr/bin/env python3\n" + module("script")


def spoil(place: Path, path: str, content: bytes | None) -> None:
    """Overwrite a file's object, or take it away."""
    lost = str(pygit2.Repository(str(place)).revparse_single(f"HEAD:{path}").id)
    file = place / "objects" / lost[:2] / lost[2:]
    file.chmod(0o600)
    file.unlink() if content is None else file.write_bytes(content)


@pytest.mark.parametrize("path", ["tool", "tool.py"])
def test_a_corrupt_file_is_one_file_less_whatever_its_name(tmp_path: Path, path: str) -> None:
    place = repository(tmp_path / "r.git", {"a.py": module("one"), path: SCRIPT})
    opened = snapshot(str(place))
    entries = list(opened.entries())  # their sizes are known before it breaks
    spoil(place, path, b"not an object")
    found = survey(replace(opened, entries=lambda: iter(entries)), Options())
    assert [file.path for file in found.files] == ["a.py"]
    assert found.dropped == {"absent": (1, len(SCRIPT))}


@pytest.mark.parametrize("content", [None, b"not an object"])
def test_a_file_without_an_ending_that_is_not_there_leaves_the_others(tmp_path: Path, content: bytes | None) -> None:
    place = repository(tmp_path / "r.git", {"a.py": module("one"), "tool": SCRIPT})
    spoil(place, "tool", content)
    assert [file.path for file in survey(snapshot(str(place)), Options()).files] == ["a.py"]


def test_scripts_that_their_path_leaves_out_are_not_read(tmp_path: Path) -> None:
    place = repository(
        tmp_path / "r.git", {"bin/tool": SCRIPT, "vendor/tool": SCRIPT, "gen/tool": SCRIPT, "x": b"#!sh\n"}
    )
    opened = snapshot(str(place))
    read: list[str] = []

    def entries() -> Iterator[Entry]:
        for entry in opened.entries():
            yield replace(entry, read=lambda entry=entry: (read.append(entry.path), entry.read())[1])

    found = survey(replace(opened, entries=entries), Options())
    assert set(read) == {"LICENSE", "bin/tool", "x"}
    assert ([file.path for file in found.files], set(found.dropped)) == (["bin/tool"], {"too small"})


def test_files_that_are_cut_together_give_what_each_gives_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {f"{i:02}.py": b"\n" * (i % 3) + module(f"name{i}", 1 + i * 4) for i in range(30)}
    place = repository(tmp_path / "r.git", {**files, "a.ts": b"let a = b.c;\n" * 20})
    together = survey(snapshot(str(place)), Options())
    monkeypatch.setattr(surveys, "BATCH", 1)
    alone = survey(snapshot(str(place)), Options())
    assert alone.files == together.files and len(alone.files) == 31
    expected = signatures([shingles(tokenize(file.data).hashes) for file in together.files])
    assert np.array_equal(alone.signatures, expected) and np.array_equal(together.signatures, expected)
