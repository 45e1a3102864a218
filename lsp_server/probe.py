"""A headless LSP client: opens files in a language server and sends it requests.

The command line, the benchmarks and the tests use it, so that they see what an editor would get.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Envelope, Json
from lsp_server.servers.backend import Backend, BackendExited

CLIENT_CAPABILITIES: dict[str, Any] = {
    "general": {"positionEncodings": ["utf-16", "utf-8"]},
    "window": {"workDoneProgress": True},
    "workspace": {"configuration": True, "workspaceFolders": True, "didChangeConfiguration": {}},
    "textDocument": {
        "synchronization": {"didSave": True},
        "hover": {"contentFormat": ["markdown", "plaintext"]},
        "completion": {
            "contextSupport": True,
            "completionItem": {
                "snippetSupport": True,
                "insertReplaceSupport": True,
                "labelDetailsSupport": True,
                "deprecatedSupport": True,
                "preselectSupport": True,
                "documentationFormat": ["markdown", "plaintext"],
                "tagSupport": {"valueSet": [1]},
                "resolveSupport": {"properties": ["documentation", "detail", "additionalTextEdits"]},
            },
            "completionList": {"itemDefaults": ["commitCharacters", "editRange", "insertTextFormat", "data"]},
        },
    },
}


class Probe:
    """One session with a server. `messages` has the (method, params) of each notification and request from the server."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        answers: dict[str, Callable[[Json], Json]] | None = None,
        hear: Callable[[str, Json], object] | None = None,
    ) -> None:
        """`answers`: method -> function from params to result, for the server's requests; others get null.
        `hear`: gets each (method, params) of the server; `messages` stays empty then.
        """
        self.messages: list[tuple[str, Json]] = []
        self.exited: BackendExited | None = None
        self.result: Json = None
        self.backend = Backend(command, on_message=self._message, on_exit=self._exit)
        self._answers = {"workspace/configuration": _no_configuration, **(answers or {})}
        self._hear = hear or self._keep
        self._message_arrived = asyncio.Event()

    async def start(
        self,
        root: Path | None = None,
        *,
        options: Json = None,
        capabilities: Json = None,
        timeout: float = 60.0,
    ) -> Json:
        """Start the server, then send initialize and initialized. Returns the result of initialize. Raises BackendError."""
        await self.backend.start(cwd=str(root) if root is not None else None)
        folders = [{"uri": root.as_uri(), "name": root.name}] if root is not None else None
        params = {
            "processId": os.getpid(),  # a server that watches this process exits with it, even if it is killed
            "rootUri": root.as_uri() if root is not None else None,
            "workspaceFolders": folders,
            "capabilities": CLIENT_CAPABILITIES if capabilities is None else capabilities,
        }
        if options is not None:
            params["initializationOptions"] = options
        self.result = await self.backend.request("initialize", params, timeout)
        self.backend.notify("initialized", {})
        return self.result

    def open(self, uri: str, text: str, language_id: str, version: int = 1) -> None:
        """Send didOpen."""
        item = {"uri": uri, "languageId": language_id, "version": version, "text": text}
        self.backend.notify("textDocument/didOpen", {"textDocument": item})

    def change(self, uri: str, version: int, text: str, span: Json = None) -> None:
        """Send didChange. `span`: the Range that `text` replaces; None replaces the whole document."""
        change = {"text": text} if span is None else {"range": span, "text": text}
        self.backend.notify(
            "textDocument/didChange",
            {"textDocument": {"uri": uri, "version": version}, "contentChanges": [change]},
        )

    async def complete(self, uri: str, line: int, character: int, timeout: float | None = 30.0) -> Json:
        """Request completion. Returns the result. Line and character are 0-based. Raises BackendError."""
        params = {"textDocument": {"uri": uri}, "position": {"line": line, "character": character}}
        return await self.backend.request("textDocument/completion", params, timeout)

    async def heard(self, method: str, *, count: int = 1, timeout: float = 20.0) -> list[Json]:
        """Wait until the server has sent `method` `count` times. Returns the params of all. Raises TimeoutError."""
        async with asyncio.timeout(timeout):
            while len(found := [params for name, params in self.messages if name == method]) < count:
                self._message_arrived.clear()
                await self._message_arrived.wait()
        return found

    async def stop(self, timeout: float = 10.0) -> None:
        """Send shutdown and exit, then end the process whether it obeys or not. Raises BackendError from shutdown."""
        try:
            if self.backend.alive:
                await self.backend.request("shutdown", None, timeout)
        finally:
            self.backend.notify("exit", None)
            await self.backend.stop()

    def _keep(self, method: str, params: Json) -> None:
        self.messages.append((method, params))

    def _message(self, body: bytes, envelope: Envelope) -> None:
        params = wire.loads(envelope.params) if isinstance(envelope.params, msgspec.Raw) else None
        method = str(envelope.method)
        self._hear(method, params)
        if envelope.is_request and not isinstance(envelope.id, msgspec.UnsetType):
            answer = self._answers.get(method)
            self.backend.send(wire.response(envelope.id, answer(params) if answer is not None else None))
        self._message_arrived.set()

    def _exit(self, error: BackendExited) -> None:
        self.exited = error
        self._message_arrived.set()


def items_of(result: Json) -> list[Json]:
    """The items of a completion result: a CompletionList, an array or null."""
    return (result.get("items") if wire.is_object(result) else result) or []


def in_order(items: list[Json]) -> list[Json]:
    """Items in the order in which an editor shows them before a letter is typed: by sortText, or label if it has none."""
    return sorted(items, key=lambda item: item.get("sortText") or item["label"])


def _no_configuration(params: Json) -> Json:
    return [None for _ in params.get("items", ())]
