"""What an item does to the text, whatever it is called and wherever it stands in the list."""

from __future__ import annotations

import json
import re
from typing import Any

from lsp_server.jsonrpc.wire import Json
from lsp_server.probe import items_of
from tests.servers.harness import STAR

# What Starling writes, and what differs from request to request: `command` and `data` hold a server's own counters,
# clangd's `score` follows its index.
WRITTEN = {"label", "labelDetails", "sortText", "filterText", "insertText", "textEditText", "preselect"}
COUNTED = {"command", "data", "score"}


def essences(result: Json) -> list[str]:
    """One text an item, sorted: two lists are the same list when these are equal."""
    defaults = result.get("itemDefaults", {}) if isinstance(result, dict) else {}
    return sorted(json.dumps(essence(item, defaults), sort_keys=True, ensure_ascii=False) for item in items_of(result))


def essence(item: Json, defaults: Json) -> dict[str, Any]:
    """Every member that Starling must not touch, and what those that it writes amount to (LSP 3.17)."""
    label = item["label"].removeprefix(STAR).lstrip(" ")  # the mark takes an indented label's place
    details = dict(item.get("labelDetails") or {})
    details["description"] = re.sub("^[★☆]{5} ?", "", details.get("description") or "")
    return {
        **{name: value for name, value in item.items() if name not in WRITTEN | COUNTED},
        "label": label,
        "details": {name: text for name, text in details.items() if text},
        "filtered by": (item.get("filterText") or label).strip(" "),  # a space: see `Ranking.unequal`
        "inserted": inserted(item, label, defaults),
        "command": (item.get("command") or {}).get("command"),
        "data": own_data(item) is not None,
    }


def inserted(item: Json, label: str, defaults: Json) -> Any:
    if item.get("textEdit"):
        return item["textEdit"]
    if "editRange" in defaults:
        return item.get("textEditText") or label
    return item.get("insertText") or label


def own_data(item: Json) -> Any:
    """The server's own `data`, out of Starling's where that is around it."""
    data = item.get("data")
    return data.get("data") if isinstance(data, dict) and "starling" in data else data
