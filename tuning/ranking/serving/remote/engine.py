"""A team's engine: vLLM's OpenAI-compatible server, asked over one client. Used from one event loop.

It is sent tokens of prompts and names, and a token of its own (RFC 6750) where it asks for one; nothing to any other host: redirects
are not followed.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import AsyncGenerator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import httpx2
import msgspec

from tuning.ranking.serving.model.prompt import Prompt
from tuning.ranking.serving.model.search import TrieSearch
from tuning.ranking.serving.model.tokenizer import ModelTokenizer, NameTokens
from tuning.ranking.serving.model.trie import Node, Scores
from tuning.ranking.serving.remote.address import Remote, is_loopback
from tuning.ranking.serving.remote.completions import LIKELIEST, Answered, Question, questions
from tuning.ranking.serving.remote.errors import (
    RemoteNonsense,
    RemoteRefused,
    RemoteTooFew,
    RemoteUnlike,
    RemoteUnreachable,
)

CONNECT, ANSWER = 2.0, 5.0  # seconds: to be connected, and without a byte
CONNECTIONS = 8
TRIES, PAUSE = 6, 0.01  # of a question that the engine mixed up with others; seconds between them, at most
NODES = 16  # of the trie, at once
LONGEST_ANSWER = 4_000_000  # bytes
POSITIONS = 512  # tokens that an engine has to take
PREFERRED = "starling"  # the name under which `starling team` has an adapter served
CANARY = "def area(width, height):\n    return width * height  # é, 二, \t1_000\n"

T = TypeVar("T")


class _Model(msgspec.Struct):
    id: str
    max_model_len: int | None = None


class _Models(msgspec.Struct):
    data: list[_Model]


class _Tokens(msgspec.Struct):
    tokens: list[int]


class RemoteEngine:
    """The engine at `remote`. `tokenizer` is the one of the model that it serves."""

    def __init__(self, remote: Remote, tokenizer: ModelTokenizer) -> None:
        """Raises OSError, ValueError where the token can't be read."""
        self._remote, self._tokenizer = remote, tokenizer
        self._ending = tokenizer.ends_identifier(tokenizer.size)
        self.tokens = NameTokens(tokenizer, POSITIONS)
        self.models: tuple[str, ...] = ()  # what it serves: known after `check`
        self.model = remote.model
        self._likeliest = LIKELIEST[-1]
        self._at_once = True  # whether both kinds of questions are asked at the same time
        self._client = httpx2.AsyncClient(
            base_url=remote.url,
            verify=ssl.create_default_context(),  # the system's authorities, and SSL_CERT_FILE
            timeout=httpx2.Timeout(ANSWER, connect=CONNECT),
            limits=httpx2.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
            follow_redirects=False,
            trust_env=not is_loopback(remote.hostname),  # no proxy on the way to this machine
        )
        self.read_token()

    def read_token(self) -> None:
        """Read the token again: it may have been corrected or replaced. Raises OSError, ValueError where it can't be read."""
        token = self._remote.token()
        self._client.headers.pop("Authorization", None)
        if token:
            self._client.headers["Authorization"] = f"Bearer {token}"

    async def close(self) -> None:
        await self._client.aclose()

    async def check(self) -> None:
        """See that it serves the model, and that the model has this tokenizer. Raises RemoteError."""
        served = _decoded(await self.sent("GET", "/v1/models"), _Models).data
        self.models = tuple(model.id for model in served)
        if not self.models:
            raise RemoteUnlike("the engine serves no model")
        wanted = self._remote.model or (PREFERRED if PREFERRED in self.models else self.models[0])
        if wanted not in self.models:
            raise RemoteUnlike(f"the engine does not serve {wanted!r}; it serves {', '.join(self.models)}")
        self.model = wanted
        most = next(model.max_model_len for model in served if model.id == wanted) or POSITIONS
        if most < POSITIONS:
            raise RemoteUnlike(f"{wanted} takes {most} tokens at a time, {POSITIONS} are needed (--max-model-len)")
        asked = {"model": wanted, "prompt": CANARY, "add_special_tokens": False}
        theirs = _decoded(await self.sent("POST", "/tokenize", asked), _Tokens).tokens
        if theirs != self._tokenizer.encode(CANARY):
            raise RemoteUnlike(f"{wanted} has another tokenizer than the base on this machine (--base)")
        node = Node(token=0, parent=None, depth=0, ends=[0])
        node.children[0] = Node(token=0, parent=node, depth=1)
        self._at_once = True
        for self._likeliest in LIKELIEST:
            try:
                await self.answers(self._tokenizer.encode(CANARY), [node], wanted)
            except RemoteRefused:
                if self._likeliest == LIKELIEST[-1]:
                    raise
            else:
                break

    def model_for(self, name: str) -> str:
        """The model to ask for a document for which the adapter `name` is installed: it, where it is served, else the team's."""
        return name if name and name in self.models else self.model

    async def read(self, tokens: Sequence[int], model: str) -> None:
        """Let the engine read a prompt, so that it is in its cache when names are asked for. Raises RemoteError."""
        asked = {"model": model, "prompt": list(tokens), "max_tokens": 1, "temperature": 0, "add_special_tokens": False}
        await self.sent("POST", "/v1/completions", asked)

    async def answers(self, prompt: Sequence[int], nodes: Sequence[Node], model: str) -> Answered:
        """What follows each node behind a prompt. Raises RemoteError."""
        paths = [[*prompt, *_path(node)] for node in nodes]
        asked = questions(nodes, min(self._likeliest, self._tokenizer.size))
        found = Answered(self._ending)
        if self._at_once:
            asked = await self._ask(asked, paths, model, found)
            if asked:
                self._at_once = False
        # One kind after the other. Other people's questions may be of the other kind, so again.
        for kind in ([one for one in asked if one.tokens], [one for one in asked if not one.tokens]):
            left = kind
            for _ in range(TRIES):
                left = await self._ask(left, paths, model, found)
                if not left:
                    break
                await asyncio.sleep(random.random() * PAUSE)
            else:
                raise RemoteTooFew("the engine mixes up the answers to different requests")
        return found

    async def _ask(
        self, asked: Sequence[Question], paths: Sequence[Sequence[int]], model: str, found: Answered
    ) -> list[Question]:
        """Ask at the same time, and take the answers. Returns the questions that got too few tokens. Raises RemoteError."""
        bodies = [self.sent("POST", "/v1/completions", question.body(model, paths)) for question in asked]
        again: list[Question] = []
        for question, body in zip(asked, await _all(bodies), strict=True):
            try:
                found.add(question, question.answers(body))
            except RemoteTooFew:
                again.append(question)
        return again

    async def search(
        self, prompt: Prompt, names: Sequence[str], known: Mapping[str, float], model: str
    ) -> AsyncGenerator[tuple[Scores, bool]]:
        """The names' scores, and whether the best are certain, after each of the engine's answers. Raises RemoteError."""
        search = TrieSearch(names, known, partial(self.tokens.name, prompt.tail))
        tokens = self.tokens.prompt(prompt.text)
        nodes = [search.root, *search.batch(NODES - 1)]
        while True:
            search.take(nodes, await self.answers(tokens, nodes, model))
            is_certain = search.certain()
            yield search.scores(), is_certain
            if is_certain:
                return
            nodes = search.batch(NODES)

    async def sent(self, method: str, path: str, body: Any = None) -> bytes:
        """The answer's body. Raises RemoteUnreachable, RemoteRefused, RemoteNonsense."""
        content = None if body is None else msgspec.json.encode(body)
        headers = {"Content-Type": "application/json"} if content is not None else {}
        request = self._client.build_request(method, path, content=content, headers=headers)
        try:
            answer = await self._client.send(request, stream=True)
            try:
                data = bytearray()
                async for piece in answer.aiter_bytes():
                    data += piece
                    if len(data) > LONGEST_ANSWER:
                        raise RemoteNonsense(f"an answer of more than {LONGEST_ANSWER:,} bytes")
            finally:
                await answer.aclose()
        except httpx2.TimeoutException as error:
            raise RemoteUnreachable(f"{self._remote.host} did not answer in time") from error
        except (httpx2.HTTPError, OSError) as error:
            raise RemoteUnreachable(f"{self._remote.host} can't be reached: {error or type(error).__name__}") from error
        if answer.status_code != 200:
            raise RemoteRefused(_refusal(answer.status_code, bytes(data)))
        return bytes(data)


def _path(node: Node) -> list[int]:
    """The tokens from behind the prompt to a node."""
    found: list[int] = []
    at: Node | None = node
    while at is not None and at.depth > 0:
        found.append(at.token)
        at = at.parent
    return found[::-1]


async def _all(several: Sequence[Any]) -> list[bytes]:
    """All answers; the others are not waited for where one fails."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in several]
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]


def _decoded(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.MsgspecError as error:
        raise RemoteNonsense(f"an answer that is not what vLLM answers: {error}") from error


def _refusal(status: int, body: bytes) -> str:
    """What an engine said, in one line."""
    try:
        said = msgspec.json.decode(body)
        text = str(said.get("error", {}).get("message", "") if isinstance(said.get("error"), dict) else said)
    except (msgspec.MsgspecError, AttributeError):
        text = body[:200].decode("utf-8", "replace")
    hint = {401: "its token is wrong or missing", 403: "its token is wrong or missing", 404: "it has no such address"}
    return " ".join(f"the engine answered {status}: {hint.get(status, text)}".split())[:300]
