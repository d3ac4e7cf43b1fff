import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from robot_learning import paths
from robot_learning.contract import ENVIRONMENT_STATE, STATE, Contract, ContractError, Stream

FRONT = "observation.images.front"


@pytest.fixture
def data() -> dict[str, Any]:
    text = paths.config("contracts", "ur5e_2f85.yaml").read_text()
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


@pytest.fixture
def contract(data: dict[str, Any]) -> Contract:
    return Contract.from_dict(data)


def test_load_by_name() -> None:
    assert Contract.load("ur5e_2f85").name == "ur5e_2f85"


def test_load_from_file(tmp_path: Path, data: dict[str, Any]) -> None:
    path = tmp_path / "mine.yml"
    path.write_text(yaml.safe_dump({**data, "name": "mine"}))
    assert Contract.load(path).name == "mine"


def test_every_shipped_contract_loads() -> None:
    files = list(paths.config("contracts").glob("*.yaml"))
    assert files and all(Contract.load(path).observation for path in files)


def test_unknown_name_lists_the_shipped_ones() -> None:
    with pytest.raises(ContractError, match=r"no contract 'ur3'.*ur5e_2f85"):
        Contract.load("ur3")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"nothing\.yaml does not exist"):
        Contract.load(tmp_path / "nothing.yaml")


def test_broken_yaml_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text("a: [1")
    with pytest.raises(ContractError, match=r"broken\.yaml is not valid YAML"):
        Contract.load(path)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.yaml"
    path.write_text("")
    with pytest.raises(ContractError, match=r"empty\.yaml: expected a mapping, found NoneType"):
        Contract.load(path)


def test_round_trip(contract: Contract) -> None:
    assert Contract.from_dict(contract.to_dict()) == contract


def test_round_trip_through_yaml(contract: Contract) -> None:
    assert Contract.from_dict(yaml.safe_load(yaml.safe_dump(contract.to_dict()))) == contract


