"""A server that speaks just enough of OpenAI's chat completions, with its answers written down beforehand."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Reply:
    """What is sent back: a status, a body, further headers; `hold` keeps the answer back until the stub is closed."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    hold: bool = False


def said(text: str, top: dict[str, float] | None = None) -> Reply:
    """A completion with this text; `top` has the probabilities of the likeliest first words."""
    choice: dict[str, Any] = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    if top is not None:
        listed = [{"token": token, "logprob": math.log(p)} for token, p in top.items()]
        choice["logprobs"] = {"content": [{"token": text, "logprob": -0.1, "top_logprobs": listed}]}
    return Reply(body=json.dumps({"object": "chat.completion", "choices": [choice]}).encode())


class Stub:
    """Answers the n-th request with the n-th reply, the last one over and over, or with what a function makes of it."""

    def __init__(self, replies: list[Reply] | Callable[[dict[str, Any]], Reply]) -> None:
        self.replies = replies
        self.seen: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.closing = threading.Event()
        self.lock = threading.Lock()
        self.url = ""

    def reply_to(self, path: str, headers: dict[str, str], payload: dict[str, Any]) -> Reply:
        with self.lock:
            self.seen.append(payload)
            self.headers.append(headers)
            self.paths.append(path)
            if callable(self.replies):
                return self.replies(payload)
            return self.replies[min(len(self.seen), len(self.replies)) - 1]


@contextmanager
def stub(replies: list[Reply] | Callable[[dict[str, Any]], Reply]) -> Iterator[Stub]:
    """The stub on a free port of this machine, for as long as the block lasts."""
    made = Stub(replies)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            payload = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            reply = made.reply_to(self.path, dict(self.headers), payload)
            if reply.hold:
                made.closing.wait(60)
                return
            self.send_response(reply.status)
            for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield made
    finally:
        made.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()
