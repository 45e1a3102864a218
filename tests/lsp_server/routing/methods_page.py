"""Makes the table in docs/several-servers-reference.md from routing/table.py. Run it to update the page:

python -m tests.lsp_server.routing.methods_page
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lsp_server.routing import merging
from lsp_server.routing.notifications import PASSED_ON
from lsp_server.routing.table import ROUTES, For, Late, Route, Wait

PAGE = Path(__file__).parents[3] / "docs" / "several-servers-reference.md"
BEGIN, END = "<!-- methods -->\n", "<!-- end of methods -->"
HEAD = "| request | servers asked | answers waited for | how they are merged | a late answer |\n| --- | --- | --- | --- | --- |\n"
JOINED = {
    merging.first: "",
    merging.concatenated: "one list, the preferred server's first",
    merging.locations: "one list, each place once",
    merging.hovers: "one hover, equal texts once",
    merging.workspace_edits: "one edit; equal changes once, annotations kept distinct; skipped if they overlap a preferred server's",
    merging.text_edits: "one list; equal edits once; skipped if they overlap a preferred server's",
}
ASKED = {
    For.DOCUMENT: "the document's servers",
    For.EVERYONE: "every server",
    For.ITEM: "the server that made the item",
    For.COMMAND: "the server that announced the command",
    For.LEGEND: "the server whose legend was announced",
}
WAITED = {
    Wait.ORDER: "the preferred server's; the next one's on null or an error",
    Wait.ALL: "all",
    Wait.GRACE: "all; after the first one that is not empty, the preferred gets 5 s and the others 1 s more",
}
LATE = {
    Late.NOTHING: "is dropped",
    Late.INCOMPLETE: "the list is marked incomplete, so the editor asks again",
    Late.REFRESH: "is kept, and the editor is told to ask again; dropped if the editor does not support that",
    Late.ERROR: "there is none: the request fails after 60 s",
}
OWN_WORDS = {  # merged by modules of their own
    "textDocument/completion": "one ranked list, equal items once; the others get 0.1 s, the preferred 2 s",
    "textDocument/diagnostic": "one report, equal problems once; result ids by server",
    "workspace/diagnostic": "one report for each document; result ids by server",
}


def table() -> str:
    return HEAD + "".join(f"| {' | '.join(row)} |\n" for row in rows())


def rows() -> Iterator[tuple[str, ...]]:
    for method, route in ROUTES.items():
        alone = route.target in (For.ITEM, For.COMMAND, For.LEGEND)
        waited = "that server's" if alone else WAITED[route.wait]
        joined = OWN_WORDS.get(method, JOINED[route.merge]) or "one server's answer"
        yield f"`{method}`", ASKED[route.target], waited, joined, late(route)


def late(route: Route) -> str:
    return "is waited for" if route.wait is Wait.ORDER else LATE[route.late]


def notifications() -> str:
    return ", ".join(f"`{method}`" for method in sorted(PASSED_ON))


def written() -> str:
    """Return the table as it is in the page."""
    return PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    PAGE.write_text(before + BEGIN + table() + END + rest.partition(END)[2], encoding="utf-8")
