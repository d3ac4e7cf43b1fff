"""What a server, or who stands between, may send instead of an answer; and settings that could not work."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from robot_learning.rewards import json_post
from robot_learning.rewards.json_post import JsonPoster, PostConfig, ServerError
from tests.rewards.stub_server import Reply, stub

OK = b"HTTP/1.1 200 OK\r\n"


def poster(url: str, waits: list[float] | None = None, **settings: Any) -> JsonPoster:
    config = PostConfig(**{"timeout": 20.0, "tries": 1, **settings})
    return JsonPoster(url, config, (waits if waits is not None else []).append)


@contextmanager
def speaking(speak: Callable[[socket.socket, threading.Event], None]) -> Iterator[str]:
    """The address of a server that hears the head of a request, then speaks as it likes until the event."""
    closing = threading.Event()
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while not closing.is_set():
            connection, _ = listening.accept()
            with connection:
                if not closing.is_set() and connection.recv(65536):
                    try:
                        speak(connection, closing)
                    except OSError:  # the other side had enough
                        continue

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
    finally:
        closing.set()
        socket.create_connection(listening.getsockname()).close()
        thread.join()
        listening.close()


def trickle(start: bytes, piece: bytes) -> Callable[[socket.socket, threading.Event], None]:
    def speak(connection: socket.socket, closing: threading.Event) -> None:
        connection.sendall(start)
        while not closing.wait(0.02):
            connection.sendall(piece)

    return speak


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (OK, b"X"),
        (OK + b"X: ", b"x"),
        (OK + b"Content-Length: 100000\r\n\r\n", b" "),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        (OK + b"\r\n", b" "),
    ],
    ids=["status", "header", "body", "chunks", "body without an end"],
)
def test_what_trickles_in_is_given_up_at_the_time_out(start: bytes, piece: bytes) -> None:
    with speaking(trickle(start, piece)) as url, pytest.raises(ServerError, match=r"within 0\.2 s, found none"):
        poster(url, timeout=0.2)({})


def test_a_huge_answer_is_not_taken_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_post, "LARGEST", 1 << 20)
    with (
        stub([Reply(body=b" " * (1 << 20) + b"{}")]) as there,
        pytest.raises(ServerError, match="an answer of more than 1 MB"),
    ):
        poster(there.url)({})


def test_an_answer_that_breaks_off_is_asked_for_again() -> None:
    whole = Reply(body=json.dumps({"a": 1}).encode())
    with stub([Reply(body=b'{"a"', headers={"Content-Length": "8", "Connection": "close"}), whole]) as there:
        assert poster(there.url, tries=2)({}) == {"a": 1}
    assert len(there.seen) == 2


def test_json_that_is_nested_too_deeply_is_none() -> None:
    with stub([Reply(body=b"[" * 200_000)]) as there, pytest.raises(ServerError, match="expected JSON"):
        poster(there.url)({})


@pytest.mark.parametrize("header", ["\u00b2", "soon", "-1", "1e3"])
def test_a_wait_that_is_no_number_of_seconds_is_our_own(header: str) -> None:
    waits: list[float] = []
    with stub([Reply(429, headers={"Retry-After": header}), Reply(body=b"{}")]) as there:
        poster(there.url, waits, tries=2, wait=0.5)({})
    assert waits == [0.5]


def test_a_host_that_cannot_have_a_name_is_not_reached() -> None:
    with pytest.raises(ServerError, match="UnicodeError"):
        poster(f"http://{'a' * 64}.example/v1")({})


@pytest.mark.parametrize("key", ["secret\n123", "secret\u00e9123", "secret\u20ac123", "secret\x7f123"])
def test_a_key_that_no_header_takes_is_refused_unshown(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", key)
    with pytest.raises(ServerError, match="environment variable MY_KEY") as caught:
        poster("http://127.0.0.1:9/v1", key_variable="MY_KEY")({})
    assert "secret" not in str(caught.value)


def test_a_key_with_an_end_of_line_is_not_in_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "secret-123\n")
    with stub([Reply(401, b"bad key secret-123")]) as there, pytest.raises(ServerError) as caught:
        poster(there.url, key_variable="MY_KEY")({})
    assert "secret-123" not in str(caught.value)


def test_half_a_key_is_not_in_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "secret-123")
    complaint = b"x" * (json_post.EXCERPT - 6) + b"secret-123"
    with stub([Reply(401, complaint)]) as there, pytest.raises(ServerError) as caught:
        poster(there.url, key_variable="MY_KEY")({})
    assert "secret" not in str(caught.value)


def test_a_complaint_cannot_command_the_terminal() -> None:
    with stub([Reply(404, b"\x1b[2Jno\r\nsuch model")]) as there, pytest.raises(ServerError) as caught:
        poster(there.url)({})
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "url", ["http://[::1/v1", "http://host:port/v1", "http://host:99999/v1", "http://host/v 1", "http://host/v\u00e9"]
)
def test_an_address_that_cannot_be_asked_is_refused_at_once(url: str) -> None:
    with pytest.raises(ServerError, match="expected http://"):
        JsonPoster(url, PostConfig())


def test_a_password_in_the_address_is_refused_unshown() -> None:
    with pytest.raises(ServerError, match=r"--server\.key-variable") as caught:
        JsonPoster("http://me:secret-123@host/v1", PostConfig())
    assert "secret-123" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("timeout", 0.0), ("timeout", float("inf")), ("timeout", "30"), ("tries", 0), ("wait", -1.0), ("budget", None)],
)
def test_settings_that_cannot_work_are_named(name: str, value: object) -> None:
    with pytest.raises(ServerError, match=f"{name}: expected a number"):
        JsonPoster("http://host/v1", PostConfig(**{name: value}))  # type: ignore[arg-type]
