from robot_learning.nodes.system_clock import SystemClock

SECOND = 1_000_000_000


class Clocks:
    """A machine's two clocks; reading both takes `reading` [ns]."""

    def __init__(self) -> None:
        self.steady_now, self.offset, self.reading = 5 * SECOND, 1_700_000_000 * SECOND, 0

    def steady(self) -> int:
        self.steady_now += self.reading
        return self.steady_now

    def system(self) -> int:
        return self.steady_now + self.offset

    def watch(self) -> SystemClock:
        watch = SystemClock(1.0, self.system, self.steady)
        assert watch.shift() == 0.0
        return watch


def test_time_that_passes_is_no_shift() -> None:
    clocks = Clocks()
    watch = clocks.watch()
    clocks.steady_now += 100 * SECOND
    assert watch.shift() == 0.0


def test_a_clock_that_was_set_back_is_noticed_once() -> None:
    clocks = Clocks()
    watch = clocks.watch()
    clocks.offset -= 3 * SECOND
    assert [watch.shift(), watch.shift()] == [-3.0, 0.0]


def test_a_clock_that_is_slewed_is_none_that_was_set() -> None:
    clocks = Clocks()
    watch = clocks.watch()
    for _ in range(100):
        clocks.offset -= SECOND // 1000
        assert watch.shift() == 0.0


def test_ahead_it_may_be_set_a_little_and_not_far() -> None:
    clocks = Clocks()
    watch = clocks.watch()
    clocks.offset += SECOND // 2
    assert watch.shift() == 0.0
    clocks.offset += 2 * SECOND
    assert watch.shift() == 2.0


def test_who_was_interrupted_between_the_clocks_looks_again() -> None:
    clocks = Clocks()
    watch = clocks.watch()
    clocks.offset -= 3 * SECOND
    clocks.reading = SECOND // 100
    assert watch.shift() == 0.0
    clocks.reading = 0
    assert watch.shift() == -3.0
