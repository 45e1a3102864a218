"""Merges the capabilities of several wrapped servers into what Starling announces to the editor. Pure functions.

Each capability is registered once for each document, even if several servers offer it: an editor sends a request for
every registration, and Starling sends each request to every server. If the editor does not support dynamic
registration, the response to initialize contains the merged capabilities.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lsp_server import __version__
from lsp_server.documents import synchronisation
from lsp_server.documents.selectors import Filter
from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Json
from lsp_server.protocol.capabilities import COMPLETION, KEY, at, with_resolve
from lsp_server.routing.abilities import Abilities, Offer, Options
from lsp_server.routing.table import REGISTRABLE, ROWS, TABLE, Capability

# If the editor supports dynamic registration of these, initialize is answered before any server has started.
_ENOUGH = ("hoverProvider", "definitionProvider", "referencesProvider", "documentSymbolProvider", "codeActionProvider")

# Announced if the editor does not support dynamic registration and some servers are not known yet (for example, because
# no folder is open).
_ANY = ("hover", "signatureHelp", "declaration", "definition", "typeDefinition", "implementation", "references",
        "documentHighlight", "documentSymbol", "codeAction", "rename", "foldingRange", "selectionRange", "inlayHint")  # fmt: skip
ANY: dict[str, Any] = {"capabilities": {f"{name}Provider": {} if name == "signatureHelp" else True for name in _ANY}}

WATCHED = "workspace/didChangeWatchedFiles"
# Announced in the response to initialize.
SYNCHRONISED = frozenset(f"textDocument/did{name}" for name in ("Open", "Change", "Close", "Save"))


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A registration that the editor should have."""

    method: str
    options: Options

    @property
    def place(self) -> str:
        """The method and the documents. The editor has at most one registration for each place."""
        return f"{self.method} {json.dumps(self.options.get('documentSelector'))}"


def takes_registration(client: Json, capability: Capability) -> bool:
    return bool(capability.client) and bool(at(client, *capability.client.split("."), "dynamicRegistration"))


def needs_servers_first(client: Json) -> bool:
    """Whether the editor accepts capabilities only in the response to initialize."""
    return not all(takes_registration(client, c) for c in REGISTRABLE if c.key in _ENOUGH)


# In the response to initialize


def merged_result(results: Sequence[Json], client: Json, triggers: Iterable[str]) -> Json:
    """Merge the servers' results of initialize; there may be none. `triggers`: the characters that start completion."""
    found: list[Mapping[str, Any]] = [at(result, "capabilities") or {} for result in results]
    merged: dict[str, Any] = {}
    for name in dict.fromkeys(name for one in found for name in one):
        merged[name] = merged_option([one[name] for one in found if name in one])
    servers = [Abilities(language_ids=frozenset(), static=one) for one in found]
    for row in TABLE:
        offers = [offer for server in servers for offer in server.offers(row)]
        if row.key in _SPECIAL and "." not in row.key and offers:
            merged[row.key] = _SPECIAL[row.key](offers)
    merged["textDocumentSync"] = _synchronisation(merged.get("textDocumentSync"), client)
    for capability in REGISTRABLE:
        if takes_registration(client, capability) and capability.method not in SYNCHRONISED:
            merged = without(merged, capability.key)  # registered when its server starts
    if at(client, "workspace", "workspaceFolders"):
        folders = {"supported": True, "changeNotifications": True}
        merged["workspace"] = {**(merged.get("workspace") or {}), "workspaceFolders": folders}
    if not takes_registration(client, ROWS[COMPLETION]):
        known = wire.as_array(at(merged, "completionProvider", "triggerCharacters"))
        options = {"triggerCharacters": list(dict.fromkeys([*known, *triggers]))}
        merged["completionProvider"] = with_resolve({**wire.as_object(merged.get("completionProvider")), **options})
    merged["positionEncoding"] = "utf-16"
    experimental = merged.get("experimental")
    ours = {KEY: {"version": __version__, "rank": True}}
    merged["experimental"] = {**experimental, **ours} if isinstance(experimental, Mapping) else ours
    own = wire.as_object(results[0]) if len(results) == 1 else {}
    return {"serverInfo": {"name": "Starling", "version": __version__}, **own, "capabilities": merged}


def _synchronisation(merged: Json, client: Json) -> Json:
    """Return the synchronization that Starling needs, with the willSave options that some server wants."""
    if takes_registration(client, ROWS["textDocument/willSave"]):
        return synchronisation.ANNOUNCED
    return {
        **synchronisation.ANNOUNCED,
        **{name: True for name in ("willSave", "willSaveWaitUntil") if at(merged, name)},
    }


