import numpy as np
import pytest

from robot_learning.policies import ActionChunks


def ramp(start: float, length: int = 4) -> np.ndarray:
    return np.arange(start, start + length, dtype=np.float32)[:, None]


def test_a_single_chunk_is_played_in_order() -> None:
    chunks = ActionChunks()
    chunks.add(5, ramp(10))
    assert [float(chunks.action(tick)[0]) for tick in range(5, 9)] == [10, 11, 12, 13]  # type: ignore[index]


def test_there_is_no_action_past_the_end() -> None:
    chunks = ActionChunks()
    chunks.add(5, ramp(10))
    assert chunks.action(9) is None


def test_there_is_no_action_before_the_start() -> None:
    chunks = ActionChunks()
    chunks.add(5, ramp(10))
    assert chunks.action(4) is None


def test_overlapping_chunks_are_weighted_by_their_age() -> None:
    chunks = ActionChunks(decay=np.log(2))
    chunks.add(0, np.full((4, 1), 3.0))
    chunks.add(1, np.full((4, 1), 0.0))
    assert chunks.action(1) == pytest.approx(1.0)  # weights 1/2 and 1


def test_without_decay_all_count_the_same() -> None:
    chunks = ActionChunks(decay=0.0)
    for start, value in ((0, 1.0), (1, 2.0), (2, 6.0)):
        chunks.add(start, np.full((4, 1), value))
    assert chunks.action(2) == pytest.approx(3.0)


def test_a_limit_leaves_old_chunks_out() -> None:
    chunks = ActionChunks(decay=0.0, limit=0)
    chunks.add(0, np.full((4, 1), 1.0))
    chunks.add(1, np.full((4, 1), 2.0))
    assert chunks.action(1) == pytest.approx(2.0)


def test_a_late_chunk_acts_from_its_own_start() -> None:
    """A result for tick 0 that arrives at tick 2 acts with its third action."""
    chunks = ActionChunks()
    chunks.add(0, ramp(10))
    assert chunks.action(2) == pytest.approx(12.0)


def test_finished_chunks_are_forgotten() -> None:
    chunks = ActionChunks()
    chunks.add(0, ramp(0))
    chunks.add(3, ramp(0))
    chunks.action(4)
    assert len(chunks) == 1


def test_a_chunk_of_the_wrong_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        ActionChunks().add(0, np.zeros(5))


@pytest.mark.parametrize(("decay", "newest"), [(1000.0, 1.0), (-1000.0, 0.0)])
def test_a_large_decay_follows_one_chunk_however_old_it_is(decay: float, newest: float) -> None:
    chunks = ActionChunks(decay=decay)
    chunks.add(0, np.zeros((40, 1), np.float32))
    chunks.add(5, np.ones((40, 1), np.float32))
    assert chunks.action(30) == pytest.approx([newest])
