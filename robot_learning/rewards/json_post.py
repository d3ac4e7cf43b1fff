"""JSON to a web server and back with the standard library: a deadline, repeats when the server is busy, and a budget."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from robot_learning.errors import UserError

BUSY = frozenset({408, 425, 429, 500, 502, 503, 504, 529})  # passes by itself
LONGEST_WAIT = 30.0  # between two tries [s], whatever the server asks for
EXCERPT = 300  # characters of a server's complaint that are shown


class ServerError(UserError, ConnectionError):
    """The server was not reached, was too slow or refused; says what it said.

    Attributes:
        status: of its answer, None when there was none.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class BudgetError(UserError, RuntimeError):
    """As many requests were sent as the settings allow."""


@dataclass(frozen=True)
class PostConfig:
    """How patiently a server is asked, and how often."""

    timeout: float = 30.0
    """For one answer, from the connection to its last byte [s]."""
    tries: int = 4
    """Requests for one answer, while the server is busy or out of reach."""
    wait: float = 0.5
    """Before the second try [s]; doubled for each further one. A server's Retry-After goes before."""
    budget: int = 10_000
    """Requests in the life of the process, repeated ones included; then it refuses."""
    key_variable: str = ""
    """Environment variable that holds the API key; it is read when asked, and written nowhere."""


class JsonPoster:
    """Posts JSON to one address; may be used by several threads. `spent` counts the requests that were sent."""

    def __init__(self, url: str, config: PostConfig, sleep: Callable[[float], None] = time.sleep) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ServerError(f"url: expected http://HOST:PORT/v1 or https://..., found {url!r}")
        self.url, self.config, self.spent = url, config, 0
        self._parts, self._sleep, self._lock = parts, sleep, threading.Lock()

    def __call__(self, payload: dict[str, Any]) -> Any:
        """The server's answer, parsed.

        Raises:
            ServerError: no whole answer in any of the tries, a refusal, or no JSON (`status` 200).
            BudgetError: the budget is spent.
        """
        body, headers = json.dumps(payload).encode(), self._headers()
        for attempt in range(1, max(self.config.tries, 1) + 1):
            wait = min(self.config.wait * 2 ** (attempt - 1), LONGEST_WAIT)
            self._spend()
            try:
                status, asked_wait, answer = self._send(body, headers)
            except (OSError, http.client.HTTPException) as error:  # refused, reset, too slow, not HTTP
                failure = ServerError(
                    f"{self.url}: expected an answer within {self.config.timeout:g} s, found {_why(error)}"
                )
            else:
                if status == 200:
                    return self._parsed(answer)
                failure = ServerError(self._refusal(status, answer), status)
                if status not in BUSY:
                    break
                wait = wait if asked_wait is None else min(asked_wait, LONGEST_WAIT)
            if attempt < self.config.tries:
                self._sleep(wait)
        raise failure

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        name = self.config.key_variable
        if not name:
            return headers
        key = os.environ.get(name, "").strip()
        if not key:
            raise ServerError(f"API key: expected it in the environment variable {name}, found none. export {name}=...")
        return {**headers, "Authorization": f"Bearer {key}"}

    def _spend(self) -> None:
        with self._lock:
            if self.spent >= self.config.budget:
                raise BudgetError(
                    f"{self.url}: the budget of {self.config.budget} requests is spent. Raise it (--server.budget in training, "
                    '"budget" in the config.json of a reward model) or ask less often'
                )
            self.spent += 1

    def _send(self, body: bytes, headers: dict[str, str]) -> tuple[int, float | None, bytes]:
        """Status, seconds to wait as the server asks for, and body of one exchange; redirects are not followed."""
        deadline = time.monotonic() + self.config.timeout
        make = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
        assert self._parts.hostname is not None
        connection = make(self._parts.hostname, self._parts.port, timeout=self.config.timeout)
        with contextlib.closing(connection):
            path = self._parts.path + (f"?{self._parts.query}" if self._parts.query else "")
            connection.request("POST", path, body, headers)
            response = connection.getresponse()
            parts = []
            while part := response.read1(1 << 16):
                parts.append(part)
                if time.monotonic() > deadline:
                    raise TimeoutError
            return response.status, _seconds(response.getheader("Retry-After")), b"".join(parts)

    def _parsed(self, answer: bytes) -> Any:
        try:
            return json.loads(answer)
        except ValueError as error:
            raise ServerError(f"{self.url}: expected JSON, found {answer[:80]!r}", 200) from error

    def _refusal(self, status: int, answer: bytes) -> str:
        words = answer[:EXCERPT].decode("utf-8", "replace").strip()
        key = os.environ.get(self.config.key_variable, "") if self.config.key_variable else ""
        words = words.replace(key, "***") if key else words
        return f"{self.url}: expected status 200, found {status} {http.client.responses.get(status, '')}: {words}"


def _why(error: Exception) -> str:
    return "none" if isinstance(error, TimeoutError) else f"{type(error).__name__}: {error}"


def _seconds(header: str | None) -> float | None:
    """A Retry-After in seconds; its other form, a date, is left to our own waiting time."""
    return float(header) if header is not None and header.isdigit() else None
