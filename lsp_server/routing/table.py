"""The table of LSP's capabilities and their requests. Each row has everything that routing knows of one capability.

A capability tells which servers can answer. The route of a request tells which of them are asked, how long to wait, how
the answers are merged, and what happens with a late answer. docs/several-servers-reference.md shows this table; a test
compares the two. `tests/lsp_server/routing/test_table.py` checks the table against every message of LSP 3.18.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from lsp_server.routing import merging
from lsp_server.routing.merging import Merge


class For(Enum):
    """Which servers may be asked."""

    DOCUMENT = "the document's servers"
    EVERYONE = "every server"
    ITEM = "the server that made the item"
    COMMAND = "the server that announced the command"
    LEGEND = "the server whose legend was announced"


class Wait(Enum):
    """How long to wait for answers."""

    ORDER = "one at a time: the preferred server, then the next one on null or an error"
    ALL = "until all have answered"
    GRACE = "until one answer is not empty, then a moment longer for the others"


class Late(Enum):
    """What happens with an answer that arrives after the response was sent to the editor."""

    NOTHING = "it is dropped"
    INCOMPLETE = "the list was marked incomplete, so the editor asks again"
    REFRESH = "it is kept, and the editor is told to ask again; dropped if the editor does not support that"
    ERROR = "it is dropped; the response was an error, because the result would be incomplete"


@dataclass(frozen=True, kw_only=True)
class Route:
    """How one request is answered.

    provider: the path in ServerCapabilities that tells whether a server answers it; "" if there is none.
    item: for `For.ITEM`, the member of the params that is the item; "" if the params themselves are the item.
    marks: the member of each element of the result that comes back in a request `For.ITEM`; "" if the element itself
        does; None if nothing does.
    reads: the request changes nothing in the editor, so it can be sent again after a crash.
    key, method: those of the row that the request belongs to.
    """

    provider: str = ""
    target: For = For.DOCUMENT
    wait: Wait = Wait.ORDER
    late: Late = Late.NOTHING
    merge: Merge = merging.first
    item: str = ""
    marks: str | None = None
    reads: bool = False
    key: str = ""
    method: str = ""

    @property
    def member(self) -> tuple[str, ...]:
        """The path, below the capability's key, of the option that the request needs; () if it needs none."""
        return tuple(self.provider[len(self.key) + 1 :].split(".")) if self.provider != self.key else ()


@dataclass(frozen=True, kw_only=True)
class Capability:
    """One row of the table.

    key: its path in ServerCapabilities; "" if servers can only register it.
    method: the method of its registration; "" if it can't be registered.
    client: the path in the client's capabilities that has `dynamicRegistration` for it.
    by_document: whether its registrations have a document selector.
    refresh: the request that makes an editor ask again.
    refresh_client: the path in the client's capabilities that has `refreshSupport` for this request.
    """

    key: str = ""
    method: str = ""
    client: str = ""
    by_document: bool = True
    refresh: str = ""
    refresh_client: str = ""
    requests: Mapping[str, Route] = field(default_factory=dict[str, Route])


def _row(
    name: str, key: str, own: Route | None = None, *, client: str = "", refresh: str = "", **others: Route
) -> Capability:
    """Return the usual row: a request about a document, registered under its own name.

    own: the route of the request. others: more requests of the capability, by method with `__` for a slash.
    refresh: the name in the refresh request and in the client capability; "request client" if the two names differ.
    """
    method = f"textDocument/{name}"
    request, _, refresh_client = refresh.partition(" ")
    return Capability(
        key=key,
        method=method,
        client=f"textDocument.{client or name}",
        refresh=f"workspace/{request}/refresh" if request else "",
        refresh_client=f"workspace.{refresh_client or request}" if request else "",
        requests={
            method: replace(own or Route(), provider=key),
            **{other.replace("__", "/"): route for other, route in others.items()},
        },
    )


