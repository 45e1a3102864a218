"""Keeps answers of wrapped servers that arrive after the editor's request was answered without them.

When one arrives, the editor is told to ask again and then gets it. So a server is not asked the same question twice,
and a server that is always late is not asked again and again.
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
    """What a server is asked. One answer serves all requests with equal questions.

    `text`: the version of the document's text. `part`: the `identifier` of pulled diagnostics; a server may have
    several, which are asked at the same time.
    """

    method: str
    params: bytes
    document: str = ""
    text: int = 0
    part: bytes = b""

    @property
    def place(self) -> tuple[str, str, bytes]:
        """The key of the kept answers: only the newest answer for each place is kept."""
        return self.method, self.document, self.part


class LateAnswers:
    """`give_up` tells a server that nobody waits for its answer; `refresh` makes the editor send a method again."""

    def __init__(self, give_up: Give, refresh: Callable[[str], None]) -> None:
        self._give_up, self._refresh = give_up, refresh
        self._kept: dict[tuple[WrappedServer, tuple[str, str, bytes]], tuple[Question, asyncio.Future[bytes]]] = {}

    def take(self, server: WrappedServer, question: Question) -> asyncio.Future[bytes] | None:
        """Remove and return the answer to this question, arrived or not. An answer to another question is dropped."""
        question_of, answer = self._kept.pop((server, question.place), (None, None))
        if answer is None or question_of == question:
            return answer
        self._give_up(server, answer)
        return None

    def keep(self, server: WrappedServer, question: Question, answer: asyncio.Future[bytes]) -> None:
        """Keep the answer of a server, because the editor's request was answered without it."""
        self._kept[server, question.place] = question, answer
        answer.add_done_callback(lambda done: self._arrived(server, question, done))

    def _arrived(self, server: WrappedServer, question: Question, answer: asyncio.Future[bytes]) -> None:
        kept = self._kept.get((server, question.place))
        if kept is not None and kept[1] is answer and not answer.cancelled():
            self._refresh(question.method)

    def forget_document(self, uri: str) -> None:
        """Drop the answers for a document that was closed."""
        for key in [key for key in self._kept if key[1][1] == key_of(uri)]:
            self._give_up(key[0], self._kept.pop(key)[1])

    def forget(self, server: WrappedServer) -> None:
        """Drop the answers of a server after its process ended."""
        for key in [key for key in self._kept if key[0] is server]:
            del self._kept[key]
