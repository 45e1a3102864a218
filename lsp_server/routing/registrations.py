"""What Starling announces to the editor for several wrapped servers: at once, or as each of them starts.

Where the editor takes registrations for a method, each server's own options are registered for its own documents
when it starts. For the other methods the servers of the workspace's languages are started first and their
capabilities merged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lsp_server import __version__
from lsp_server.documents import synchronisation
from lsp_server.jsonrpc.wire import Json
from lsp_server.protocol.capabilities import COMPLETION, KEY, at, with_resolve
from lsp_server.routing.table import REGISTRABLE, Capability

# An editor that takes registrations for these gets its answer before any server has started.
_ENOUGH = ("hoverProvider", "definitionProvider", "referencesProvider", "documentSymbolProvider", "codeActionProvider")

# For an editor that must be told at once when nothing tells which servers there will be (a file without a folder).
_ANY = ("hover", "signatureHelp", "declaration", "definition", "typeDefinition", "implementation", "references",
        "documentHighlight", "documentSymbol", "codeAction", "rename", "foldingRange", "selectionRange", "inlayHint")  # fmt: skip
ANY: Json = {"capabilities": {f"{name}Provider": {} if name == "signatureHelp" else True for name in _ANY}}


def takes_registration(client: Json, capability: Capability) -> bool:
    return bool(at(client, *capability.client.split("."), "dynamicRegistration"))


def needs_servers_first(client: Json) -> bool:
    """Whether the editor takes capabilities only with the answer to initialize."""
    return not all(takes_registration(client, c) for c in REGISTRABLE if c.key in _ENOUGH)


def merged_result(results: Sequence[Json], client: Json, triggers: Iterable[str]) -> Json:
    """The result of initialize for these servers' results (perhaps none). `triggers` start completion."""
    found = [at(result, "capabilities") or {} for result in results]
    merged: dict[str, Any] = {}
    for name in dict.fromkeys(name for one in found for name in one):
        merged[name] = merged_option([one[name] for one in found if name in one])
    for capability in REGISTRABLE:
        if takes_registration(client, capability):
            merged.pop(capability.key, None)  # registered as its server starts
    completes = next(c for c in REGISTRABLE if c.method == COMPLETION)
    if not takes_registration(client, completes):
        known = at(merged, "completionProvider", "triggerCharacters") or []
        options = {"triggerCharacters": list(dict.fromkeys([*known, *triggers]))}
        merged["completionProvider"] = with_resolve({**(merged.get("completionProvider") or {}), **options})
    merged |= {"positionEncoding": "utf-16", "textDocumentSync": synchronisation.ANNOUNCED}
    experimental = merged.get("experimental")
    ours = {KEY: {"version": __version__, "rank": True}}
    merged["experimental"] = {**experimental, **ours} if isinstance(experimental, Mapping) else ours
    own = results[0] if len(results) == 1 and isinstance(results[0], Mapping) else {}
    return {"serverInfo": {"name": "Starling", "version": __version__}, **own, "capabilities": merged}


def merged_option(values: Sequence[Json]) -> Json:
    """One capability of several servers: objects by member, arrays joined, else the first that says something."""
    said = [value for value in values if value not in (None, False)]
    objects: list[Mapping[str, Any]] = [value for value in said if isinstance(value, Mapping)]
    if not objects:
        return said[0] if said else (values[0] if values else None)
    if any("legend" in one for one in objects):  # token numbers mean what one server's legend says
        return objects[0]
    merged: dict[str, Any] = {}
    for name in dict.fromkeys(name for one in objects for name in one):
        members = [one[name] for one in objects if name in one]
        if all(isinstance(member, list) for member in members):
            joined = [item for member in members for item in member]
            merged[name] = [item for place, item in enumerate(joined) if item not in joined[:place]]
        else:
            merged[name] = merged_option(members)
    return merged


def selector(language_ids: Iterable[str]) -> Json:
    """The documents of a server, as registrations name them."""
    return [{"language": language_id} for language_id in sorted(language_ids)]


def registrations(
    client: Json,
    capabilities: Mapping[str, Any],
    *,
    key: str,
    language_ids: Iterable[str],
    announced: set[str],
    commands: Sequence[str],
) -> list[Json]:
    """What to register for a server that has just started, each thing once in its life.

    `announced` are the ids that were registered, and gets those that are; `commands` are those of the server's that no other has.
    """
    found: list[Json] = []
    for capability in REGISTRABLE:
        options = capabilities.get(capability.key)
        if options in (None, False) or not takes_registration(client, capability):
            continue
        given: dict[str, Any] = dict(options) if isinstance(options, Mapping) else {}
        given.pop("workDoneProgress", None)
        if capability.by_document:
            given["documentSelector"] = selector(language_ids)
        if capability.method == COMPLETION:
            given = with_resolve(given)
        if "commands" in given:  # an editor has one owner for each
            given["commands"] = list(commands)
        id = f"starling-{key}-{given.pop('id', None) or capability.method}"
        if id not in announced:
            announced.add(id)
            found.append({"id": id, "method": capability.method, "registerOptions": given})
    return found