def edited(data: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of `data` with the field at `path` ("action/scale") replaced; None removes it."""
    copied = copy.deepcopy(data)
    *parents, last = path.split("/")
    inner = copied
    for key in parents:
        inner = inner[key]
    inner[last] = value
    if value is None:
        del inner[last]
    return copied


MISTAKES: list[tuple[str, Any, str]] = [
    ("rate", "fast", "here: rate: expected a number, found 'fast'"),
    ("rate", True, "here: rate: expected a number, found True"),
    ("rate", float("nan"), "here: rate: expected a number, found nan"),
    ("rate", 0, "here: rate must be positive, found 0"),
    ("rate", None, r"here: missing field \['rate'\]"),
    ("name", 5, "here: name: expected text, found 5"),
    ("speed", 3, r"here: unknown field \['speed'\]; valid fields:"),
    ("observation", {}, "here: observation: at least one stream"),
    ("observation", [1], "here: observation: expected a mapping, found list"),
    ("observation/observation.state", 4, "observation.state: expected a mapping, found int"),
    ("joints", None, "here: joints: expected a mapping, found NoneType"),
    ("joints/names", "pan", "joints: names: expected a list, found 'pan'"),
    ("joints/lower", [0.0], "joints: lower has 1 entries for 6 joint names"),
    ("joints/names", ["a"] * 6, "joints: names repeat"),
    ("joints/home", [9.0] * 6, r"shoulder_pan_joint: home 9.0 is outside its limits \[-6.2831, 6.2831\]"),
    ("joints/lower", [float("-inf")] * 6, "joints: lower: expected a number|expected finite limits"),
    ("joints/velocity", [0.0] * 6, r"shoulder_pan_joint: velocity: expected a number above 0 \[rad/s\], found 0.0"),
    ("joints/velocity", [-0.1] * 6, "velocity: expected a number above 0"),
    ("joints/margin", 7.0, "shoulder_pan_joint: margin 7.0 from both ends of .* leaves no way"),
    ("joints/margin", -0.1, "margin -0.1"),
    ("gripper/closed", 0.0, "gripper: open and closed: expected two different positions, found 0.0 and 0.0"),
    ("action/scale", [0.0] * 5, "action: dx: scale: expected a finite number other than 0, found 0.0"),
    ("action/scale", [float("inf")] * 5, "scale: expected a"),
    ("workspace/lower", [1.0, -1.0, -1.0], "workspace: x: lower 1.0 is not below upper 0.74"),
    ("workspace/lower", [0.0, 0.0], "workspace: lower and upper need 3 numbers"),
    ("workspace/upper", [1.0], "workspace: lower and upper need 3 numbers"),
    ("action/scale", [0.1], "action: 5 names, 5 units, 1 scales"),
    ("action/gain", 1.0, r"here: action: unknown field \['gain'\]"),
    ("simulation/arm", None, r"here: simulation: missing field \['arm'\]"),
    (f"observation/{FRONT}/dtype", "float32", r"an image is uint8 \(height, width, 3\), found float32"),
    (f"observation/{FRONT}/shape", [96, 96], r"an image is uint8 .* found uint8 \(96, 96\)"),
    (f"observation/{FRONT}/shape", [96, 96.5, 3], "shape: expected a whole number, found 96.5"),
    (f"observation/{FRONT}/rate", -1, "rate and max_age must be positive, found -1.0 and 0.1"),
    (f"observation/{FRONT}/max_age", 0, "rate and max_age must be positive, found 30.0 and 0.0"),
    (f"observation/{FRONT}/type", "std_msgs/msg/String", "type 'std_msgs/msg/String' is not one of .*CompressedImage"),
    (f"observation/{FRONT}/source_shape", [640], r"source_shape is \(height, width, 3\), found \(640,\)"),
    (
        f"observation/{STATE}/type",
        "std_msgs/msg/String",
        "observation.state: type is sensor_msgs/msg/JointState, found",
    ),
    ("action/type", "std_msgs/msg/String", "action: type 'std_msgs/msg/String' is not one of .*JointTrajectory"),
    ("gripper/type", "std_msgs/msg/String", "gripper: type is std_msgs/msg/Float64MultiArray, found"),
    (f"observation/{FRONT}/fps", 30, r"front: unknown field \['fps'\]"),
    (f"observation/{STATE}/dtype", "float16", "dtype 'float16' is not one of"),
    (f"observation/{STATE}/shape", [3], r"18 names for shape \(3,\)"),
    (f"observation/{STATE}/units", ["rad"], "1 units for 18 names"),
    (f"observation/{STATE}/units", ["rad"] * 17 + ["deg"], r"units: expected \['rad', .*\], found \['deg'\]"),
    (f"observation/{STATE}/names", ["jj.pos"] * 18, r"'jj.pos': expected .* \['shoulder_pan_joint', .*"),
    (f"observation/{STATE}/names", ["gripper.vel"] * 18, "'gripper.vel': expected gripper.pos, or"),
    ("action/units", ["m", "m", "m", "furlong", "1"], r"action: units: expected \['rad', .*found \['furlong'\]"),
    (f"observation/{STATE}/topic", "", r"observation.state: topic: expected a ROS name .* found ''"),
    (f"observation/{FRONT}/topic", "/foo bar/x", "front: topic: expected a ROS name .* found '/foo bar/x'"),
    (f"observation/{FRONT}/topic", "front//image_raw", "front: topic: expected a ROS name"),
    ("action/topic", "2nd_arm/commands", "action: topic: expected a ROS name .* found '2nd_arm/"),
    ("action/topic", "commands/", "action: topic: expected a ROS name"),
    ("gripper/topic", "", "gripper: topic: expected a ROS name .* found ''"),
    (f"observation/{FRONT}/shape", [95, 96, 3], r"front: shape: expected an even height and width, .* \(95, 96, 3\)"),
    (f"observation/{FRONT}/shape", [96, 97, 3], "front: shape: expected an even height and width"),
    (f"observation/{FRONT}/shape", [0, 96, 3], "front: shape: expected an even height and width"),
]


@pytest.mark.parametrize(("path", "value", "message"), MISTAKES, ids=[f"{p}={v!r}"[:60] for p, v, _ in MISTAKES])
def test_a_mistake_names_source_field_expected_and_found(
    data: dict[str, Any], path: str, value: Any, message: str
) -> None:
    with pytest.raises(ContractError, match=message) as caught:
        Contract.from_dict(edited(data, path, value), where="here")
    assert str(caught.value).startswith("here")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (f"observation/{STATE}/topic", "/left_arm/joint_states"),
        (f"observation/{FRONT}/source_shape", [481, 641, 3]),  # no video is made of it
    ],
)
def test_what_is_no_mistake(data: dict[str, Any], path: str, value: Any) -> None:
    Contract.from_dict(edited(data, path, value))


def test_data_from_elsewhere_than_ros_has_neither_topics_nor_joints(data: dict[str, Any]) -> None:
    blank = edited(edited(data, f"observation/{STATE}/topic", ""), f"observation/{STATE}/type", "")
    Contract.from_dict(edited(blank, f"observation/{STATE}/names", [f"robot0_joint.{i}" for i in range(18)]))


def test_a_robot_that_is_moved_has_a_state(tmp_path: Path, data: dict[str, Any]) -> None:
    path = tmp_path / "blind.yaml"
    path.write_text(yaml.safe_dump(edited(data, f"observation/{STATE}", None)))
    with pytest.raises(ContractError, match=rf"blind\.yaml: observation: expected {STATE}, .* found \['{FRONT}'"):
        Contract.load(path)


def test_what_a_policy_reads_may_be_pictures_alone(contract: Contract) -> None:
    pictures = contract.select([FRONT])
    assert Contract.from_dict(pictures.to_dict()) == pictures


def test_hash_ignores_description_and_simulation(data: dict[str, Any], contract: Contract) -> None:
    other = Contract.from_dict({**data, "description": "another", "simulation": None})
    assert other.hash() == contract.hash()


@pytest.mark.parametrize(("path", "value"), [("rate", 20.0), ("action/scale", [0.03, 0.03, 0.03, 0.25, 0.4])])
def test_hash_changes_with_what_matters(data: dict[str, Any], contract: Contract, path: str, value: Any) -> None:
    assert Contract.from_dict(edited(data, path, value)).hash() != contract.hash()


def test_hash_is_the_same_whatever_the_order_in_the_file(data: dict[str, Any], contract: Contract) -> None:
    assert Contract.from_dict(dict(reversed(data.items()))).hash() == contract.hash()


def test_differences_of_equal_contracts(contract: Contract) -> None:
    assert contract.differences(contract) == []


def test_differences_name_both_sides(data: dict[str, Any], contract: Contract) -> None:
    assert contract.differences(Contract.from_dict({**data, "rate": 20})) == ["rate: 10.0 here, 20.0 there"]


def test_differences_ignore_the_simulation(data: dict[str, Any], contract: Contract) -> None:
    assert contract.differences(Contract.from_dict({**data, "simulation": None})) == []


def test_require_accepts_fewer_streams(contract: Contract) -> None:
    contract.require(contract.select([STATE]), "a policy")


def test_require_names_the_difference_and_who(contract: Contract) -> None:
    with pytest.raises(ContractError, match=r"(?s)checkpoint x was made for .*96.* here, .*64.* there"):
        contract.require(contract.with_image_size(64, 64), "checkpoint x")


def test_require_names_an_absent_stream(contract: Contract) -> None:
    with pytest.raises(ContractError, match=rf"{FRONT}: absent here, needed there"):
        contract.select([STATE]).require(contract, "a policy")


def test_select_of_an_unknown_stream_lists_the_valid_ones(contract: Contract) -> None:
    with pytest.raises(ContractError, match=rf"no stream \['observation.depth'\]; it has \['{STATE}'"):
        contract.select(["observation.depth"])


def test_with_image_size_leaves_the_vectors(contract: Contract) -> None:
    small = contract.with_image_size(48, 64)
    assert {s.shape for s in small.images.values()} == {(48, 64, 3)}
    assert small.observation[STATE] == contract.observation[STATE]


def test_with_stream_adds(contract: Contract) -> None:
    stream = Stream("", "", "float32", (3,), 10.0, 0.1, simulation_only=True)
    assert contract.with_stream(ENVIRONMENT_STATE, stream).observation[ENVIRONMENT_STATE] == stream


def test_a_vector_takes_its_shape_from_its_names(contract: Contract) -> None:
    assert contract.observation[STATE].shape == (18,)
