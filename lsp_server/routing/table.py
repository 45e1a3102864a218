"""The requests of LSP that wrapped servers answer: one row a capability, and all that is known of its requests.

Who can answer is told by the capability, who is asked and how several answers become one by the request's route. Adding a
request is a line here. `tests/lsp_server/routing/test_table.py` sets the table against every message of LSP 3.18.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from lsp_server.routing.merging import (
    Merge,
    concatenated,
    diagnostic_reports,
    first,
    hovers,
    workspace_edits,
    workspace_reports,
)


class For(Enum):
    """Whom a request is for."""

    DOCUMENT = "document"  # the servers of the document that the params name
    EVERYONE = "everyone"  # every server that can
    MARK = "mark"  # the server that made the item
    COMMAND = "command"  # the server that announced the command


@dataclass(frozen=True, kw_only=True)
class Route:
    """`provider` is the capability (a path in ServerCapabilities) that tells whether a server can; "" where nothing tells.

    With `merge` = first only one server is asked. `marks`: items of the answer come back in a request without a document, so
    they carry whose they are. `reads`: asking again, after a crash, changes nothing in the editor.
    """

    provider: str = ""
    target: For = For.DOCUMENT
    merge: Merge = first
    marks: bool = False
    reads: bool = False


@dataclass(frozen=True, kw_only=True)
class Capability:
    """A row. `key`: what it is called in ServerCapabilities. `method`: what it is registered under, "" where it can't be;
    `client`: where a client's capabilities say that it takes the registration."""

    key: str
    method: str = ""
    client: str = ""
    by_document: bool = True
    requests: Mapping[str, Route] = field(default_factory=dict[str, Route])


def _row(
    name: str,
    key: str,
    merge: Merge = first,
    *,
    client: str = "",
    marks: bool = False,
    reads: bool = False,
    **others: Route,
) -> Capability:
    """The usual row: a request of a document, registered under its own name. `others` by name, `__` for a slash."""
    method = f"textDocument/{name}"
    own = Route(provider=key, merge=merge, marks=marks, reads=reads)
    more = {other.replace("__", "/"): route for other, route in others.items()}
    return Capability(key=key, method=method, client=f"textDocument.{client or name}", requests={method: own, **more})


MARKED = Route(target=For.MARK)


def _item(key: str) -> Route:
    """A request about an item that names its document."""
    return Route(provider=key, reads=True)


def _file_operation(name: str) -> Capability:
    key = f"workspace.fileOperations.{name}"
    route = Route(provider=key, target=For.EVERYONE, merge=workspace_edits)
    return Capability(key=key, by_document=False, requests={f"workspace/{name}Files": route})


TABLE: tuple[Capability, ...] = (
    _row("completion", "completionProvider", concatenated, reads=True),  # merged by features.completion
    _row("hover", "hoverProvider", hovers, reads=True),
    _row("signatureHelp", "signatureHelpProvider", reads=True),
    _row("declaration", "declarationProvider", concatenated, reads=True),
    _row("definition", "definitionProvider", concatenated, reads=True),
    _row("typeDefinition", "typeDefinitionProvider", concatenated, reads=True),
    _row("implementation", "implementationProvider", concatenated, reads=True),
    _row("references", "referencesProvider", concatenated, reads=True),
    _row("documentHighlight", "documentHighlightProvider", reads=True),
    _row("documentSymbol", "documentSymbolProvider", reads=True),
    _row("codeAction", "codeActionProvider", concatenated, marks=True, codeAction__resolve=MARKED),
    _row("codeLens", "codeLensProvider", concatenated, marks=True, codeLens__resolve=MARKED),
    _row("documentLink", "documentLinkProvider", concatenated, marks=True, documentLink__resolve=MARKED),
    _row("inlayHint", "inlayHintProvider", concatenated, marks=True, reads=True, inlayHint__resolve=MARKED),
    _row("inlineValue", "inlineValueProvider", concatenated),
    _row("inlineCompletion", "inlineCompletionProvider"),
    _row("documentColor", "colorProvider", concatenated, client="colorProvider",
         textDocument__colorPresentation=Route(provider="colorProvider")),
    _row("formatting", "documentFormattingProvider"),
    _row("rangeFormatting", "documentRangeFormattingProvider",
         textDocument__rangesFormatting=Route(provider="documentRangeFormattingProvider.rangesSupport")),
    _row("onTypeFormatting", "documentOnTypeFormattingProvider"),
    _row("rename", "renameProvider", textDocument__prepareRename=Route(provider="renameProvider.prepareProvider")),
    _row("foldingRange", "foldingRangeProvider", reads=True),
    _row("selectionRange", "selectionRangeProvider", reads=True),
    _row("linkedEditingRange", "linkedEditingRangeProvider"),
    _row("prepareCallHierarchy", "callHierarchyProvider", client="callHierarchy",
         callHierarchy__incomingCalls=_item("callHierarchyProvider"),
         callHierarchy__outgoingCalls=_item("callHierarchyProvider")),
    _row("prepareTypeHierarchy", "typeHierarchyProvider", client="typeHierarchy",
         typeHierarchy__supertypes=_item("typeHierarchyProvider"),
         typeHierarchy__subtypes=_item("typeHierarchyProvider")),
    Capability(key="semanticTokensProvider", method="textDocument/semanticTokens", client="textDocument.semanticTokens", requests={
        "textDocument/semanticTokens/full": Route(provider="semanticTokensProvider", reads=True),
        "textDocument/semanticTokens/full/delta": Route(provider="semanticTokensProvider"),
        "textDocument/semanticTokens/range": Route(provider="semanticTokensProvider.range"),
    }),
    _row("moniker", "monikerProvider"),
    _row("diagnostic", "diagnosticProvider", diagnostic_reports, workspace__diagnostic=Route(
        provider="diagnosticProvider.workspaceDiagnostics", target=For.EVERYONE, merge=workspace_reports)),
    Capability(key="workspaceSymbolProvider", method="workspace/symbol", client="workspace.symbol", by_document=False, requests={
        "workspace/symbol": Route(provider="workspaceSymbolProvider", target=For.EVERYONE, merge=concatenated, marks=True),
        "workspaceSymbol/resolve": MARKED,
    }),
    Capability(key="executeCommandProvider", method="workspace/executeCommand", client="workspace.executeCommand",
               by_document=False, requests={"workspace/executeCommand": Route(target=For.COMMAND)}),
    Capability(key="notebookDocumentSync", method="notebookDocument/sync", client="notebookDocument.synchronization",
               by_document=False),
    Capability(key="textDocumentSync", requests={
        "textDocument/willSaveWaitUntil": Route(provider="textDocumentSync.willSaveWaitUntil", merge=concatenated),
    }),
    Capability(key="workspace.textDocumentContent", requests={
        "workspace/textDocumentContent": Route(provider="workspace.textDocumentContent", reads=True),
    }),
    *map(_file_operation, ("willCreate", "willRename", "willDelete")),
)  # fmt: skip
ROUTES: Mapping[str, Route] = {method: route for row in TABLE for method, route in row.requests.items()}
REGISTRABLE: tuple[Capability, ...] = tuple(row for row in TABLE if row.method)
OTHER = Route()  # of a request that LSP does not have
