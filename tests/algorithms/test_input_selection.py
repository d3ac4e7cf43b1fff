import dataclasses

import numpy as np
import pytest

from robot_learning.algorithms.behaviour_cloning import BehaviourCloning
from robot_learning.algorithms.cloning_config import BehaviourCloningConfig
from robot_learning.algorithms.demonstrations import Demonstrations
from robot_learning.algorithms.input_selection import PLACE, InputSelection, InputSelectionConfig, input_groups
from robot_learning.contract import ENVIRONMENT_STATE, STATE, Contract
from robot_learning.envs.observation import ENVIRONMENT_STATE_NAMES, environment_state_stream

QUICK = InputSelectionConfig(steps=150, hidden=(32,), learning_rate=5e-3)


def scene(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """12 episodes of 10 frames, actions follow the block, the lamp is constant in each: inputs, actions, episodes."""
    rng = np.random.default_rng(seed)
    episodes = np.repeat(np.arange(12), 10)
    block = np.repeat(rng.standard_normal((12, 2)), 10, axis=0) + 0.3 * rng.standard_normal((120, 2))
    lamp = np.repeat(rng.standard_normal((12, 3)), 10, axis=0)
    actions = np.tanh(block[:, None, :]).astype(np.float32)
    return np.concatenate([block, lamp], axis=1), actions, episodes


def selection(seed: int = 0, choice_seed: int = 0) -> InputSelection:
    inputs, actions, episodes = scene(seed)
    groups = {"block": [0, 1], "lamp": [2, 3, 4]}
    nothing = np.zeros((120, 1), bool)
    return InputSelection(QUICK, inputs, groups, actions, nothing, np.zeros(120, int), episodes, choice_seed)


@pytest.mark.parametrize("seed", range(3))
def test_the_object_that_matters_is_kept_and_the_other_is_left_out(seed: int) -> None:
    assert selection(seed).choose().kept == ("block",)


def test_the_error_of_the_choice_is_below_that_of_all_objects() -> None:
    choice = selection().choose()
    assert choice.error < choice.all


def test_the_path_names_every_object_once() -> None:
    assert sorted(name for name, _ in selection().choose().path) == ["block", "lamp"]


def test_the_same_seed_makes_the_same_choice() -> None:
    assert selection().choose() == selection().choose()


def test_another_seed_has_other_errors() -> None:
    assert selection().choose().error != selection(choice_seed=1).choose().error


def test_an_object_has_all_elements_before_the_first_dot_and_those_of_its_parts() -> None:
    names = {"observation.environment_state": ("drawer.pos", "drawer_handle.x_from_tcp", "block.x", "blocked.x")}
    assert input_groups(names) == {
        "drawer": [("observation.environment_state", 0), ("observation.environment_state", 1)],
        "block": [("observation.environment_state", 2)],
        "blocked": [("observation.environment_state", 3)],
    }


def test_of_the_robots_own_state_only_the_place_of_the_tool_can_be_left_out() -> None:
    names = {STATE: ("gripper.pos", "tcp.x", "tcp.y", "tcp.z", "tcp.cos_yaw")}
    assert input_groups(names) == {PLACE: [(STATE, 1), (STATE, 2)]}


# In behaviour cloning


@pytest.fixture(scope="module")
def demonstrations() -> Demonstrations:
    """Six episodes of 12 frames whose actions follow the block's place from the tool."""
    rng = np.random.default_rng(0)
    contract = Contract.load("ur5e_2f85").select([STATE])
    contract = contract.with_stream(ENVIRONMENT_STATE, environment_state_stream(10.0))
    objects = np.repeat(rng.standard_normal((6, len(ENVIRONMENT_STATE_NAMES))), 12, axis=0).astype(np.float32)
    first = ENVIRONMENT_STATE_NAMES.index("block.x_from_tcp")
    objects[:, first : first + 3] += rng.standard_normal((72, 3)).astype(np.float32)
    actions = np.tanh(objects[:, [first, first + 1, first + 2, first, first]])
    return Demonstrations(
        contract=contract,
        images={},
        vectors={STATE: np.zeros((72, 18), np.float32), ENVIRONMENT_STATE: objects},
        actions=actions,
        ends=np.repeat(np.arange(12, 73, 12), 12),
        tasks=["push the block"],
        task_of=np.zeros(72, int),
    )


CONFIG = BehaviourCloningConfig(inputs="state", choose_inputs=True, horizon=3, hidden=(16,), batch_size=8)


def clone(data: Demonstrations, **changes: object) -> BehaviourCloning:
    config = dataclasses.replace(CONFIG, **changes)  # type: ignore[arg-type]
    return BehaviourCloning(config, data, np.arange(len(data)), steps=10, seed=0)


@pytest.fixture(scope="module")
def chosen(demonstrations: Demonstrations) -> BehaviourCloning:
    return clone(demonstrations)


def read_objects(algorithm: BehaviourCloning) -> set[str]:
    return {ENVIRONMENT_STATE_NAMES[i].split(".")[0] for i in algorithm.selected[ENVIRONMENT_STATE]}


def test_a_clone_that_chooses_reads_the_block(chosen: BehaviourCloning) -> None:
    assert "block" in read_objects(chosen)


def test_a_clone_that_chooses_reads_less_than_everything(
    demonstrations: Demonstrations, chosen: BehaviourCloning
) -> None:
    assert read_objects(chosen) < read_objects(clone(demonstrations, choose_inputs=False))


def test_what_the_policy_reads_is_in_its_checkpoint(chosen: BehaviourCloning) -> None:
    assert chosen.checkpoint({}, []).config["selected"] == chosen.selected


def test_given_inputs_are_taken_as_they_are(demonstrations: Demonstrations) -> None:
    selected = {STATE: [12], ENVIRONMENT_STATE: [0]}
    algorithm = BehaviourCloning(CONFIG, demonstrations, np.arange(72), 10, 0, selected)
    assert algorithm.selected == selected


def test_one_demonstration_has_nothing_to_hold_out_so_all_inputs_stay(demonstrations: Demonstrations) -> None:
    algorithm = BehaviourCloning(CONFIG, demonstrations, np.arange(12), 10, 0)
    assert len(algorithm.selected[ENVIRONMENT_STATE]) == len(ENVIRONMENT_STATE_NAMES)


def test_fewer_demonstrations_than_folds_are_enough() -> None:
    inputs, actions, episodes = (part[:20] for part in scene(0))
    groups = {"block": [0, 1], "lamp": [2, 3, 4]}
    quick = dataclasses.replace(QUICK, steps=5)
    nothing = np.zeros((20, 1), bool)
    assert InputSelection(quick, inputs, groups, actions, nothing, np.zeros(20, int), episodes, 0).choose().path


def test_without_objects_nothing_is_left_out(demonstrations: Demonstrations) -> None:
    bare = dataclasses.replace(
        demonstrations,
        contract=demonstrations.contract.select([STATE]),
        vectors={STATE: demonstrations.vectors[STATE][:, :18]},
    )
    changed = clone(bare, ignore=(".vel", "joint.pos", ".x", ".y"))
    assert changed.choice is None
