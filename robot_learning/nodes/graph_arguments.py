"""What a person may choose about the graphs: arguments that several of them share."""

from __future__ import annotations

from robot_learning.nodes.graph_parts import Argument

YES, NO = "true", "false"
BOOL = (YES, NO)
COMMON = (
    Argument("namespace", "Namespace of this robot's nodes and topics, for several robots side by side"),
    Argument("contract", "The robot: a name in config/contracts/ or a YAML file", "ur5e_2f85"),
    Argument("params_file", "YAML file of node parameters that go before those of the package"),
    Argument("log_level", "Least severity of the nodes' messages", "info", ("debug", "info", "warn", "error")),
)
TASK = Argument("task", "What to do: an instruction, or the name of a playroom task (robot-learning tasks)")
SIMULATION = (
    Argument("seed", "Simulation: seed of the first reset", "0"),
    Argument("furniture", "Simulation: seed of where the furniture stands; -1: elsewhere after each reset", "-1"),
    Argument("real_time_factor", "Simulation: simulated seconds a second; 0: as fast as it can", "1.0"),
    Argument("lockstep", "Simulation: wait at each control tick for the action, however long it takes", NO, BOOL),
    Argument("use_sim_time", "Simulation: its clock drives all nodes", YES, BOOL),
)
REAL = (
    Argument("speed_scale", "Real robot: share of the full speed, 0 to 1", "0.1"),
    Argument("estop_required", "Real robot: hold until an e-stop device publishes on estop", YES, BOOL),
    Argument("command_rate", "Real robot: set-points a second for the arm's controller [Hz]", "125.0"),
    Argument("cameras", "Real robot: start our camera nodes; false where drivers publish the pictures", YES, BOOL),
)
ROBOT = Argument("robot", "The simulated playroom, or a real robot under ros2_control", "sim", ("sim", "real"))
REWARD = (
    Argument("reward", "Folder of a reward model that judges success from the pictures; empty: none does"),
    Argument("question", "Reward model: the question to keep to, whatever the task; empty: that of the task"),
    Argument("uncertain", "Reward model: folder to keep the pictures in that it was least sure of; empty: none"),
)
RECORDING = (
    Argument("environment_state", "Simulation: record the state of the objects as well", NO, BOOL),
    Argument("bags", "Keep the raw messages of each episode in a bag below the dataset", YES, BOOL),
)
RETRY = Argument("retry", "The policy gives up an attempt that takes too long, goes back and tries again", NO, BOOL)
DATASET = "Folder of the dataset; made when it does not exist, else gone on with"
DEVICES = ("keyboard", "gamepad")
