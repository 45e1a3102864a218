"""Selects the wrapped servers for a message: those that support it for its document, files or command."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Literal

import msgspec

from lsp_server.documents.editor_state import EditorState
from lsp_server.documents.selectors import Pattern, pattern_matches, selects
from lsp_server.documents.texts import SAVE
from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Json
from lsp_server.protocol.capabilities import COMPLETION, at, document_of
from lsp_server.routing.abilities import read_all
from lsp_server.routing.announcer import Announcer
from lsp_server.routing.registrations import WATCHED, takes_registration
from lsp_server.routing.table import OTHER, ROUTES, ROWS, TABLE, For, Route
from lsp_server.servers.pool import Pool
from lsp_server.servers.server import State, WrappedServer

TRIGGER_CHARACTER = 2  # CompletionTriggerKind
FILE_OPERATIONS = frozenset(row.method for row in TABLE if row.key.startswith("workspace.fileOperations."))
FOLDERS = "workspace/didChangeWorkspaceFolders"
Raw = msgspec.Raw
Servers = list[WrappedServer]


class _Watcher(msgspec.Struct, rename="camel"):
    glob_pattern: Pattern
    kind: int | None = 7  # WatchKind: created 1, changed 2, deleted 4


class _Change(msgspec.Struct):
    uri: str
    type: Literal[1, 2, 3]  # FileChangeType: created, changed, deleted


class _File(msgspec.Struct, rename="camel"):
    """FileCreate, FileDelete or FileRename. Filters are matched against the old name."""

    uri: str | None = None
    old_uri: str | None = None


class _FilePattern(msgspec.Struct):
    """LSP 3.18, "FileOperationPattern". `matches` ("file" or "folder") is ignored: a deleted file is neither."""

    glob: str


class _FileFilter(msgspec.Struct):
    pattern: _FilePattern
    scheme: str | None = None

    def matches(self, uri: str) -> bool:
        if self.scheme not in (None, uri.partition(":")[0].lower()):
            return False
        return pattern_matches(self.pattern.glob, uri)


class Targets:
    """Reads the pool and the capabilities of its servers. Sends nothing."""

    def __init__(self, pool: Pool, state: EditorState, announcer: Announcer) -> None:
        self._pool, self._state, self._announcer = pool, state, announcer

    # Requests

    def of_request(self, method: str, params: Json) -> Servers:
        """Return the servers that can answer, the preferred one first; [] if none can (yet)."""
        route = ROUTES.get(method, OTHER)
        asked = [server for server in self.candidates(route, params) if server.plan.answers(method)]
        able = [server for server in asked if self._can(server, route, params)]
        narrow = _NARROWED.get(method)
        return able if narrow is None else narrow(self, able, params)

    def of_completion(self, where: Json, context: Json) -> Servers:
        """Return the servers that offer completion here. If none runs, return those that are starting.

        After a trigger character, only the servers that announced this character are returned.
        """
        route = ROUTES[COMPLETION]
        found = self.of_request(COMPLETION, where)
        if at(context, "triggerKind") == TRIGGER_CHARACTER:
            character = at(context, "triggerCharacter")
            asking = [one for one in found if character in self._values(one, route, "triggerCharacters")]
            return asking if found else self.waking(route, where)
        return found or self.waking(route, where)

    def candidates(self, route: Route, params: Json) -> Servers:
        """Return the servers that a request may be for. Their capabilities are not checked."""
        uri = document_of(params) if route.target in (For.DOCUMENT, For.LEGEND) else None
        found = list(self._pool) if uri is None else self._pool.of_document(uri)
        if route.target is For.LEGEND:
            owner = self._announcer.of_legend(found)
            return [] if owner is None else [owner]
        return found

    def waking(self, route: Route, params: Json) -> Servers:
        """Return the candidates that are starting. Their capabilities are not known yet."""
        states = (State.STARTING, State.RESTARTING) if route.reads else (State.STARTING,)
        if route.target is For.LEGEND:
            return [server for server in self._pool.of_document(document_of(params) or "") if server.state in states]
        return [server for server in self.candidates(route, params) if server.state in states]

    def _can(self, server: WrappedServer, route: Route, params: Json) -> bool:
        abilities = self._announcer.abilities(server)
        if server.state is not State.RUNNING or abilities is None:
            return False
        uri = document_of(params) if route.target is For.DOCUMENT else None
        return abilities.can(route, uri, "" if uri is None else self._state.language_of(uri))

    def _values(self, server: WrappedServer, route: Route, *names: str) -> list[Json]:
        """Return the values of these options in all announcements of a capability, as one list."""
        abilities = self._announcer.abilities(server)
        found: list[Json] = []
        for options in () if abilities is None else abilities.options_of(route):
            for name in names:
                given = options.get(name)
                found += given if isinstance(given, list) else [] if given is None else [given]
        return found

    def of_command(self, able: Servers, params: Json) -> Servers:
        """Return the server that announced the command.

        If several did, prefer a server of a document that the arguments contain.
        """
        route = ROUTES["workspace/executeCommand"]
        found = [one for one in able if at(params, "command") in self._values(one, route, "commands")]
        if len(found) > 1:
            named = [server for uri in _uris_in(at(params, "arguments")) for server in self._pool.of_document(uri)]
            found = [one for one in named if one in found] or found
        return found[:1]

    def of_character(self, able: Servers, params: Json) -> Servers:
        route, names = ROUTES["textDocument/onTypeFormatting"], ("firstTriggerCharacter", "moreTriggerCharacter")
        return [one for one in able if at(params, "ch") in self._values(one, route, *names)]

    def of_scheme(self, able: Servers, params: Json) -> Servers:
        route = ROUTES["workspace/textDocumentContent"]
        scheme = str(at(params, "uri")).partition(":")[0]
        return [one for one in able if scheme in self._values(one, route, "schemes")]

    # Notifications

    def own_files(self, server: WrappedServer, method: str, params: Mapping[str, Raw]) -> dict[str, Raw]:
        """Return the params of a file operation or of changed files, with only the files that a server asked for.

        Returns {} if there are none.
        """
        name = "changes" if method == WATCHED else "files"
        files = wire.read(params[name], list[Raw]) if name in params else []
        own = self._changes_for(server, files) if method == WATCHED else self._files_for(server, method, files)
        return {**params, name: wire.raw(own)} if own else {}

    def _files_for(self, server: WrappedServer, method: str, files: Sequence[Raw]) -> list[Raw]:
        asked = self._given(server, method, "filters")
        filters = [each for given in asked for each in read_all(given, _FileFilter)]
        return [] if not asked else [file for file in files if _filtered(wire.read(file, _File), filters)]

    def _changes_for(self, server: WrappedServer, changes: Sequence[Raw]) -> list[Raw]:
        if not takes_registration(self._state.client_capabilities, ROWS[WATCHED]):
            return list(changes)  # the editor decides which files it watches
        watchers = [each for given in self._given(server, WATCHED, "watchers") for each in read_all(given, _Watcher)]
        return [change for change in changes if _watched(wire.read(change, _Change), watchers)]

    def _given(self, server: WrappedServer, method: str, option: str) -> list[Json]:
        """Return the value of an option in each announcement of a capability."""
        abilities = self._announcer.abilities(server)
        return [] if abilities is None else [offer.options.get(option) for offer in abilities.offers(ROWS[method])]

    def hears_of_folders(self, server: WrappedServer) -> bool:
        abilities = self._announcer.abilities(server)
        offers = [] if abilities is None else abilities.offers(ROWS[FOLDERS])
        return any(offer.options.get("changeNotifications", True) not in (False, None) for offer in offers)

    def hears_of_saving(self, server: WrappedServer, method: str, uri: str) -> bool:
        """Whether a server of the document asked for its willSave or didSave."""
        abilities = self._announcer.abilities(server)
        if abilities is None:
            return False
        if method == SAVE and not isinstance(abilities.static.get("textDocumentSync"), Mapping):
            return True  # a number asks for every notification of LSP 2
        language_id = self._state.language_of(uri)
        return any(selects(offer.selector, uri, language_id) for offer in abilities.offers(ROWS[method]))

    def wants_text(self, server: WrappedServer) -> bool:
        """Whether a server asked for the text with each didSave."""
        return any(given for given in self._given(server, SAVE, "includeText"))


def _of_files(targets: Targets, able: Servers, params: Json, method: str) -> Servers:
    given = wire.fields(wire.raw(params))
    return [one for one in able if targets.own_files(one, method, given)]


_NARROWED: Mapping[str, Callable[[Targets, Servers, Json], Servers]] = {
    "workspace/executeCommand": Targets.of_command,
    "textDocument/onTypeFormatting": Targets.of_character,
    "workspace/textDocumentContent": Targets.of_scheme,
    **{
        method: partial(_of_files, method=method)
        for method in (f"workspace/{name}Files" for name in ("willCreate", "willRename", "willDelete"))
    },
}


def _uris_in(value: Json) -> Iterator[str]:
    """Yield the file URIs in a command's arguments."""
    if isinstance(value, str) and value.startswith("file:"):
        yield value
    elif wire.is_object(value):
        for each in value.values():
            yield from _uris_in(each)
    elif wire.is_array(value):
        for each in value:
            yield from _uris_in(each)


def _filtered(file: _File, filters: Sequence[_FileFilter]) -> bool:
    """Whether some filter matches the file. Without filters, every file matches."""
    uri = file.old_uri or file.uri or ""
    return not filters or any(each.matches(uri) for each in filters)


def _watched(change: _Change, watchers: Sequence[_Watcher]) -> bool:
    bit = 1 << (change.type - 1)
    return any(
        bit & (7 if each.kind is None else each.kind) and pattern_matches(each.glob_pattern, change.uri)
        for each in watchers
    )
