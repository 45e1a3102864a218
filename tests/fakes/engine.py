"""An engine as vLLM is, on a loopback port, around a scorer of this process; and its faults."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuning.ranking.serving.model.scorer import Scorer

Answer = tuple[int, bytes]
Fault = Callable[[str, Any, Answer], Answer | None]  # path, what was asked, the right answer; None cuts the connection


class Engine:
    """`fault` changes answers; `delay` seconds before each; `asked` are the paths and bodies that came."""

    def __init__(self, scorer: Scorer, *, models: tuple[str, ...] = ("starling",), token: str = "") -> None:
        self.models, self.token = models, token
        self.fault: Fault | None = None
        self.delay = 0.0
        self.missing = 0  # bytes of each answer that never come
        self.asked: list[tuple[str, Any]] = []
        self.headers: list[Mapping[str, str]] = []
        self.url = ""
        self._scorer = scorer
        self._one = threading.Lock()  # a scorer has one user
        self._context = scorer.runtime.context()
        self._read: list[int] = []

    def answer(self, path: str, body: Any) -> Answer:
        self.asked.append((path, body))
        if path == "/v1/models":
            return _json({"data": [{"id": name, "max_model_len": 1024} for name in self.models]})
        if body["model"] not in self.models:
            return _json({"error": {"message": f"The model {body['model']} does not exist."}}, 404)
        if path == "/tokenize":
            return _json({"tokens": self._scorer.tokenizer.encode(body["prompt"])})
        if path != "/v1/completions":
            return _json({"error": {"message": "Not Found"}}, 404)
        prompts = body["prompt"] if isinstance(body["prompt"][0], list) else [body["prompt"]]
        return _json({"choices": [self._choice(i, tokens, body) for i, tokens in enumerate(prompts)]})

    def _choice(self, index: int, tokens: list[int], body: Any) -> dict[str, Any]:
        if "logprobs" not in body:
            return {"index": index, "text": "x", "logprobs": None}
        with self._one:
            logits = self._logits(tokens)
        log_p = logits - logits.max() - np.log(np.exp(logits - logits.max()).sum())
        best = int(log_p.argmax())
        chosen = body.get("logprob_token_ids") or np.argsort(-log_p)[: body["logprobs"]].tolist()
        top = {f"token_id:{token}": float(log_p[token]) for token in [best, *chosen]}
        return {"index": index, "text": "x", "logprobs": {"top_logprobs": [top]}}

    def _logits(self, tokens: list[int]) -> NDArray[np.float64]:
        """What follows; the beginning that the last prompt had too is not read again."""
        shared = 0
        while shared < min(len(tokens) - 1, len(self._read)) and tokens[shared] == self._read[shared]:
            shared += 1
        self._context.crop(shared)
        self._read = list(tokens)
        return self._scorer.runtime.read(self._context, tokens[shared:]).astype(np.float64)


def _json(value: Any, status: int = 200) -> Answer:
    return status, json.dumps(value).encode()


@contextmanager
def serving(engine: Engine, port: int = 0, tls: ssl.SSLContext | None = None) -> Generator[Engine]:
    """The engine at a port of its own; behind TLS where a context with a certificate is given."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(None)

        def do_POST(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _answer(self, body: Any) -> None:
            engine.headers.append(dict(self.headers.items()))
            if engine.token and self.headers.get("Authorization") != f"Bearer {engine.token}":
                right = _json({"error": "Unauthorized"}, 401)
            else:
                right = engine.answer(self.path, body)
            time.sleep(engine.delay)
            answer = right if engine.fault is None else engine.fault(self.path, body, right)
            if answer is None:
                self.close_connection = True
                return
            status, data = answer
            self.send_response(status)
            self.send_header("Content-Length", str(len(data) + engine.missing))
            self.close_connection = self.close_connection or engine.missing > 0
            if status in (301, 302, 307, 308):
                self.send_header("Location", data.decode())
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: tests say what went wrong."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that goes away is no error here."""

    server = Server(("127.0.0.1", port), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    engine.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_address[1]}"
    try:
        yield engine
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
