"""docs/several-servers-reference.md says what the table does; docs/several-servers.md has each option of a server."""

from __future__ import annotations

import json
import re

from lsp_server.features.completion import PREFERRED as LIST_PREFERRED
from lsp_server.features.completion import TARDY as LIST_TARDY
from lsp_server.routing.fanout import PREFERRED, TARDY, WHOLE
from lsp_server.settings import ServerSettings, Settings, updated
from tests.lsp_server.routing.methods_page import LATE, OWN_WORDS, PAGE, WAITED, table, written

OPTIONS = PAGE.with_name("several-servers.md")


def test_the_table_is_written_as_it_is() -> None:
    assert written() == table()


def test_the_times_are_those_of_the_code() -> None:
    assert f"{PREFERRED:g} s" in "".join(WAITED.values())
    assert f"{TARDY:g} s" in "".join(WAITED.values())
    assert f"{WHOLE:g} s" in "".join(LATE.values())
    assert f"{LIST_TARDY:g} s, the preferred {LIST_PREFERRED:g} s" in OWN_WORDS["textDocument/completion"]


def test_each_example_of_settings_is_taken() -> None:
    examples = re.findall(r"```json\n(.*?)```", OPTIONS.read_text(encoding="utf-8"), re.DOTALL)
    assert examples
    for example in examples:
        _, problems = updated(Settings(), json.loads(example), trusted=True)
        assert problems == []


def test_each_member_of_a_server_is_documented() -> None:
    names = {
        "".join(part.title() if at else part for at, part in enumerate(name.split("_")))
        for name in ServerSettings.__struct_fields__
    }
    assert {name for name in names if f"| `{name}` |" not in OPTIONS.read_text(encoding="utf-8")} == set()
