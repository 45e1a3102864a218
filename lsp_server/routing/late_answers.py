"""Answers that wrapped servers still owe, or gave after the editor's request had been answered without them.

The editor is told to ask again when one comes, and then gets it: the server is not asked twice for the same, and a server that
is always late is not asked for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from lsp_server.documents.uris import key_of
from lsp_server.servers.server import WrappedServer

Give = Callable[[WrappedServer, asyncio.Future[bytes]], None]


@dataclass(frozen=True)
class Question:
    """What two requests share of which one answer will do.

    `text`: the document's text version that it is about. `part`: the `identifier` of pulled diagnostics, under which a server may
    be asked beside its others.
    """

    method: str
    params: bytes
    document: str = ""
    text: int = 0
    part: bytes = b""

    @property
    def place(self) -> tuple[str, str, bytes]:
        """Of the answers to one place, the newest counts."""
        return self.method, self.document, self.part


class LateAnswers:
    """`give_up` tells a server that its answer is not waited for; `refresh` has the editor ask for a method again."""

    def __init__(self, give_up: Give, refresh: Callable[[str], None]) -> None:
        self._give_up, self._refresh = give_up, refresh
        self._kept: dict[tuple[WrappedServer, tuple[str, str, bytes]], tuple[Question, asyncio.Future[bytes]]] = {}

    def take(self, server: WrappedServer, question: Question) -> asyncio.Future[bytes] | None:
        """The answer to this very question, come or still to come; one to an older text is dropped."""
        question_of, answer = self._kept.pop((server, question.place), (None, None))
        if answer is None or question_of == question:
            return answer
        self._give_up(server, answer)
        return None

    def keep(self, server: WrappedServer, question: Question, answer: asyncio.Future[bytes]) -> None:
        """The editor's request was answered without this."""
        self._kept[server, question.place] = question, answer
        answer.add_done_callback(lambda done: self._came(server, question, done))

    def _came(self, server: WrappedServer, question: Question, answer: asyncio.Future[bytes]) -> None:
        kept = self._kept.get((server, question.place))
        if kept is not None and kept[1] is answer and not answer.cancelled():
            self._refresh(question.method)

    def forget_document(self, uri: str) -> None:
        """The document was closed."""
        for key in [key for key in self._kept if key[1][1] == key_of(uri)]:
            self._give_up(key[0], self._kept.pop(key)[1])

    def forget(self, server: WrappedServer) -> None:
        """Its process has gone."""
        for key in [key for key in self._kept if key[0] is server]:
            del self._kept[key]
