"""Maps request ids, progress tokens and registration ids between the editor and one wrapped server.

The editor's request ids go to the server unchanged. Ids and tokens that a *server* makes are replaced by ours, because a
restarted server, or a second one, would use the same again. 1 is not "1": keys are JSON values, not their texts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from lsp_server.jsonrpc.wire import Id, Json


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request of a server that the editor has not answered."""

    generation: int
    id: Id
    method: str
    rewrite: Callable[[bytes], bytes] = bytes  # makes the server's reply of the editor's


@dataclass(frozen=True, kw_only=True)
class Left:
    """What the editor still has of a process that has ended."""

    tokens: list[Json]  # progress tokens; their progress must be ended
    registrations: list[tuple[str, str]]  # (id, method); must be unregistered
    asked: list[str]  # requests that the editor has not answered; must be cancelled


class ServerNames:
    """The ids and tokens of one wrapped server. A restart begins a new generation."""

    def __init__(self, prefix: str = "starling") -> None:
        self._prefix = prefix
        self.generation = 0
        self._count = 0
        self._asked: dict[str, Asked] = {}
        self._tokens: dict[Any, str] = {}
        self._editors_tokens: dict[Any, Json] = {}  # the editor's tokens on which the server has begun to report
        self._unseen: set[Any] = set()  # those of them whose progress is not forwarded
        self._registered: dict[str, str] = {}  # our registration id -> method

    def ask(self, id: Id, method: str, rewrite: Callable[[bytes], bytes] = bytes) -> str:
        """Return the id under which the editor gets a server's request. `rewrite` converts the editor's reply into the server's."""
        self._count += 1
        ours = f"{self._prefix}:{self._count}"
        self._asked[ours] = Asked(generation=self.generation, id=id, method=method, rewrite=rewrite)
        return ours

    def answered(self, ours: Id) -> Asked | None:
        """Return the server's request that a reply of the editor belongs to, or None if no request waits for it."""
        asked = self._asked.pop(ours, None) if isinstance(ours, str) else None
        return asked if asked is not None and asked.generation == self.generation else None

    def asked_as(self, id: Id) -> str | None:
        """Return our id of a pending request of the server, for its $/cancelRequest."""
        for ours, asked in self._asked.items():
            same = asked.id == id and type(asked.id) is type(id)
            if same and asked.generation == self.generation:
                return ours
        return None

    def token(self, theirs: Json) -> str:
        """Return the token under which the editor knows a progress token of the server."""
        return self._tokens.setdefault(
            _key(theirs), f"{self._prefix}:{self.generation}:{type(theirs).__name__}:{theirs}"
        )

    def known_token(self, theirs: Json) -> str | None:
        return self._tokens.get(_key(theirs))

    def token_of(self, ours: Json) -> Json | None:
        """Return the server's own token for one that the editor knows, for window/workDoneProgress/cancel."""
        return next((key[1] for key, name in self._tokens.items() if name == ours), None)

    def token_ended(self, theirs: Json) -> None:
        self._tokens.pop(_key(theirs), None)

    def editors_token_began(self, token: Json, *, unseen: bool = False) -> None:
        """The server has begun to report on a token of the editor. unseen: another server reports on it, so its progress is not forwarded."""
        self._editors_tokens[_key(token)] = token
        if unseen:
            self._unseen.add(_key(token))

    def is_unseen(self, token: Json) -> bool:
        return _key(token) in self._unseen

    def reports_on(self, token: Json) -> bool:
        """Whether the server is reporting on a token of the editor, and its progress is forwarded."""
        return _key(token) in self._editors_tokens and _key(token) not in self._unseen

    def editors_token_ended(self, token: Json) -> None:
        self._editors_tokens.pop(_key(token), None)
        self._unseen.discard(_key(token))

    def registration(self, theirs: Json) -> str:
        return f"{self._prefix}:{self.generation}:{theirs}"

    def register(self, ours: str, method: str) -> None:
        self._registered[ours] = method

    def unregister(self, ours: str) -> None:
        self._registered.pop(ours, None)

    def next_generation(self) -> Left:
        """Forget a process that has ended. Returns what the editor still has of it."""
        left = Left(
            tokens=[*self._tokens.values(), *(one for one in self._editors_tokens.values() if self.reports_on(one))],
            registrations=list(self._registered.items()),
            asked=list(self._asked),
        )
        self._tokens.clear()
        self._editors_tokens.clear()
        self._unseen.clear()
        self._registered.clear()
        self._asked.clear()
        self.generation += 1
        return left

    def __iter__(self) -> Iterator[str]:
        return iter(self._asked)


def _key(token: Json) -> tuple[str, Any]:
    return type(token).__name__, token
