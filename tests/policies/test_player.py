import numpy as np
import pytest

from robot_learning.policies import ChunkPlayer


@pytest.fixture
def player() -> ChunkPlayer:
    return ChunkPlayer(width=1, displacements=True, decay=0.0, limit=None)


def column(*values: float) -> np.ndarray:
    return np.array(values, np.float32)[:, None]


def test_a_tick_no_plan_reaches_has_no_action(player: ChunkPlayer) -> None:
    player.add(0, column(0.1, 0.2))
    assert player.action(2) is None


def test_a_late_plan_counts_from_where_the_robot_was_when_it_was_asked_for(player: ChunkPlayer) -> None:
    player.add(0, column(0.5, 1.0, 1.5, 2.0))
    for tick in (0, 1):
        player.action(tick)
    player.add(1, column(0.5, 1.0, 1.5))  # agrees with the first, and comes a tick late
    np.testing.assert_allclose(player.action(2), [0.5], atol=1e-6)


def test_a_tick_left_out_is_made_up_for(player: ChunkPlayer) -> None:
    """The robot held at tick 1: at tick 2 the place planned for it is still the aim."""
    player.add(0, column(0.2, 0.4, 0.6))
    player.action(0)
    np.testing.assert_allclose(player.action(2), [0.4], atol=1e-6)


def test_plain_actions_are_skipped_not_replayed() -> None:
    player = ChunkPlayer(width=1, displacements=False, decay=0.0, limit=None)
    player.add(0, column(0.1, 0.2, 0.3))
    np.testing.assert_allclose(player.action(2), [0.3], atol=1e-6)


def test_reset_starts_from_tick_zero(player: ChunkPlayer) -> None:
    player.add(7, column(0.5))
    player.action(7)
    player.reset()
    player.add(0, column(0.25))
    np.testing.assert_allclose(player.action(0), [0.25])


def test_memory_stays_bounded(player: ChunkPlayer) -> None:
    for tick in range(100):
        player.add(tick, column(0.1, 0.1))
        player.action(tick)
    assert len(player._places) <= 6


def test_after_another_action_plans_lead_to_the_same_places() -> None:
    player = ChunkPlayer(1, displacements=True, decay=0.0, limit=None)
    player.add(0, np.array([[0.5], [1.0], [1.5]], np.float32))
    assert player.action(0) == pytest.approx([0.5])
    player.carried_out(0, np.array([0.2]))
    assert player.action(1) == pytest.approx([0.8])  # to 1.0, from 0.2
