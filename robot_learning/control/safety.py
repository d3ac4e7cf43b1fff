"""What the safety gate decides, as plain logic: which action may be carried out, and why the robot holds otherwise.

Nothing here knows ROS, threads or clocks: `now` is the robot's clock [ns] (simulated where `use_sim_time` is set), `wall` a
monotonic one [ns].
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from robot_learning.contract import STATE, Contract
from robot_learning.control.rotations import Array
from robot_learning.control.watchdogs import FUTURE, SECOND, EmergencyStop, Hold, JointWatch, NodeWatch, TokenBucket
from robot_learning.control.writers import WriterWatch
from robot_learning.errors import UserError


class SafetyError(UserError, ValueError):
    """A limit of the safety gate has a value it cannot work with."""


@dataclass(frozen=True)
class SafetyLimits:
    """What the gate allows; these are parameters of the node `safety_gate` too."""

    sources: tuple[str, ...] = ("teleop", "env", "policy")
    """Who may act, from the source that always wins to the one that yields to all; each sends on <source>/action."""
    override_time: float = 0.5
    """A source that sent within this time keeps those after it in `sources` from acting [s]."""
    command_timeout: float = 2.0
    """Hold when the acting source has been silent for this long [control periods]."""
    action_max_age: float = 1.0
    """Hold when an action answers an older observation than this [s]."""
    action_limit: float = 5.0
    """Hold when an entry of an action is larger than this; between 1 and this it is clipped to 1."""
    speed_scale: float = 1.0
    """Every action is multiplied by this, 0 (no motion) to 1 (full speed); can be changed while running."""
    watch: tuple[str, ...] = ()
    """Nodes that must be well: hold while the <node>/status of one is silent or in error; a source only while it acts."""
    watch_timeout: float = 1.8
    """A watched node that has been silent for this long is not well [control periods]; below 2, so that within 2 all is still."""
    estop_timeout: float = 0.15
    """An e-stop device once heard that falls silent for this long counts as pressed [s]; it shall repeat its state at 20 Hz."""
    estop_required: bool = False
    """Hold until an e-stop device has been heard."""

    def __post_init__(self) -> None:
        if not self.sources or len(set(self.sources)) != len(self.sources):
            raise SafetyError(f"sources: expected different names, found {list(self.sources)}")
        require_speed_scale(self.speed_scale)
        for name in ("override_time", "command_timeout", "action_max_age", "watch_timeout", "estop_timeout"):
            if not getattr(self, name) > 0.0:
                raise SafetyError(f"{name}: expected a number above 0, found {getattr(self, name)}")
        if not self.action_limit >= 1.0:
            raise SafetyError(f"action_limit: expected 1 or more, found {self.action_limit}")


def require_speed_scale(value: float) -> float:
    """The speed scale itself when it is in [0, 1].

    Raises:
        SafetyError: it is not.
    """
    if not 0.0 <= value <= 1.0:
        raise SafetyError(f"speed_scale: expected 0 (no motion) to 1 (full speed), found {value}")
    return value


@dataclass(frozen=True)
class Decision:
    """What becomes of one action.

    Attributes:
        action: (A,) in the contract's order, clipped and scaled, to be carried out; None: it is not.
        resumed: the first after a hold; restart: others may have moved the robot meanwhile, begin where it is.
        clamps: entries that were clipped, e.g. ("action dx",); reason: why it is not carried out.
    """

    action: Array | None = None
    resumed: bool = False
    restart: bool = False
    clamps: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class State:
    """What the gate does now: `source` acts, or `hold` says why nothing moves."""

    source: str = ""
    hold: Hold | None = None

    @property
    def text(self) -> str:
        """`acting: teleop` or `holding: <reason>`."""
        return f"acting: {self.source}" if self.hold is None else f"holding: {self.hold.text}"


class Safety:
    """Judges every action by the state of everything the gate watches.

    Faults (e-stop, joint states, watched nodes, second writers) hold as long as they last; an action that is refused holds
    until a good one comes; silence holds until somebody speaks. After a fault the first action must answer an
    observation made since: what was queued before is never carried out.
    """

    def __init__(self, contract: Contract, limits: SafetyLimits) -> None:
        self.contract, self.limits = contract, limits
        self.speed_scale = limits.speed_scale
        self.joints = JointWatch(contract, contract.observation[STATE].max_age)
        self.estop = EmergencyStop(limits.estop_timeout, limits.estop_required)
        self.nodes = NodeWatch(limits.watch, limits.watch_timeout / contract.rate)
        self.writers = WriterWatch()
        self.counts: Counter[str] = Counter()
        self._command_timeout = round(limits.command_timeout / contract.rate * SECOND)
        self._bucket = TokenBucket(contract.rate)
        self._heard: dict[str, int] = {}  # source -> when it last sent anything
        self._acting, self._acted = "", 0
        self._idle = Hold(f"no action yet from {', '.join(limits.sources)}")
        self._restart = True
        self._not_before = 0

    # --- what happens ------------------------------------------------------------------------------------------------

    def joint_states(self, names: Sequence[str], positions: Sequence[float], stamp: int, now: int) -> None:
        """Take a message of measured joint positions [rad], in any order; other names are ignored."""
        jumped = self.joints.update(names, positions, stamp, now)
        if jumped:
            self._stop(f"joint_states: {jumped}", now, moved=True)

    def clock_jumped(self, seconds: float, now: int) -> None:
        """The robot's clock was set: everything known by the old time is forgotten."""
        reason = f"the clock jumped by {seconds:+.3f} s"
        self.joints.clear(f"since {reason}")
        self._heard.clear()
        self._bucket.refill()
        self._stop(reason, now, moved=True)

    def stop(self, reason: str, now: int) -> None:
        """Hold until an action comes that answers a later observation."""
        self._stop(reason, now, moved=True)

    def action(
        self, source: str, names: Sequence[str], values: Sequence[float], stamp: int, now: int, wall: int
    ) -> Decision:
        """Judge an action of `source`, which answers the observation of time `stamp` (0: not stamped)."""
        ruler = self._ruler(now)
        if ruler and self._rank(source) > self._rank(ruler):
            self.counts[f"overridden {source}"] += 1
            return Decision(reason=f"{ruler} overrides {source}")
        self._heard[source] = now
        fault = self._fault(now, wall, source)
        if fault is not None:
            return self._refuse(source, fault.text)
        wrong = self._wrong_names(names, values) or self._wrong_time(stamp, now)
        if wrong:
            return self._hold(source, wrong)
        found = dict(zip(names, values, strict=True))
        vector = np.array([found[name] for name in self.contract.action.names], dtype=float)
        wrong = self._wrong_values(vector)
        if wrong:
            return self._hold(source, wrong)
        if not self._bucket.take(now):
            self.counts[f"too fast {source}"] += 1
            return Decision(reason=f"{source} sends faster than {self.contract.rate:g} Hz")
        return self._act(source, vector, now)

    # --- what follows ------------------------------------------------------------------------------------------------

    def state(self, now: int, wall: int) -> State:
        """Who acts now, or why nothing moves."""
        fault = self._fault(now, wall, self._acting)
        if fault is not None:
            return State(hold=fault)
        if self._acting and now - self._acted > self._command_timeout:
            self._idle = Hold(f"no action from {self._acting} for more than {self._command_timeout / SECOND:g} s")
            self._acting = ""
        return State(self._acting) if self._acting else State(hold=self._idle)

    def _ruler(self, now: int) -> str:
        """The highest source heard within the override time."""
        for source in self.limits.sources:
            if source in self._heard and now - self._heard[source] <= self.limits.override_time * SECOND:
                return source
        return ""

    def _rank(self, source: str) -> int:
        return self.limits.sources.index(source)

    def _fault(self, now: int, wall: int, source: str) -> Hold | None:
        """What forbids any motion; a watched node that is itself a source matters only while it is the one acting."""
        needed = [name for name in self.nodes.names if name not in self.limits.sources or name == source]
        found = (
            self.estop.fault(wall)
            or self.writers.fault(wall)
            or self.joints.fault(now)
            or self.nodes.fault(needed, wall)
        )
        if found is not None:
            self._stop(found.text, now, found.moved)
        return found

    def _stop(self, reason: str, now: int, moved: bool) -> None:
        self._acting, self._idle = "", Hold(f"{reason} (over now; waiting for an action)")
        self._restart, self._not_before = self._restart or moved, now

    def _refuse(self, source: str, reason: str) -> Decision:
        self.counts[f"refused {source}"] += 1
        return Decision(reason=reason)

    def _hold(self, source: str, reason: str) -> Decision:
        self._acting, self._idle = "", Hold(f"{source}: {reason}")
        return self._refuse(source, reason)

    def _act(self, source: str, vector: Array, now: int) -> Decision:
        restart, self._restart = self._restart, False
        resumed = not self._acting or now - self._acted > self._command_timeout
        self._acting, self._acted = source, now
        clipped = np.clip(vector, -1.0, 1.0)
        clamps = tuple(
            f"action {name}"
            for name, a, b in zip(self.contract.action.names, vector, clipped, strict=True)
            if abs(a - b) > 1e-6  # single precision of most policies
        )
        return Decision(clipped * self.speed_scale, resumed, restart, clamps)

    # --- what is wrong with an action --------------------------------------------------------------------------------

    def _wrong_names(self, names: Sequence[str], values: Sequence[float]) -> str:
        wanted = self.contract.action.names
        if len(names) != len(values):
            return f"the action has {len(names)} names and {len(values)} values"
        if sorted(names) != sorted(wanted):
            return f"the action has entries {list(names)}, the contract {self.contract.name!r} has {list(wanted)}"
        return ""

    def _wrong_time(self, stamp: int, now: int) -> str:
        age = (now - stamp) / SECOND
        if not stamp:
            return ""
        if age > self.limits.action_max_age:
            return f"the action answers an observation older than {self.limits.action_max_age:g} s"
        if age < -FUTURE:
            return "the action's stamp is ahead of the clock; is use_sim_time alike everywhere, do the clocks agree?"
        if stamp < self._not_before:
            return "the action answers an observation made before the robot held"
        return ""

    def _wrong_values(self, vector: Array) -> str:
        """NaN, infinity, or numbers so far outside [-1, 1] that they were not meant to be in it."""
        with np.errstate(invalid="ignore"):
            bad = ~(np.abs(vector) <= self.limits.action_limit)
        entries = [f"{name} = {value:.1g}" for name, value in zip(self.contract.action.names, vector, strict=True)]
        listing = ", ".join(entry for entry, b in zip(entries, bad, strict=True) if b)
        return f"the action holds {listing}, expected [-1, 1]" if listing else ""
