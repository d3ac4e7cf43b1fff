"""JSON to a web server and back with the standard library: a deadline, repeats when the server is busy, and a budget."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

from robot_learning.errors import UserError

BUSY = frozenset({408, 425, 429, 500, 502, 503, 504, 529})  # passes by itself
LONGEST_WAIT = 30.0  # between two tries [s], whatever the server asks for
EXCERPT = 300  # characters of a server's complaint that are shown
LARGEST = 1 << 24  # of an answer [byte]; a few words with their probabilities take some ten thousand


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
        self._parts = _split(url)
        _check(config)
        self.url, self.config, self.spent = url, config, 0
        self._sleep, self._lock = sleep, threading.Lock()

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
            # refused, reset or too slow; not HTTP; no name
            except (OSError, http.client.HTTPException, UnicodeError) as error:
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
        key = self._key()
        if not key:
            raise ServerError(f"API key: expected it in the environment variable {name}, found none. export {name}=...")
        if not (key.isascii() and key.isprintable()):  # the header's own error would show it
            raise ServerError(
                f"API key: expected one line of plain characters in the environment variable {name}, found others among its "
                f"{len(key)}. export {name}=... anew"
            )
        return {**headers, "Authorization": f"Bearer {key}"}

    def _key(self) -> str:
        return os.environ.get(self.config.key_variable, "").strip() if self.config.key_variable else ""

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
            connection.connect()
            with _until(deadline, connection.sock):
                path = self._parts.path + (f"?{self._parts.query}" if self._parts.query else "")
                connection.request("POST", path, body, headers)
                response = connection.getresponse()
                answer = response.read(LARGEST + 1)
            if len(answer) > LARGEST:
                raise http.client.HTTPException(f"an answer of more than {LARGEST >> 20} MB")
            if response.length:  # a read with a limit does not mind when less comes than was announced
                raise http.client.IncompleteRead(answer, response.length)
            return response.status, _seconds(response.getheader("Retry-After")), answer

    def _parsed(self, answer: bytes) -> Any:
        try:
            return json.loads(answer)
        except (ValueError, RecursionError) as error:
            raise ServerError(f"{self.url}: expected JSON, found {answer[:80]!r}", 200) from error

    def _refusal(self, status: int, answer: bytes) -> str:
        words, key = answer.decode("utf-8", "replace"), self._key()
        if key:  # before they are cut, lest half of it be left
            words = words.replace(key, "***")
        words = "".join(c if c.isprintable() else " " for c in words[:EXCERPT]).strip()  # no commands to a terminal
        return f"{self.url}: expected status 200, found {status} {http.client.responses.get(status, '')}: {words}"


def _split(url: str) -> SplitResult:
    """The parts of an address. Raises `ServerError`."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, a bracket that is not closed
        usable = False
    if not usable or not url.isascii() or not url.isprintable() or " " in url:
        raise ServerError(f"url: expected http://HOST:PORT/v1 or https://..., found {url!r}")
    if parts.username is not None:  # not shown: the address is written to files and errors
        raise ServerError(
            f"url: expected an address without a name and a password before {parts.hostname!r}, found them. Put the API key into "
            "an environment variable and name it (--server.key-variable)"
        )
    return parts


def _check(config: PostConfig) -> None:
    """Raises `ServerError`: settings may have been changed by hand, and are first used when a robot waits."""
    for name, least in (("timeout", 1e-3), ("tries", 1), ("wait", 0), ("budget", 0)):
        value = getattr(config, name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < 1e9:
            raise ServerError(
                f"server: {name}: expected a number from {least:g} to 1e9, found {value!r}. Give another (--server.{name} in "
                'training, "server" in the config.json of a reward model)'
            )


@contextlib.contextmanager
def _until(deadline: float, connected: socket.socket) -> Iterator[None]:
    """Ends an exchange then, whatever trickles in: the timeout of a socket begins anew with each byte."""
    late = threading.Event()

    def end() -> None:
        late.set()
        with contextlib.suppress(OSError):
            socket.socket.shutdown(connected, socket.SHUT_RDWR)  # of TLS too, without its farewell

    timer = threading.Timer(deadline - time.monotonic(), end)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        if late.is_set():
            raise TimeoutError from error
        raise
    finally:
        timer.cancel()
    if late.is_set():
        raise TimeoutError


def _why(error: Exception) -> str:
    return "none" if isinstance(error, TimeoutError) else f"{type(error).__name__}: {error}"


def _seconds(header: str | None) -> float | None:
    """A Retry-After in seconds; its other form, a date, is left to our own waiting time."""
    return float(header) if header is not None and header.isascii() and header.isdigit() else None
