"""Contract: what a robot observes and how it is commanded, in one YAML file per robot.

The recorder, converter, trainer, policy and simulator all read it; it is embedded in every dataset, bag and checkpoint, and
two contracts that differ are never mixed silently (`Contract.differences`, `Contract.require`).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from robot_learning import paths
from robot_learning.errors import UserError

IMAGE_PREFIX = "observation.images."
STATE = "observation.state"
ENVIRONMENT_STATE = "observation.environment_state"
JOINT_STATE = "sensor_msgs/msg/JointState"
IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
FLOAT64_ARRAY = "std_msgs/msg/Float64MultiArray"
COMMAND_TYPES = (FLOAT64_ARRAY, "trajectory_msgs/msg/JointTrajectory")  # of the two controllers of ros2_control
DTYPES = ("float32", "float64", "uint8", "int64", "bool")
UNITS = ("rad", "rad/s", "m", "1")  # of a state and an action; other streams may measure anything
_TOPIC = re.compile(r"/?[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*")


class ContractError(UserError, ValueError):
    """A contract file is malformed, or two contracts that must agree do not."""


@dataclass(frozen=True)
class Stream:
    """One named observation stream.

    Attributes:
        topic: relative ROS topic name; type: its ROS message type.
        dtype: numpy dtype name; shape: array shape, images `(height, width, 3)`, vectors `(n,)`.
        names, units: one per element of a vector stream, empty for images.
        rate: expected messages a second [Hz]; max_age: older than this at a control tick is stale [s].
        simulation_only: true for streams no real robot has; a deployed policy never reads them.
        source_shape: what the camera publishes, `(height, width, 3)`, when frames are resized from it to `shape`; empty:
            the camera publishes `shape` itself.
    """

    topic: str
    type: str
    dtype: str
    shape: tuple[int, ...]
    rate: float
    max_age: float
    names: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    simulation_only: bool = False
    source_shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class Action:
    """The action vector: Cartesian increments, each in [-1, 1]; `scale[i]` `units[i]` is what 1 means in one control tick."""

    topic: str
    type: str
    names: tuple[str, ...]
    units: tuple[str, ...]
    scale: tuple[float, ...]


@dataclass(frozen=True)
class Joints:
    """The arm's joints, mapped by name. `lower upper home` [rad], `velocity` [rad/s], `margin` kept from each limit [rad]."""

    names: tuple[str, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    velocity: tuple[float, ...]
    home: tuple[float, ...]
    margin: float = 0.05


@dataclass(frozen=True)
class Gripper:
    """The gripper joint's name in joint_states and its positions when `open` and `closed` [rad or m].

    `topic` and `type` are where its controller takes the wanted joint position: one number.
    """

    joint: str
    open: float
    closed: float
    topic: str = "gripper_position_controller/commands"
    type: str = FLOAT64_ARRAY


@dataclass(frozen=True)
class Workspace:
    """The box the tool centre point may not leave, in the base frame, `(x, y, z)` [m]."""

    lower: tuple[float, float, float]
    upper: tuple[float, float, float]


@dataclass(frozen=True)
class Simulation:
    """How MuJoCo builds the robot. `arm` and `gripper` are MJCF files, `ogbench:<file>` or `menagerie:<robot>` names.

    A robot whose MJCF already has its gripper leaves `gripper` and `flange_site` empty.
    """

    arm: str
    arm_actuators: tuple[str, ...]
    tcp_site: str
    gripper_actuator: str
    gripper_joint: str
    gripper_command_open: float
    gripper_command_closed: float
    gripper: str = ""
    flange_site: str = ""


@dataclass(frozen=True)
class Contract:
    """Everything that must agree between a robot, its data and its policies. `rate` is the control rate [Hz]."""

    name: str
    rate: float
    base_frame: str
    tcp_frame: str
    joints: Joints
    gripper: Gripper
    workspace: Workspace
    observation: dict[str, Stream]
    action: Action
    simulation: Simulation | None = None
    description: str = ""

    @property
    def images(self) -> dict[str, Stream]:
        """The camera streams only."""
        return {key: stream for key, stream in self.observation.items() if key.startswith(IMAGE_PREFIX)}

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists and scalars, ready for YAML or JSON; `Contract.from_dict` reverses it."""
        plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return plain

    def hash(self) -> str:
        """A short SHA-256 of everything but the description and how the simulation is built."""
        essence = {k: v for k, v in self.to_dict().items() if k not in ("description", "simulation")}
        return hashlib.sha256(json.dumps(essence, sort_keys=True).encode()).hexdigest()[:16]

    def select(self, keys: list[str] | tuple[str, ...]) -> Contract:
        """The same contract with only these observation streams.

        Raises:
            ContractError: a key is not a stream of this contract; the message lists the valid ones.
        """
        missing = [key for key in keys if key not in self.observation]
        if missing:
            raise ContractError(f"contract {self.name!r} has no stream {missing}; it has {list(self.observation)}")
        return dataclasses.replace(self, observation={key: self.observation[key] for key in keys})

    def with_stream(self, key: str, stream: Stream) -> Contract:
        """The same contract with one stream added or replaced."""
        return dataclasses.replace(self, observation={**self.observation, key: stream})

    def with_image_size(self, height: int, width: int) -> Contract:
        """The same contract with every camera at `height x width` pixels."""
        images = {key: dataclasses.replace(s, shape=(height, width, 3)) for key, s in self.images.items()}
        return dataclasses.replace(self, observation={**self.observation, **images})

    def differences(self, other: Contract) -> list[str]:
        """One line for each essential field that differs, naming both sides; empty when they agree."""
        mine, theirs = _flatten(self.to_dict()), _flatten(other.to_dict())
        lines = []
        for key in sorted(mine.keys() | theirs.keys()):
            if key.split("/")[0] in ("description", "simulation"):
                continue
            if mine.get(key, "absent") != theirs.get(key, "absent"):
                lines.append(f"{key}: {mine.get(key, 'absent')} here, {theirs.get(key, 'absent')} there")
        return lines

    def require(self, needed: Contract, who: str) -> None:
        """Check that a robot with this contract can serve `who`, which was made for the contract `needed`.

        Streams that `needed` does not name are ignored; everything else must be equal.

        Raises:
            ContractError: lists every difference with both sides.
        """
        absent = [key for key in needed.observation if key not in self.observation]
        shared = self.select([key for key in needed.observation if key in self.observation])
        lines = [f"observation stream {key}: absent here, needed there" for key in absent]
        lines += [line for line in shared.differences(needed) if not any(f"/{key}/" in line for key in absent)]
        if lines:
            listing = "\n  ".join(lines)
            raise ContractError(
                f"{who} was made for contract {needed.name!r} ({needed.hash()}), which differs from {self.name!r} "
                f"({self.hash()}) here:\n  {listing}\nUse data and checkpoints made for this robot, or its own contract."
            )

    @staticmethod
    def load(source: str | Path) -> Contract:
        """Read a contract from a YAML file, or by name from `config/contracts/`.

        Raises:
            ContractError: names the file, the field, what was expected and what was found.
        """
        path = Path(source)
        if path.suffix not in (".yaml", ".yml"):
            path = paths.config("contracts", f"{source}.yaml")
        if not path.is_file():
            known = sorted(p.stem for p in paths.config("contracts").glob("*.yaml"))
            raise ContractError(f"no contract {str(source)!r}: {path} does not exist; shipped contracts: {known}")
        try:
            data = yaml.safe_load(path.read_text())
        except yaml.YAMLError as error:
            raise ContractError(f"{path} is not valid YAML: {error}") from error
        contract = Contract.from_dict(data, where=str(path))
        # here only: the contract in a checkpoint names what its policy reads, which may be pictures alone
        if contract.action.type and STATE not in contract.observation:
            found = list(contract.observation)
            raise ContractError(f"{path}: observation: expected {STATE}, without which no robot moves, found {found}")
        return contract

    @staticmethod
    def from_dict(data: Any, where: str = "contract") -> Contract:
        """Build and validate a contract from plain data; `where` names its source in errors (`ContractError`)."""
        data = dict(_mapping(data, where))
        streams = {
            key: _stream(key, value, where)
            for key, value in _mapping(data.get("observation"), f"{where}: observation").items()
        }
        data["observation"] = streams
        for key, kind in (("joints", Joints), ("gripper", Gripper), ("workspace", Workspace), ("action", Action)):
            data[key] = _build(kind, data.get(key), f"{where}: {key}")
        if data.get("simulation") is not None:
            data["simulation"] = _build(Simulation, data["simulation"], f"{where}: simulation")
        contract: Contract = _build(Contract, data, where)
        _validate(contract, where)
        return contract


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ContractError(f"{where}: expected a mapping, found {type(value).__name__}")
    return value


def _flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat.update(_flatten(item, f"{prefix}/{key}" if prefix else str(key)))
    return flat


def _build(kind: Any, value: Any, where: str) -> Any:
    """A dataclass from a mapping: unknown and missing fields are errors, lists become tuples, numbers are checked."""
    value = _mapping(value, where)
    fields = {f.name: f for f in dataclasses.fields(kind)}
    unknown = sorted(set(value) - set(fields))
    if unknown:
        raise ContractError(f"{where}: unknown field {unknown}; valid fields: {sorted(fields)}")
    required = {
        n for n, f in fields.items() if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    }
    missing = sorted(required - set(value))
    if missing:
        raise ContractError(f"{where}: missing field {missing}")
    return kind(**{name: _coerce(value[name], str(fields[name].type), f"{where}: {name}") for name in value})


def _coerce(value: Any, annotation: str, where: str) -> Any:
    if annotation.startswith("tuple"):
        if not isinstance(value, (list, tuple)):
            raise ContractError(f"{where}: expected a list, found {value!r}")
        inner = annotation[len("tuple[") :].split(",")[0].rstrip("]")
        return tuple(_coerce(item, inner, where) for item in value)
    if annotation == "float":
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
            raise ContractError(f"{where}: expected a number, found {value!r}")
        return float(value)
    if annotation == "int" and (isinstance(value, bool) or not isinstance(value, int)):
        raise ContractError(f"{where}: expected a whole number, found {value!r}")
    if annotation == "str" and not isinstance(value, str):
        raise ContractError(f"{where}: expected text, found {value!r} (put it in quotes)")
    return value


def _stream(key: str, value: Any, where: str) -> Stream:
    where = f"{where}: observation: {key}"
    value = dict(_mapping(value, where))
    if "shape" not in value:
        value["shape"] = [len(value.get("names", ()))]
    stream: Stream = _build(Stream, value, where)
    if stream.dtype not in DTYPES:
        raise ContractError(f"{where}: dtype {stream.dtype!r} is not one of {list(DTYPES)}")
    if key.startswith(IMAGE_PREFIX):
        if len(stream.shape) != 3 or stream.shape[2] != 3 or stream.dtype != "uint8":
            raise ContractError(f"{where}: an image is uint8 (height, width, 3), found {stream.dtype} {stream.shape}")
        if stream.type and stream.type not in IMAGE_TYPES:  # empty: data that came from elsewhere than ROS
            raise ContractError(f"{where}: type {stream.type!r} is not one of {list(IMAGE_TYPES)}")
        if any(side < 2 or side % 2 for side in stream.shape[:2]):
            raise ContractError(f"{where}: shape: expected an even height and width, for video, found {stream.shape}")
        if stream.source_shape and (len(stream.source_shape) != 3 or stream.source_shape[2] != 3):
            raise ContractError(f"{where}: source_shape is (height, width, 3), found {stream.source_shape}")
    elif stream.names and (len(stream.names),) != stream.shape:
        raise ContractError(f"{where}: {len(stream.names)} names for shape {stream.shape}")
    if stream.units and len(stream.units) != len(stream.names):
        raise ContractError(f"{where}: {len(stream.units)} units for {len(stream.names)} names")
    _require_topic(stream.topic, stream.type, where)
    if stream.rate <= 0 or stream.max_age <= 0:
        raise ContractError(f"{where}: rate and max_age must be positive, found {stream.rate} and {stream.max_age}")
    return stream


def _validate(contract: Contract, where: str) -> None:
    joints, gripper = contract.joints, contract.gripper
    n = len(joints.names)
    for name in ("lower", "upper", "velocity", "home"):
        found = len(getattr(joints, name))
        if found != n:
            raise ContractError(f"{where}: joints: {name} has {found} entries for {n} joint names")
    if len(set(joints.names)) != n:
        raise ContractError(f"{where}: joints: names repeat: {list(joints.names)}")
    for joint, low, high, home, velocity in zip(
        joints.names, joints.lower, joints.upper, joints.home, joints.velocity, strict=True
    ):
        if not low <= home <= high:
            raise ContractError(f"{where}: joints: {joint}: home {home} is outside its limits [{low}, {high}]")
        if not math.isfinite(high - low):
            raise ContractError(f"{where}: joints: {joint}: expected finite limits, found [{low}, {high}]")
        if not 0.0 <= 2 * joints.margin < high - low:
            raise ContractError(
                f"{where}: joints: {joint}: margin {joints.margin} from both ends of [{low}, {high}] leaves no way"
            )
        if not 0.0 < velocity < math.inf:
            raise ContractError(
                f"{where}: joints: {joint}: velocity: expected a number above 0 [rad/s], found {velocity}"
            )
    if gripper.open == gripper.closed or not math.isfinite(gripper.open - gripper.closed):
        raise ContractError(
            f"{where}: gripper: open and closed: expected two different positions, "
            f"found {gripper.open} and {gripper.closed}"
        )
    if len(contract.workspace.lower) != 3 or len(contract.workspace.upper) != 3:
        raise ContractError(f"{where}: workspace: lower and upper need 3 numbers each")
    for axis, low, high in zip("xyz", contract.workspace.lower, contract.workspace.upper, strict=True):
        if low >= high:
            raise ContractError(f"{where}: workspace: {axis}: lower {low} is not below upper {high}")
    act = contract.action
    if not len(act.names) == len(act.units) == len(act.scale):
        raise ContractError(f"{where}: action: {len(act.names)} names, {len(act.units)} units, {len(act.scale)} scales")
    for name, scale in zip(act.names, act.scale, strict=True):
        if not (math.isfinite(scale) and scale):
            raise ContractError(f"{where}: action: {name}: scale: expected a finite number other than 0, found {scale}")
    if act.type and act.type not in COMMAND_TYPES:
        raise ContractError(f"{where}: action: type {act.type!r} is not one of {list(COMMAND_TYPES)}")
    if gripper.type != FLOAT64_ARRAY:
        raise ContractError(f"{where}: gripper: type is {FLOAT64_ARRAY}, found {gripper.type!r}")
    _require_topic(act.topic, act.type, f"{where}: action")
    _require_units(act.units, f"{where}: action")
    _require_topic(gripper.topic, gripper.type, f"{where}: gripper")
    if STATE in contract.observation:
        _validate_state(contract.observation[STATE], joints.names, f"{where}: {STATE}")
    if not 0.0 < contract.rate < math.inf:
        raise ContractError(f"{where}: rate must be positive, found {contract.rate}")
    if not contract.observation:
        raise ContractError(f"{where}: observation: at least one stream is needed")


def _validate_state(state: Stream, joints: tuple[str, ...], where: str) -> None:
    if state.type not in ("", JOINT_STATE):
        raise ContractError(f"{where}: type is {JOINT_STATE}, found {state.type!r}")
    _require_units(state.units, where)
    for name in state.names if state.type else ():  # no type: data that came from elsewhere than ROS
        joint, _, quantity = name.rpartition(".")
        if quantity in ("pos", "vel") and joint not in joints and name != "gripper.pos":
            raise ContractError(f"{where}: {name!r}: expected gripper.pos, or .pos or .vel of one of {list(joints)}")


def _require_units(units: tuple[str, ...], where: str) -> None:
    unknown = [unit for unit in units if unit not in UNITS]
    if unknown:
        raise ContractError(f"{where}: units: expected {list(UNITS)}, found {unknown}")


def _require_topic(topic: str, kind: str, where: str) -> None:
    """What ROS takes as a name; empty only where there is no type: data that came from elsewhere than ROS."""
    if not _TOPIC.fullmatch(topic) and (topic or kind):
        raise ContractError(f"{where}: topic: expected a ROS name such as left_arm/joint_states, found {topic!r}")
