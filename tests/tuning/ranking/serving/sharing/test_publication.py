"""What an index may say: whatever else it says costs the entry that says it, and no other."""

from __future__ import annotations

import json
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuning.ranking.serving.sharing.errors import SourceUnreachable
from tuning.ranking.serving.sharing.publication import (
    ENTRIES,
    FORMAT,
    VERSION,
    folded,
    read_index,
    written_index,
)

SHA = "0123456789abcdef" * 4
FILES = {"adapter_config.json": {"size": 90, "sha256": SHA}, "adapter_model.safetensors": {"size": 900, "sha256": SHA}}
GOOD = {"kind": "adapters", "name": "good", "made": "2026-01-02T03:04:05+00:00", "files": FILES}
TABLE = {"kind": "usage", "name": "good", "files": {"python.usage": {"size": 90, "sha256": SHA}}}


def index(*entries: Any, **other: Any) -> bytes:
    return json.dumps({"format": FORMAT, "version": VERSION, "entries": entries, **other}).encode()


def config(size: Any = 90, sha256: Any = SHA) -> dict[str, Any]:
    return {"files": {**FILES, "adapter_config.json": {"size": size, "sha256": sha256}}}


def further(name: str) -> dict[str, Any]:
    return {"files": {**FILES, name: {"size": 90, "sha256": SHA}}}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "../../home"}, "its name may have"),
        ({"name": "/etc"}, "its name may have"),
        ({"name": "a/b"}, "its name may have"),
        ({"name": "a\\b"}, "its name may have"),
        ({"name": "a\0b"}, "its name may have"),
        ({"name": "C:team"}, "its name may have"),
        ({"name": ".hidden"}, "its name may have"),
        ({"name": "team."}, "its name may have"),
        ({"name": ""}, "its name may have"),
        ({"name": "x" * 65}, "its name may have"),
        ({"name": "e\u0301cole"}, "its name may have"),
        ({"name": "\x1b[2Jteam"}, "its name may have"),
        ({"name": "NUL"}, "device on Windows"),
        ({"name": "com1.shop"}, "device on Windows"),
        ({"name": 3}, "str"),
        ({"kind": "scripts"}, "kind"),
        ({"kind": "usage"}, "is no file of a usage table"),
        ({"made": "\x1b[31m"}, "made"),
        ({"base": "/home/ann/model"}, "base"),
        ({"beneath": "../x"}, "beneath"),
        ({"repositories": ["../.."]}, "repositories"),
        ({"repositories": [".."]}, "no folder's"),
        ({"repositories": ["."]}, "no folder's"),
        ({"repositories": ["/etc"]}, "repositories"),
        ({"repositories": ["C:"]}, "repositories"),
        ({"repositories": [""]}, "repositories"),
        ({"repositories": ["a\u202eb"]}, "no folder's"),
        ({"languages": ["py\nthon"]}, "languages"),
        ({"figures": {"R@1": "much"}}, "figures"),
        ({"figures": {"\x1b": 1}}, "figures"),
        ({"files": {}}, "files"),
        ({"files": {"adapter_config.json": FILES["adapter_config.json"]}}, "no adapter_model.safetensors"),
        (further("adapter_model.bin"), "is no file of an adapter"),
        (further("pytorch_model.pkl"), "is no file of an adapter"),
        (further("../../.bashrc"), "is no file of an adapter"),
        (further("/etc/passwd"), "is no file of an adapter"),
        (further("ADAPTER_CONFIG.JSON"), "is no file of an adapter"),
        (further("adapter_config.json:stream"), "is no file of an adapter"),
        (further("nul"), "is no file of an adapter"),
        (config(size=-1), "-1 bytes"),
        (config(size=0), "0 bytes"),
        (config(size=1 << 40), "at most 1048576"),
        (config(size="many"), "int"),
        (config(sha256=SHA.upper()), "no SHA-256"),
        (config(sha256="../" * 21 + "x"), "no SHA-256"),
        (config(sha256=None), "sha256"),
    ],
    ids=str,
)
def test_an_entry_that_is_not_as_it_should_be_is_refused_and_the_others_are_read(
    change: dict[str, Any], said: str
) -> None:
    entries, refused = read_index(index({**GOOD, "name": "bad", **change}, GOOD, TABLE), "")
    assert [(entry.kind, entry.name) for entry in entries] == [("adapters", "good"), ("usage", "good")]
    ((name, why),) = refused
    assert said in str(why)
    assert name.isprintable()


@pytest.mark.parametrize("bad", [None, 3, [], "x", {}, [[]] * 9], ids=str)
def test_what_is_no_entry_at_all_is_refused(bad: Any) -> None:
    entries, refused = read_index(index(bad, GOOD), "")
    assert len(entries) == 1
    assert [name for name, _ in refused] == ["entry 1"]


@pytest.mark.parametrize(("first", "second"), [("shop", "shop"), ("shop", "Shop"), ("straße", "STRASSE")])
def test_two_that_would_be_one_folder_somewhere_are_not_both_taken(first: str, second: str) -> None:
    entries, refused = read_index(index({**GOOD, "name": first}, {**GOOD, "name": second}, TABLE), "")
    assert [entry.name for entry in entries] == [first, "good"]
    assert [name for name, _ in refused] == [second]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no index"),
        (b"<html>sign in</html>", "no index"),
        (b"\xff\xfe", "no index"),
        (b"[]", "no index"),
        (b"[" * 200_000, "no index"),
        (index(format="else"), "'else' of version 1"),
        (index(version=2), "of version 2; this Starling reads"),
        (index(*[GOOD] * (ENTRIES + 1)), f"more than {ENTRIES}"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_is_no_index_is_said(data: bytes, said: str) -> None:
    with pytest.raises(SourceUnreachable, match=said):
        read_index(data, "share")


def test_deep_nesting_in_an_entry_costs_it_alone() -> None:
    deep = json.dumps({**GOOD, "name": "bad", "more": "@"}).replace('"@"', "[" * 100_000 + "]" * 100_000)
    text = index("@", GOOD).replace(b'"@"', deep.encode())
    try:
        entries, refused = read_index(text, "")
    except SourceUnreachable:  # it depends on how deep this system's stack is
        return
    assert [entry.name for entry in entries][-1:] == ["good"] and len(entries) + len(refused) == 2


def test_what_later_versions_add_is_passed_over() -> None:
    entries, refused = read_index(index({**GOOD, "signature": {"by": "ann"}}, comment="x"), "")
    assert len(entries) == 1 and not refused


def test_an_index_is_the_same_in_any_order() -> None:
    entries, _ = read_index(index(TABLE, GOOD), "")
    assert written_index(entries) == written_index(entries[::-1])
    again, _ = read_index(written_index(entries), "")
    assert [entry.kind for entry in again] == ["adapters", "usage"] and written_index(again) == written_index(entries)


@given(st.text(string.printable + "éßİ\u202e\0", max_size=12))
def test_a_place_lies_beneath_the_index_whatever_the_name(name: str) -> None:
    entries, _ = read_index(index({**GOOD, "name": name, **further(name)}, {**GOOD, "name": name, "kind": "usage"}), "")
    assert not entries  # `further` names a file that no adapter has
    entries, _ = read_index(index({**GOOD, "name": name}), "")
    for entry in entries:
        assert entry.place("adapter_config.json").parts == ("files", entry.digest, "adapter_config.json")
        assert folded(name) == folded(name.upper()) or name != name.upper()