def without(capabilities: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Return the capabilities without the one at a path ("a.b")."""
    first, _, rest = path.partition(".")
    inner = capabilities.get(first)
    if rest and wire.is_object(inner):
        return {**capabilities, first: without(inner, rest)}
    return {name: value for name, value in capabilities.items() if rest or name != first}


# When servers start


def wanted(
    servers: Mapping[str, Sequence[Abilities]], everyone: Sequence[Abilities], client: Json, watched: Sequence[Json]
) -> list[Wanted]:
    """Return all registrations for the running servers. Each method is registered once for each document.

    servers: by languageId, the preferred first. everyone: each server once.
    watched: watchers for the files that Starling itself reads.
    """
    found: list[Wanted] = []
    for row in (*REGISTRABLE, ROWS[WATCHED]):
        if not takes_registration(client, row):
            continue
        if row.by_document:
            found += _by_document(row, servers)
        else:
            offers = [offer for one in everyone for offer in one.offers(row)]
            if row.method == WATCHED and watched:
                offers.append(Offer(options={"watchers": list(watched)}))
            if offers:
                found.append(Wanted(method=row.method, options=options_of(row, offers)))
    return found + _unknown(everyone)


def _by_document(row: Capability, servers: Mapping[str, Sequence[Abilities]]) -> list[Wanted]:
    """Return the registrations of one capability. Languages with equal options share one registration."""
    groups: dict[str, tuple[dict[str, Any], list[Filter]]] = {}
    for language_id in sorted(servers):
        found = [
            (offer, filters)
            for one in servers[language_id]
            for offer in (one.later_offers(row) if row.method in SYNCHRONISED else one.offers(row))
            if (filters := _filters(offer, language_id))
        ]
        if row.key in _ONE_SERVER:
            found = found[:1]
        if not found:
            continue
        options = options_of(row, [offer for offer, _ in found])
        filters = list(dict.fromkeys(each for _, of in found for each in of))
        all_documents = Filter(language=language_id)
        filters = [all_documents] if all_documents in filters else filters
        narrowed = [{**each.as_json(), "language": None} for each in filters]
        groups.setdefault(json.dumps([options, narrowed]), (options, []))[1].extend(filters)
    return [
        Wanted(method=row.method, options={**options, "documentSelector": [each.as_json() for each in filters]})
        for options, filters in groups.values()
    ]


def _filters(offer: Offer, language_id: str) -> list[Filter]:
    """Return the filters of an offer that apply to documents of this language."""
    if offer.selector is None:
        return [Filter(language=language_id)]
    return [
        Filter(language=language_id, scheme=each.scheme, pattern=each.pattern)
        for each in offer.selector
        if each.for_language(language_id)
    ]


def _unknown(everyone: Sequence[Abilities]) -> list[Wanted]:
    """Return the registrations of methods that are not in the table, equal ones once."""
    found: dict[str, Wanted] = {}
    for one in everyone:
        for each in one.registered:
            if each.method in ROWS or each.method in SYNCHRONISED:
                continue
            options = dict(wire.as_object(each.options))
            if each.method.startswith("textDocument/"):
                options["documentSelector"] = options.get("documentSelector") or selector(one.language_ids)
            found.setdefault(json.dumps([each.method, options]), Wanted(method=each.method, options=options))
    return list(found.values())


def selector(language_ids: Iterable[str]) -> Json:
    """Return the document selector for all documents of a server."""
    return [{"language": language_id} for language_id in sorted(language_ids)]


# Merging the options of several servers


def options_of(row: Capability, offers: Sequence[Offer]) -> dict[str, Any]:
    """Merge the options of a capability that several servers offer."""
    merged = merged_option([dict(offer.options) for offer in offers])
    special = _SPECIAL.get(row.key)
    merged = merged if special is None else special(offers)
    return with_resolve(merged) if row.method == COMPLETION else merged


def merged_option(values: Sequence[Json]) -> Json:
    """Merge one capability of several servers.

    Objects are merged by member, and arrays are concatenated. Otherwise the first value that is not null or false is
    used.
    """
    said = [value for value in values if value not in (None, False)]
    objects: list[Mapping[str, Any]] = [value for value in said if isinstance(value, Mapping)]
    if not objects:
        return said[0] if said else (values[0] if values else None)
    if any("legend" in one for one in objects):  # token numbers refer to one server's legend
        return next(one for one in objects if "legend" in one)
    merged: dict[str, Any] = {}
    for name in dict.fromkeys(name for one in objects for name in one):
        members = [one[name] for one in objects if name in one]
        if all(isinstance(member, list) for member in members):
            joined = [item for member in members for item in member]
            merged[name] = [item for place, item in enumerate(joined) if item not in joined[:place]]
        else:
            merged[name] = merged_option(members)
    return merged


def _kinds(offers: Sequence[Offer]) -> dict[str, Any]:
    """Merge code action options.

    `codeActionKinds` limits what an editor asks for: it is kept only if every server has it.
    """
    merged: dict[str, Any] = merged_option([dict(offer.options) for offer in offers])
    if not all("codeActionKinds" in offer.options for offer in offers):
        merged.pop("codeActionKinds", None)
    return merged


def _typed(offers: Sequence[Offer]) -> dict[str, Any]:
    """Merge the trigger characters of on-type formatting. LSP puts the first character in a member of its own."""
    characters: dict[str, None] = {}
    for offer in offers:
        first, more = offer.options.get("firstTriggerCharacter"), offer.options.get("moreTriggerCharacter")
        characters |= dict.fromkeys([*([first] if first else []), *(more or ())])
    first, *more = characters or [""]
    return {"firstTriggerCharacter": first, **({"moreTriggerCharacter": more} if more else {})}


def _reports(offers: Sequence[Offer]) -> dict[str, Any]:
    """Merge the options of pulled diagnostics.

    Each server is asked with its own `identifier`; the editor needs none.
    """
    merged: dict[str, Any] = merged_option([dict(offer.options) for offer in offers])
    if len(offers) > 1:
        merged.pop("identifier", None)
    return {"interFileDependencies": False, "workspaceDiagnostics": False, **merged}


def _saves(offers: Sequence[Offer]) -> dict[str, Any]:
    """Return didSave options without the text: Starling has the text itself."""
    return {"includeText": False}


_SPECIAL = {
    "codeActionProvider": _kinds,
    "documentOnTypeFormattingProvider": _typed,
    "diagnosticProvider": _reports,
    "textDocumentSync.save": _saves,
}
_ONE_SERVER = frozenset(("semanticTokensProvider",))
