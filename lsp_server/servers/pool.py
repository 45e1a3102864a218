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
    """The servers are chosen by `choose`; before it there is none."""

    def __init__(self, editor: EditorState, events: ServerEvents) -> None:
        self._editor, self._events = editor, events
        self._projects = Projects()
        self.servers: list[WrappedServer] = []

    def choose(self) -> list[str]:
        """Choose the servers by the settings. Starts none. Returns the problems of the settings, as messages."""
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
        """Remove the servers from the session and return them. The caller must end them."""
        servers, self.servers = self.servers, []
        return servers

    @property
    def one(self) -> WrappedServer | None:
        """The only server, if the user gave a command."""
        return self.servers[0] if len(self.servers) == 1 and not self.servers[0].plan.language_ids else None

    def __iter__(self) -> Iterator[WrappedServer]:
        return iter(self.servers)

    @property
    def trigger_characters(self) -> list[str]:
        """The characters that trigger completion in any language that has a server."""
        served = [x for x in languages().values() if any(map(self._serves, x.language_ids))]
        return list(dict.fromkeys(character for language in served for character in language.trigger_characters))

    def _serves(self, language_id: str) -> bool:
        return any(server.handles(language_id) for server in self.servers)

    def by_key(self, key: str | None) -> WrappedServer | None:
        return next((server for server in self.servers if server.key == key), None)

    def known_id(self, language_id: str, uri: str) -> str:
        """Return a languageId that some server supports: prefer the editor's; else infer it from the file name."""
        if self._serves(language_id):
            return language_id
        language = language_for(language_id, uri)
        return language_id if language is None or language_id in language.language_ids else language.language_ids[0]

    def of_document(self, uri: str) -> list[WrappedServer]:
        """The servers of the document, the preferred one first."""
        return [server for server in self.of_language(self._editor.language_of(uri)) if server.has(uri)]

    def of_language(self, language_id: str) -> list[WrappedServer]:
        found = [server for server in self.servers if server.handles(language_id)]
        return sorted(found, key=lambda server: server.plan.place_in(language_id))

    # Documents come and go

    def opened(self, uri: str, language_id: str) -> None:
        """Start the document's servers if they do not run. Create the server of its project if it is the project's first document."""
        for server in list(self.servers):
            if server.plan.given.roots and server.plan.folder is None and server.handles(language_id):
                self._of_project(server, uri)
        for server in self.servers:
            if server.is_for(uri, language_id):
                server.wake()

    def _of_project(self, server: WrappedServer, uri: str) -> None:
        """Create the server of the document's project. The workspace's server stays."""
        plan = server.plan
        folder = self._projects.folder_of(uri, plan.given.roots, self._editor.roots)
        if folder is None:
            return
        name = f"{plan.name}@{folder}"
        if self.by_key(name) is None:
            place = self.servers.index(server) + 1
            self.servers.insert(place, self._server(replace(plan, name=name, folder=folder)))

    def closed(self) -> None:
        """Stop a server some time after its last document was closed."""
        seconds = self._editor.settings.idle
        if not seconds:
            return
        documents = [(document.uri, document.language_id) for document in self._editor.documents]
        for server in self.servers:
            used = any(server.is_for(*document) for document in documents)
            if server.state is State.RUNNING and not used and not server.is_resting:
                server.rest_after(seconds)

    def of_workspace(self, roots: Iterable[str]) -> list[WrappedServer]:
        """The servers of the languages that occur in the workspace. Looks at a limited number of files."""
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
            continue  # skip a folder that can't be read
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
