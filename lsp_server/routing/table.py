"""Which wrapped servers a request is for, and how their answers become one. A table; a method is a line in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
    DOCUMENT = "the servers of the document that the params name"
    EVERYONE = "every running server"
    MARK = "the server that made the item"
    COMMAND = "the server that announced the command"


@dataclass(frozen=True, kw_only=True)
class Route:
    """`provider` is the capability that tells whether a server can; "" where nothing tells.

    With `merge` = first only one server is asked. `marks`: items of the answer come back in a request without a
    document, so they carry whose they are.
    """

    provider: str = ""
    target: For = For.DOCUMENT
    merge: Merge = first
    marks: bool = False


def _document(method: str, provider: str, merge: Merge = first, *, marks: bool = False) -> tuple[str, Route]:
    return f"textDocument/{method}", Route(provider=provider, merge=merge, marks=marks)


_EVERYONE_EDITS = ("willCreateFiles", "willRenameFiles", "willDeleteFiles")
_MARKED = (
    "codeAction/resolve",
    "codeLens/resolve",
    "documentLink/resolve",
    "inlayHint/resolve",
    "workspaceSymbol/resolve",
)

ROUTES: Mapping[str, Route] = dict((
    _document("completion", "completionProvider", concatenated),  # merged by features.completion
    _document("hover", "hoverProvider", hovers),
    _document("signatureHelp", "signatureHelpProvider"),
    _document("declaration", "declarationProvider", concatenated),
    _document("definition", "definitionProvider", concatenated),
    _document("typeDefinition", "typeDefinitionProvider", concatenated),
    _document("implementation", "implementationProvider", concatenated),
    _document("references", "referencesProvider", concatenated),
    _document("documentHighlight", "documentHighlightProvider"),
    _document("documentSymbol", "documentSymbolProvider"),
    _document("codeAction", "codeActionProvider", concatenated, marks=True),
    _document("codeLens", "codeLensProvider", concatenated, marks=True),
    _document("documentLink", "documentLinkProvider", concatenated, marks=True),
    _document("inlayHint", "inlayHintProvider", concatenated, marks=True),
    _document("inlineValue", "inlineValueProvider", concatenated),
    _document("documentColor", "colorProvider", concatenated),
    _document("colorPresentation", "colorProvider"),
    _document("formatting", "documentFormattingProvider"),
    _document("rangeFormatting", "documentRangeFormattingProvider"),
    _document("onTypeFormatting", "documentOnTypeFormattingProvider"),
    _document("rename", "renameProvider"),
    _document("prepareRename", "renameProvider.prepareProvider"),
    _document("foldingRange", "foldingRangeProvider"),
    _document("selectionRange", "selectionRangeProvider"),
    _document("linkedEditingRange", "linkedEditingRangeProvider"),
    _document("prepareCallHierarchy", "callHierarchyProvider"),
    _document("prepareTypeHierarchy", "typeHierarchyProvider"),
    _document("semanticTokens/full", "semanticTokensProvider"),
    _document("semanticTokens/full/delta", "semanticTokensProvider"),
    _document("semanticTokens/range", "semanticTokensProvider.range"),
    _document("moniker", "monikerProvider"),
    _document("diagnostic", "diagnosticProvider", diagnostic_reports),
    ("workspace/symbol", Route(provider="workspaceSymbolProvider", target=For.EVERYONE, merge=concatenated, marks=True)),
    ("workspace/diagnostic", Route(provider="diagnosticProvider.workspaceDiagnostics", target=For.EVERYONE, merge=workspace_reports)),
    ("workspace/executeCommand", Route(target=For.COMMAND)),
    *((f"workspace/{name}", Route(provider=f"workspace.fileOperations.{name.removesuffix('Files')}", target=For.EVERYONE, merge=workspace_edits))
      for name in _EVERYONE_EDITS),
    *((name, Route(target=For.MARK)) for name in _MARKED),
))  # fmt: skip
OTHER = Route()