READ = Route(reads=True)
WRITE = Route()
# The editor shows the result at once and does not take a later one.
SHOWN = Route(reads=True, wait=Wait.GRACE, merge=merging.locations)
WHOLE = Route(reads=True, wait=Wait.ALL, late=Late.ERROR, merge=merging.locations)
EDITS = Route(target=For.EVERYONE, wait=Wait.ALL, late=Late.ERROR, merge=merging.workspace_edits)
LISTED = Route(reads=True, wait=Wait.ALL, merge=merging.concatenated)
REFRESHED = replace(LISTED, late=Late.REFRESH)
RESOLVE = Route(target=For.ITEM)


def _of_item(marks: str) -> Route:
    """Return the route of a request about an item of a hierarchy. Its results contain items too."""
    return Route(target=For.ITEM, item="item", marks=marks, reads=True)


def _file_operation(name: str) -> Capability:
    key, method = f"workspace.fileOperations.{name}", f"workspace/{name}Files"
    requests = {method: replace(EDITS, provider=key)} if name.startswith("will") else {}
    return Capability(key=key, method=method, client="workspace.fileOperations", by_document=False, requests=requests)


def _saving(name: str, method: str, requests: Mapping[str, Route] | None = None) -> Capability:
    key = f"textDocumentSync.{name}"
    return Capability(key=key, method=method, client="textDocument.synchronization", requests=requests or {})


