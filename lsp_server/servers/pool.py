"""The wrapped servers of a session, in order of preference. Starts one when its first document opens."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from corpus.syntax.language import language_for, languages
from lsp_server.documents.editor_state import EditorState
from lsp_server.documents.uris import path_of
from lsp_server.servers.plans import Plan, plans
from lsp_server.servers.projects import Projects
from lsp_server.servers.server import ServerEvents, State, WrappedServer

SCAN_FILES = 5000
SCAN_SECONDS = 0.1
SKIPPED = frozenset(("node_modules", "target", "build", "dist", "venv", "__pycache__"))


class Pool:
    """None before `choose`."""

    def __init__(self, editor: EditorState, events: ServerEvents) -> None:
        self._editor, self._events = editor, events
        self._projects = Projects()
        self.servers: list[WrappedServer] = []

    def choose(self) -> list[str]:
        """Settle which servers there are, from the settings. Starts none. Returns what is wrong with the settings."""
        problems: list[str] = []
        self.servers = [self._server(plan) for plan in plans(self._editor.settings, problems)]
        return problems

    def _server(self, plan: Plan) -> WrappedServer:
        def has(uri: str) -> bool:
            return (
                not plan.given.roots
                or self._projects.folder_of(uri, plan.given.roots, self._editor.roots) == plan.folder
            )

        return WrappedServer(plan=plan, editor=self._editor, events=self._events, has=has)

    def dropped(self) -> list[WrappedServer]:
        """The servers, which are this session's no more: whoever asks ends them."""
        servers, self.servers = self.servers, []
        return servers

    @property
    def one(self) -> WrappedServer | None:
        """The server that everything is for, where the user gave a command."""
        return self.servers[0] if len(self.servers) == 1 and not self.servers[0].plan.language_ids else None

    def __iter__(self) -> Iterator[WrappedServer]:
        return iter(self.servers)

    @property
    def trigger_characters(self) -> list[str]:
        """What starts completion in any language that there is a server for."""
        served = [x for x in languages().values() if any(map(self._serves, x.language_ids))]
        return list(dict.fromkeys(character for language in served for character in language.trigger_characters))

    def _serves(self, language_id: str) -> bool:
        return any(server.handles(language_id) for server in self.servers)

    def by_key(self, key: str | None) -> WrappedServer | None:
        return next((server for server in self.servers if server.key == key), None)

    def known_id(self, language_id: str, uri: str) -> str:
        """A languageId that a server of ours goes by: the given one, else that of the file's name, else the given one."""
        if self._serves(language_id):
            return language_id
        language = language_for(language_id, uri)
        return language_id if language is None or language_id in language.language_ids else language.language_ids[0]

    def of_document(self, uri: str) -> list[WrappedServer]:
        """Its servers, the preferred first."""
        return [server for server in self.of_language(self._editor.language_of(uri)) if server.has(uri)]

    def of_language(self, language_id: str) -> list[WrappedServer]:
        found = [server for server in self.servers if server.handles(language_id)]
        return sorted(found, key=lambda server: server.plan.place_in(language_id))

    # Documents come and go

    def opened(self, uri: str, language_id: str) -> None:
        """Wake the document's servers; a project that has none of its own yet gets one."""
        for server in list(self.servers):
            if server.plan.given.roots and server.plan.folder is None and server.handles(language_id):
                self._of_project(server, uri)
        for server in self.servers:
            if server.is_for(uri, language_id):
                server.wake()

    def _of_project(self, server: WrappedServer, uri: str) -> None:
        """Make the server of the document's project, beside the one of the workspace."""
        plan = server.plan
        folder = self._projects.folder_of(uri, plan.given.roots, self._editor.roots)
        if folder is None:
            return
        name = f"{plan.name}@{folder}"
        if self.by_key(name) is None:
            place = self.servers.index(server) + 1
            self.servers.insert(place, self._server(replace(plan, name=name, folder=folder)))

    def closed(self) -> None:
        """Servers whose last document was closed rest after a while."""
        seconds = self._editor.settings.idle
        if not seconds:
            return
        documents = [(document.uri, document.language_id) for document in self._editor.documents]
        for server in self.servers:
            if server.state is State.RUNNING and not any(server.is_for(*document) for document in documents):
                server.rest_after(seconds)

    def of_workspace(self, roots: Iterable[str]) -> list[WrappedServer]:
        """The servers of languages that the workspace has files of, as far as a quick look tells."""
        found = languages_below(path for path in map(path_of, roots) if path is not None)
        return [server for server in self.servers if any(map(server.handles, found))]


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
