"""Sends one request of the editor to several wrapped servers, and merges their answers as its route in the table says.

Each server gets its own params: they have no token, result id, file or diagnostic of another server.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

import msgspec

from lsp_server.documents.uris import key_of
from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Id
from lsp_server.routing import fanout, provenance
from lsp_server.routing.fanout import Answers
from lsp_server.routing.late_answers import LateAnswers, Question
from lsp_server.routing.requests import Requests
from lsp_server.routing.table import OTHER, ROUTES, Late, Route, Wait
from lsp_server.servers.server import WrappedServer

log = logging.getLogger(__name__)

Raw = msgspec.Raw
Params = dict[str, Raw]
ParamsFor = Callable[[WrappedServer], Mapping[str, Raw]]
Results = Sequence[tuple[WrappedServer, Raw]]

SHOWN = 10.0  # seconds to wait for results that the editor shows in the background
# These members do not change what is asked.
NOT_ASKED = ("workDoneToken", "partialResultToken", "previousResultId", "previousResultIds")


class Unanswered(Exception):
    """No server returned a result. `reply` is the whole response to the editor."""

    def __init__(self, reply: bytes) -> None:
        super().__init__("no server gave a result")
        self.reply = reply


class Answering:
    """Asks servers and merges their answers.

    `refresh` makes the editor send a method again. `can_refresh`: whether the editor supports that. `text_version`
    returns how often a document was changed.
    """

    def __init__(
        self,
        requests: Requests,
        *,
        refresh: Callable[[str], None],
        can_refresh: Callable[[str], bool],
        text_version: Callable[[str], int],
    ) -> None:
        self._requests, self._can_refresh, self._text_version = requests, can_refresh, text_version
        self.late = LateAnswers(requests.give_up, refresh)

    async def reply(
        self, id: Id, method: str, body: bytes, servers: Sequence[WrappedServer], params_for: ParamsFor, uri: str = ""
    ) -> bytes:
        """Return the whole response of these servers. `uri`: the document of the request; "" if it has none."""
        route = ROUTES.get(method, OTHER)
        try:
            if route.wait is Wait.ORDER:
                return await self._of_one(id, route, body, servers, params_for)
            results = await self.results(id, method, body, servers, params_for, uri)
        except Unanswered as unanswered:
            return unanswered.reply
        return wire.response(id, _merged(results, route))

    async def results(
        self,
        id: Id,
        method: str,
        body: bytes,
        servers: Sequence[WrappedServer],
        params_for: ParamsFor,
        uri: str = "",
        *,
        again: bool = False,
    ) -> Results:
        """Return the servers' results in order of preference, with marks. Raises Unanswered if there is none.

        again: the servers already got one request for this request of the editor, so these requests need other ids.
        """
        answers = await self._asked(id, method, body, servers, params_for, uri, again=again)
        route = ROUTES[method]
        found: list[tuple[WrappedServer, Raw]] = []
        failures: list[bytes] = []
        for server, reply in answers.found:
            members = wire.fields(reply)
            if "error" in members:
                failures.append(reply)
            else:
                found.append((server, _marked(members.get("result", Raw(b"null")), server, route)))
        if answers.late and route.late is Late.ERROR:
            names = ", ".join(server.key for server in answers.late)
            raise Unanswered(wire.failure(id, wire.REQUEST_FAILED, f"no answer to {method} from {names}"))
        if not found and failures:
            raise Unanswered(wire.with_id(failures[0], id))
        return found

    async def _of_one(
        self, id: Id, route: Route, body: bytes, servers: Sequence[WrappedServer], params_for: ParamsFor
    ) -> bytes:
        def body_for(server: WrappedServer) -> bytes:
            return _body(body, params_for(server), with_tokens=route.marks is None)

        server, reply = await fanout.in_order(self._requests, id, servers, body_for)
        members = wire.fields(reply)
        if "result" not in members or route.marks is None:
            return reply
        return wire.dumps({**members, "result": _marked(members["result"], server, route)})

    async def _asked(
        self,
        id: Id,
        method: str,
        body: bytes,
        servers: Sequence[WrappedServer],
        params_for: ParamsFor,
        uri: str,
        *,
        again: bool,
    ) -> Answers:
        """Ask every server at the same time. A server that still owes an answer to this question is not asked again."""
        route = ROUTES[method]
        refreshes = route.late is Late.REFRESH and self._can_refresh(method)
        questions: dict[WrappedServer, Question] = {}
        asking: dict[WrappedServer, asyncio.Future[bytes]] = {}
        for server in servers:
            params = params_for(server)
            questions[server] = self._question(method, params, uri)
            owed = self.late.take(server, questions[server])
            sent = _body(body, params, with_tokens=server is servers[0] and not again)
            asking[server] = owed or self._requests.ask(id, server, sent, apart=refreshes or again)
        kept: Mapping[WrappedServer, asyncio.Future[bytes]] = {}
        try:
            if route.wait is Wait.GRACE:
                answers = await fanout.with_grace(asking)
            else:
                answers = await fanout.together(
                    asking, SHOWN if refreshes or route.late is Late.NOTHING else fanout.WHOLE
                )
            kept = answers.late if refreshes else {}
            for server, answer in kept.items():
                self.late.keep(server, questions[server], answer)
            return answers
        finally:
            for server, answer in asking.items():
                if not answer.done() and server not in kept:
                    self._requests.give_up(server, answer)

    def _question(self, method: str, params: Mapping[str, Raw], uri: str) -> Question:
        asked = wire.dumps({name: value for name, value in sorted(params.items()) if name not in NOT_ASKED})
        return Question(method, asked, key_of(uri), self._text_version(uri), bytes(params.get("identifier", b"")))


def _body(body: bytes, params: Mapping[str, Raw], *, with_tokens: bool) -> bytes:
    """Return the request with these params.

    It asks for no partial results: the answer is read whole. Only one server may report on a progress token.
    """
    left_out = ("partialResultToken",) if with_tokens else ("partialResultToken", "workDoneToken")
    kept = {name: value for name, value in params.items() if name not in left_out}
    return wire.dumps({**wire.fields(body), "params": kept})


def _marked(result: Raw, server: WrappedServer, route: Route) -> Raw:
    return result if route.marks is None else provenance.marked(result, server.key, route.marks)


def _merged(results: Results, route: Route) -> Raw:
    """Merge the results, skipping empty results and results that are not valid."""
    found = [result for _, result in results if bytes(memoryview(result)[:8]).strip() not in (b"null", b"[]")]
    if not found:
        return results[0][1] if results else Raw(b"null")
    try:
        return route.merge(found)
    except wire.WireError as error:
        log.warning("skipped a server's result that is not valid: %s", error)
        return route.merge([result for result in found if _is_readable(result, route)])


def _is_readable(result: Raw, route: Route) -> bool:
    try:
        route.merge([result, result])
    except wire.WireError:
        return False
    return True
