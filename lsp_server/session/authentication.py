"""Checks whether a client may use the session. A socket client must send a token in its initialize request."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, replace

from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Json


@dataclass(kw_only=True)
class Authentication:
    """What a client must send, and what it may do then.

    On standard streams the client is the process that started us; on a socket it may be anyone.

    `trusted`: the client's initializationOptions may choose which commands and models run. If not, only the command
    line may.
    """

    token: str = ""  # the token that initialize must contain; "" if none is needed
    trusted: bool = True
    succeeded: bool = False

    def for_new_client(self) -> Authentication:
        """The same conditions, for a client that has not authenticated yet."""
        return replace(self, succeeded=False)

    def check(self, options: Json) -> bool:
        """Whether these options (`initializationOptions.starling`) contain the token. Compares in constant time."""
        given = options.get("token") if wire.is_object(options) else None
        given = given if isinstance(given, str) else ""
        self.succeeded = not self.token or hmac.compare_digest(given.encode(), self.token.encode())
        return self.succeeded
