import os
import signal
from collections.abc import Iterator

import pytest

from robot_learning.training.interrupt import StopRequest


@pytest.fixture(autouse=True)
def _usual_handler() -> Iterator[None]:
    """Whoever starts the tests in the background of a shell has them ignore SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_only_asks(number: signal.Signals) -> None:
    with StopRequest() as stop:
        os.kill(os.getpid(), number)
    assert stop.requested


def test_the_second_ctrl_c_interrupts() -> None:
    with pytest.raises(KeyboardInterrupt), StopRequest():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest():
        pass
    assert signal.getsignal(signal.SIGTERM) is before