_ROWS: tuple[Capability, ...] = (
    _row("completion", "completionProvider", Route(  # merged by features.completion
        reads=True, wait=Wait.GRACE, late=Late.INCOMPLETE, merge=merging.concatenated)),
    _row("hover", "hoverProvider", replace(SHOWN, merge=merging.hovers)),
    _row("signatureHelp", "signatureHelpProvider", READ),
    _row("declaration", "declarationProvider", SHOWN),
    _row("definition", "definitionProvider", SHOWN),
    _row("typeDefinition", "typeDefinitionProvider", SHOWN),
    _row("implementation", "implementationProvider", WHOLE),
    _row("references", "referencesProvider", WHOLE),
    _row("documentHighlight", "documentHighlightProvider", READ),
    _row("documentSymbol", "documentSymbolProvider", READ),
    _row("codeAction", "codeActionProvider", replace(SHOWN, merge=merging.concatenated, marks="", reads=False),
         codeAction__resolve=RESOLVE),
    _row("codeLens", "codeLensProvider", replace(REFRESHED, marks="", reads=False), refresh="codeLens", codeLens__resolve=RESOLVE),
    _row("documentLink", "documentLinkProvider", replace(LISTED, marks="", reads=False), documentLink__resolve=RESOLVE),
    _row("inlayHint", "inlayHintProvider", replace(REFRESHED, marks=""), refresh="inlayHint", inlayHint__resolve=RESOLVE),
    _row("inlineValue", "inlineValueProvider", replace(REFRESHED, reads=False), refresh="inlineValue"),
    _row("inlineCompletion", "inlineCompletionProvider", WRITE),
    _row("documentColor", "colorProvider", LISTED, client="colorProvider",
         textDocument__colorPresentation=Route(provider="colorProvider")),
    _row("formatting", "documentFormattingProvider", WRITE),
    _row("rangeFormatting", "documentRangeFormattingProvider", WRITE,
         textDocument__rangesFormatting=Route(provider="documentRangeFormattingProvider.rangesSupport")),
    _row("onTypeFormatting", "documentOnTypeFormattingProvider", WRITE),
    _row("rename", "renameProvider", WRITE, textDocument__prepareRename=Route(provider="renameProvider.prepareProvider")),
    _row("foldingRange", "foldingRangeProvider", READ, refresh="foldingRange"),
    _row("selectionRange", "selectionRangeProvider", READ),
    _row("linkedEditingRange", "linkedEditingRangeProvider", WRITE),
    _row("prepareCallHierarchy", "callHierarchyProvider", Route(marks=""), client="callHierarchy",
         callHierarchy__incomingCalls=_of_item("from"), callHierarchy__outgoingCalls=_of_item("to")),
    _row("prepareTypeHierarchy", "typeHierarchyProvider", Route(marks=""), client="typeHierarchy",
         typeHierarchy__supertypes=_of_item(""), typeHierarchy__subtypes=_of_item("")),
    Capability(key="semanticTokensProvider", method="textDocument/semanticTokens", client="textDocument.semanticTokens",
               refresh="workspace/semanticTokens/refresh", refresh_client="workspace.semanticTokens", requests={
        "textDocument/semanticTokens/full": Route(provider="semanticTokensProvider", target=For.LEGEND, reads=True),
        "textDocument/semanticTokens/full/delta": Route(provider="semanticTokensProvider", target=For.LEGEND, reads=True),
        "textDocument/semanticTokens/range": Route(provider="semanticTokensProvider.range", target=For.LEGEND, reads=True),
    }),
    _row("moniker", "monikerProvider", WRITE),
    _row("diagnostic", "diagnosticProvider", replace(REFRESHED, reads=True), refresh="diagnostic diagnostics",
         workspace__diagnostic=Route(provider="diagnosticProvider.workspaceDiagnostics", target=For.EVERYONE,
                                     wait=Wait.GRACE, late=Late.REFRESH, reads=True)),  # merged by pulled_diagnostics
    Capability(key="workspaceSymbolProvider", method="workspace/symbol", client="workspace.symbol", by_document=False, requests={
        "workspace/symbol": Route(provider="workspaceSymbolProvider", target=For.EVERYONE, wait=Wait.ALL, late=Late.ERROR,
                                  merge=merging.concatenated, marks="", reads=True),
        "workspaceSymbol/resolve": RESOLVE,
    }),
    Capability(key="executeCommandProvider", method="workspace/executeCommand", client="workspace.executeCommand",
               by_document=False, requests={"workspace/executeCommand": Route(target=For.COMMAND)}),
    Capability(key="notebookDocumentSync", method="notebookDocument/sync", client="notebookDocument.synchronization",
               by_document=False),
    _saving("willSave", "textDocument/willSave"),
    _saving("willSaveWaitUntil", "textDocument/willSaveWaitUntil", {
        "textDocument/willSaveWaitUntil": Route(
            provider="textDocumentSync.willSaveWaitUntil", wait=Wait.ALL, late=Late.ERROR, merge=merging.text_edits),
    }),
    _saving("save", "textDocument/didSave"),
    Capability(key="workspace.textDocumentContent", method="workspace/textDocumentContent", client="workspace.textDocumentContent",
               by_document=False, requests={
        "workspace/textDocumentContent": Route(provider="workspace.textDocumentContent", target=For.EVERYONE, reads=True),
    }),
    *map(_file_operation, ("willCreate", "willRename", "willDelete", "didCreate", "didRename", "didDelete")),
    Capability(key="workspace.workspaceFolders", method="workspace/didChangeWorkspaceFolders", by_document=False),
    Capability(method="workspace/didChangeWatchedFiles", client="workspace.didChangeWatchedFiles", by_document=False),
)  # fmt: skip


def _named(row: Capability) -> Capability:
    """Return the row with its key and method in each route."""
    named = {method: replace(route, key=row.key, method=row.method) for method, route in row.requests.items()}
    return replace(row, requests=named)


TABLE: tuple[Capability, ...] = tuple(map(_named, _ROWS))
ROUTES: Mapping[str, Route] = {method: route for row in TABLE for method, route in row.requests.items()}
ROWS: Mapping[str, Capability] = {row.method: row for row in TABLE if row.method}
REGISTRABLE: tuple[Capability, ...] = tuple(row for row in TABLE if row.client and row.key)  # announced or registered
OTHER = Route()  # for requests that LSP does not define
