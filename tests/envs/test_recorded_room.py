import numpy as np
import pytest

from robot_learning.contract import ENVIRONMENT_STATE, STATE, Contract
from robot_learning.envs import TASKS
from robot_learning.envs.demonstrator import Player
from robot_learning.envs.playroom_env import PlayroomEnv
from robot_learning.envs.recorded_room import RecordedRoom, RecordedStateError


@pytest.fixture(scope="module")
def recorded() -> RecordedRoom:
    return RecordedRoom(Contract.load("ur5e_2f85"))


def test_every_answer_is_that_of_the_room_itself(recorded: RecordedRoom) -> None:
    """Starts of all tasks, and play in between: 18 predicates each."""
    env = PlayroomEnv()
    frames, truth = [], []
    for seed, name in enumerate(TASKS):
        env.reset(seed=seed, options={"task": name})
        player = Player(env.room, np.random.default_rng(seed))
        for _ in range(12):
            observation = env.step(player.act())[0]
            frames.append((observation[STATE], observation[ENVIRONMENT_STATE]))
            truth.append([task.success(env.room) for task in TASKS.values()])
    env.close()
    states, environment_states = (np.stack(arrays) for arrays in zip(*frames, strict=True))
    answers = recorded.answers(states, environment_states, list(TASKS))
    assert (answers == np.array(truth)).mean() > 0.999  # float32 at a threshold


def test_poses_are_restored(recorded: RecordedRoom) -> None:
    env = PlayroomEnv(task="grasp_upright")
    observation, _ = env.reset(seed=3)
    recorded.show(observation[STATE], observation[ENVIRONMENT_STATE])
    np.testing.assert_allclose(recorded.room.block, env.room.block, atol=1e-5)
    np.testing.assert_allclose(recorded.room.block_axis, env.room.block_axis, atol=1e-5)
    for part in ("desk", "shelf"):
        np.testing.assert_allclose(recorded.room.pose(part)[0], env.room.pose(part)[0], atol=1e-5)
    env.close()


@pytest.mark.parametrize(
    ("drawer", "opened", "closed"),
    [(0.0, 0, 1), (0.010, 0, -1), (0.06, 0, 0), (0.115, -1, 0), (0.125, -1, 0), (0.14, 1, 0)],
)
def test_what_a_centimetre_would_turn_is_unknown(
    recorded: RecordedRoom, drawer: float, opened: int, closed: int
) -> None:
    env = PlayroomEnv(task="grasp_flat")
    env.reset(seed=5)
    env.room.set_joint("drawer", drawer)
    env.room.forward()
    observation = env.observe()
    states, environment_states = observation[STATE][None], observation[ENVIRONMENT_STATE][None]
    env.close()
    answers = recorded.answers(states, environment_states, ["open_drawer", "close_drawer"], tolerance=0.01)
    assert answers.tolist() == [[opened, closed]]


def test_a_block_at_rest_is_no_matter_of_a_centimetre(recorded: RecordedRoom) -> None:
    env = PlayroomEnv(task="sweep_object")
    for seed in range(3):
        observation, _ = env.reset(seed=seed)
        tasks = ["sweep_object", "grasp_lift", "put_into_shelf", "knock_object", "push_red_button", "grasp_flat"]
        states, environment_states = observation[STATE][None], observation[ENVIRONMENT_STATE][None]
        answers = recorded.answers(states, environment_states, tasks, tolerance=0.01)
        assert answers.tolist() == [[0, 1, 0, 1, 0, 0]]
    env.close()


def test_the_state_of_another_scene_is_refused(recorded: RecordedRoom) -> None:
    with pytest.raises(RecordedStateError, match="expected 33 elements"):
        recorded.show(np.zeros(18, np.float32), np.zeros(7, np.float32))
