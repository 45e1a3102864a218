"""The wrapped servers of a session, and which of them a message is for. Starts one when its first document opens."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corpus.syntax.language import language_for, languages
from lsp_server.documents.uris import path_of
from lsp_server.jsonrpc.wire import Json
from lsp_server.protocol.capabilities import at
from lsp_server.routing.table import For, Route
from lsp_server.servers.plans import plans
from lsp_server.servers.wrapped_server import State, Wrapped

if TYPE_CHECKING:
    from lsp_server.session.session import Session

SCAN_FILES = 5000
SCAN_SECONDS = 0.1
SKIPPED = frozenset(("node_modules", "target", "build", "dist", "venv", "__pycache__"))


class Fleet:
    """`servers` in order of preference. With a command of the user's own there is one, and everything is its."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.servers: list[Wrapped] = []

    def choose(self) -> None:
        """Settle which servers there are, from the settings. Starts none. Raises UnknownPreset."""
        self.servers = [Wrapped(session=self.session, plan=plan) for plan in plans(self.session.settings)]

    def dropped(self) -> list[Wrapped]:
        """The servers, which are this session's no more: whoever asks ends them."""
        servers, self.servers = self.servers, []
        return servers

    @property
    def one(self) -> Wrapped | None:
        """The server that everything is for, where the user gave a command."""
        return self.servers[0] if len(self.servers) == 1 and not self.servers[0].plan.language_ids else None

    def __iter__(self) -> Iterator[Wrapped]:
        return iter(self.servers)

    @property
    def trigger_characters(self) -> list[str]:
        """What starts completion in any language that there is a server for."""
        served = [x for x in languages().values() if any(map(self._serves, x.language_ids))]
        return list(dict.fromkeys(character for language in served for character in language.trigger_characters))

    def _serves(self, language_id: str) -> bool:
        return any(server.handles(language_id) for server in self.servers)

    def by_key(self, key: str | None) -> Wrapped | None:
        return next((server for server in self.servers if server.key == key), None)

    def language_of(self, uri: str) -> str:
        """The languageId of a document: as the editor said when it opened it, else by its name."""
        document = self.session.documents.get(uri)
        if document is not None:
            return document.language_id
        language = language_for("", uri)
        return language.language_ids[0] if language is not None else ""

    def known_id(self, language_id: str, uri: str) -> str:
        """A languageId that a server of ours goes by: the given one, else that of the file's name, else the given one."""
        if self._serves(language_id):
            return language_id
        language = language_for(language_id, uri)
        return language_id if language is None or language_id in language.language_ids else language.language_ids[0]

    def of_document(self, uri: str) -> list[Wrapped]:
        language_id = self.language_of(uri)
        return [server for server in self.servers if server.handles(language_id)]

    def targets(self, method: str, route: Route, params: Json) -> list[Wrapped]:
        """Whom a request goes to, the preferred server first; [] where nobody can answer it."""
        if self.one is not None:
            return [self.one]
        if route.target is For.EVERYONE:
            return [server for server in self.servers if self._can(server, method, route)]
        if route.target is For.COMMAND:
            named = at(params, "command")
            knows = [server for server in self.servers if named in server.announced_commands]
            return knows[:1]
        uri = document_of(params)
        candidates = self.servers if uri is None else self.of_document(uri)
        able = [server for server in candidates if self._can(server, method, route)]
        # A server that is not ready yet may be able: it is waited for where nobody else can answer.
        waking = [server for server in candidates if server.state in (State.STARTING, State.RESTARTING)]
        return able or waking[:1]

    @staticmethod
    def _can(server: Wrapped, method: str, route: Route) -> bool:
        running = server.state is State.RUNNING
        return running and (not route.provider or server.provider(route.provider, method) is not None)

    # Documents come and go

    def opened(self, language_id: str) -> None:
        for server in self.servers:
            if server.handles(language_id):
                server.wake()

    def closed(self) -> None:
        """Servers whose last document was closed rest after a while."""
        seconds = self.session.settings.idle
        if self.one is not None or not seconds:
            return
        open_languages = {document.language_id for document in self.session.documents}
        for server in self.servers:
            if server.state is State.RUNNING and not any(map(server.handles, open_languages)):
                server.rest_after(seconds)

    def of_workspace(self, roots: Iterable[str]) -> list[Wrapped]:
        """The servers of languages that the workspace has files of, as far as a quick look tells."""
        found = languages_below(path for path in map(path_of, roots) if path is not None)
        return [server for server in self.servers if any(map(server.handles, found))]


def document_of(params: Json) -> str | None:
    """The document that a request's params name: `textDocument`, or a hierarchy item's own."""
    for path in (("textDocument", "uri"), ("item", "uri"), ("uri",)):
        uri = at(params, *path)
        if isinstance(uri, str):
            return uri
    return None


def languages_below(roots: Iterable[Path]) -> list[str]:
    """LSP languageIds of files below the roots, the most frequent first. Looks at SCAN_FILES files at most."""
    until = time.monotonic() + SCAN_SECONDS
    counts: Counter[str] = Counter()
    pending: list[Any] = list(roots)
    seen = 0
    while pending and seen < SCAN_FILES and time.monotonic() < until:
        folder = pending.pop(0)
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            continue  # what can't be looked into tells nothing
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if not entry.name.startswith(".") and entry.name not in SKIPPED:
                    pending.append(entry.path)
            else:
                seen += 1
                language = language_for("", entry.name)
                if language is not None:
                    counts[language.language_ids[0]] += 1
    return [language_id for language_id, _ in counts.most_common()]
