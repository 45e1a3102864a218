"""The capabilities of one wrapped server: those of its initialize result, and those that it registered later.

This is a copy, separate from the server: while a server restarts after a crash, its earlier capabilities still count.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from lsp_server.documents.selectors import Selector, selector_of, selects
from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Json
from lsp_server.protocol.capabilities import at
from lsp_server.routing.table import Capability, Route
from lsp_server.servers.server import WrappedServer

log = logging.getLogger(__name__)

Options = Mapping[str, Any]
T = TypeVar("T")
NOT_OPTIONS = ("documentSelector", "id", "workDoneProgress")


@dataclass(frozen=True, kw_only=True)
class Offer:
    """One announcement of a capability. `selector`: its documents; None means all documents that the server handles."""

    options: Options = field(default_factory=dict[str, Any])
    selector: Selector = None

    def has(self, member: Sequence[str]) -> bool:
        """Whether the announcement has an option. `member`: the path of the option; () is the capability itself."""
        return not member or at(self.options, *member) not in (None, False)


@dataclass(frozen=True, kw_only=True)
class Registration:
    """A registration, as the server sent it."""

    id: str
    method: str
    options: Json = None


class Abilities:
    """The capabilities of one server. An announcement that is not valid LSP is logged and skipped."""

    def __init__(
        self,
        *,
        language_ids: frozenset[str],
        static: Options,
        registered: Sequence[Registration] = (),
        wanted: Callable[[str], bool] = lambda method: True,
    ) -> None:
        """`wanted`: whether the user's settings allow sending a method to the server."""
        self.language_ids, self.wanted = language_ids, wanted
        self.static, self.registered = static, tuple(registered)

    @classmethod
    def of(cls, server: WrappedServer) -> Abilities:
        """Read the current capabilities of a server."""
        registered = [
            Registration(id=id, method=method, options=options)
            for id, (method, options) in server.announced.registered.items()
        ]
        plan = server.plan
        return cls(
            language_ids=plan.language_ids,
            static=dict(server.announced.capabilities),
            registered=registered,
            wanted=plan.answers,
        )

    def offers(self, row: Capability) -> list[Offer]:
        """Return every announcement of a capability, the one of initialize first.

        Returns none if the user's settings exclude all requests of the capability.
        """
        wanted = not row.requests or any(map(self.wanted, row.requests))
        return list(self._offers(row.key, row.method)) if wanted else []

    def later_offers(self, row: Capability) -> list[Offer]:
        """Return the announcements that the server registered after initialize."""
        return list(self._offers("", row.method))

    def can(self, route: Route, uri: str | None = None, language_id: str = "") -> bool:
        """Whether the server supports a request, for this document if one is given."""
        return not route.provider or any(
            offer.has(route.member) and (uri is None or selects(offer.selector, uri, language_id))
            for offer in self._offers(route.key, route.method)
        )

    def options_of(self, route: Route) -> list[Options]:
        return [offer.options for offer in self._offers(route.key, route.method)]

    def identifiers(self, route: Route, uri: str | None = None, language_id: str = "") -> list[str | None]:
        """Return the identifiers of pulled diagnostics (DiagnosticOptions, LSP 3.17), each once.

        An announcement without an identifier gives None.
        """
        found: dict[str | None, None] = {}
        for offer in self._offers(route.key, route.method):
            if offer.has(route.member) and (uri is None or selects(offer.selector, uri, language_id)):
                given = offer.options.get("identifier")
                found[given if isinstance(given, str) else None] = None
        return list(found)

    def _offers(self, key: str, method: str) -> Iterator[Offer]:
        announced = at(self.static, *key.split(".")) if key else None
        given = [] if announced in (None, False) else [announced]
        given += [each.options for each in self.registered if each.method == method]
        for options in given:
            try:
                yield _offer(options)
            except wire.Malformed as error:
                log.warning("the options of %s are not valid: %s", key or method, error)


def read_all(given: Json, kind: type[T]) -> list[T]:
    """Read the elements of an array in a server's options as `kind`.

    An element that is not valid is logged and skipped.
    """
    found: list[T] = []
    for each in wire.as_array(given):
        try:
            found.append(wire.read(wire.raw(each), kind))
        except wire.WireError as error:
            log.warning("an option of a capability is not valid: %s", error)
    return found


def _offer(options: Json) -> Offer:
    given = wire.as_object(options)
    own = {name: value for name, value in given.items() if name not in NOT_OPTIONS}
    return Offer(options=own, selector=selector_of(given.get("documentSelector")))
