"""Starting, watching and stopping processes; the processes here are small Python programs."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from robot_learning.nodes.graphs import Process
from robot_learning.nodes.respawning import Respawns
from robot_learning.nodes.supervisor import Supervisor, command, death

SLEEP = """
import signal, time
signal.signal(signal.SIGINT, signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])  # held back until a node looks for it
time.sleep(60)
"""


def words(process: Process, _: str) -> list[str]:
    return [sys.executable, "-c", str(process.parameters["program"])]


def supervise(tmp_path: Path, *processes: Process, respawns: Respawns | None = None) -> tuple[int, str]:
    lines: list[str] = []
    code = Supervisor(tmp_path, lines.append, words, respawns).run(processes, "", os.environ)
    return code, "\n".join(lines)


def program(name: str, text: str, required: bool = True, respawn: bool = False) -> Process:
    return Process(name, name, {"program": text}, required=required, respawn=respawn)


def test_it_says_which_process_died_why_and_what_it_said_last(tmp_path: Path) -> None:
    faulty = program("gate", "print('no controller')\nraise SystemExit(3)")
    code, said = supervise(tmp_path, program("robot", SLEEP), faulty)
    assert code == 1
    assert "gate died: exit code 3" in said and "    no controller" in said
    assert "nothing runs without gate" in said


def test_a_kill_is_named(tmp_path: Path) -> None:
    code, said = supervise(tmp_path, program("gate", "import os\nos.kill(os.getpid(), 9)"))
    assert code == 1 and "gate died: killed by SIGKILL" in said


def test_the_others_go_on_without_an_optional_process(tmp_path: Path) -> None:
    # the gate ends after the policy was seen to have ended: its process number is then nobody's
    flag = tmp_path / "pid"
    optional = program(
        "policy", f"import os\nopen({str(flag)!r}, 'w').write(f'{{os.getpid()}}.')\nraise SystemExit(5)", required=False
    )
    wait = f"""
import os, time
read = lambda: open({str(flag)!r}).read() if os.path.exists({str(flag)!r}) else ''
while not read().endswith('.'): time.sleep(0.02)
try:
    while True:
        os.kill(int(read()[:-1]), 0)
        time.sleep(0.02)
except ProcessLookupError:
    raise SystemExit(4)
"""
    code, said = supervise(tmp_path, program("gate", wait), optional)
    assert code == 1
    assert (
        said.index("policy died: exit code 5") < said.index("the others go on") < said.index("gate died: exit code 4")
    )


def test_a_required_process_that_is_done_ends_the_graph_in_good_order(tmp_path: Path) -> None:
    code, said = supervise(tmp_path, program("robot", SLEEP), program("operator", "print('20 episodes')"))
    assert code == 0 and "operator ended: stopping" in said and "died" not in said


def test_output_is_prefixed_and_kept(tmp_path: Path) -> None:
    _, said = supervise(tmp_path, program("gate", "print('hello')\nraise SystemExit(1)"))
    assert "[gate] hello" in said
    assert (tmp_path / "gate.log").read_text() == "hello\n"


def test_what_died_is_started_again_beside_the_others(tmp_path: Path) -> None:
    file = tmp_path / "starts"
    policy = program("policy", f"import os\nopen({str(file)!r}, 'a').write('x')\nos.kill(os.getpid(), 9)", False, True)
    gate = f"""
import os, time
while not os.path.exists({str(file)!r}) or len(open({str(file)!r}).read()) < 3: time.sleep(0.02)
"""
    code, said = supervise(tmp_path, program("gate", gate), policy, respawns=Respawns(shortest=0.02))
    assert code == 0 and "gate died" not in said
    assert said.index("policy died: killed by SIGKILL") < said.index("policy is started again in 0.02 s")
    assert said.count("started policy (pid ") >= 3


def test_what_dies_again_and_again_is_left_dead(tmp_path: Path) -> None:
    policy = program("policy", "print('no checkpoint')\nraise SystemExit(2)", required=False, respawn=True)
    code, said = supervise(tmp_path, policy, respawns=Respawns(shortest=0.01, most=2))
    assert code == 1
    assert said.count("started policy (pid ") == 3 and "policy dies again and again" in said
    assert (tmp_path / "policy.log").read_text() == "no checkpoint\n" * 3


def test_a_stop_signal_ends_the_wait_for_the_next_start(tmp_path: Path) -> None:
    policy = program(
        "policy", f"import os, signal\nos.kill({os.getpid()}, signal.SIGTERM)", required=False, respawn=True
    )
    code, said = supervise(tmp_path, program("gate", SLEEP), policy, respawns=Respawns(shortest=60.0))
    assert code == 0 and said.count("started policy (pid ") == 1


SCRIPT = """
import os, sys, pathlib
from robot_learning.nodes.graphs import Process
from robot_learning.nodes.respawning import Respawns
from robot_learning.nodes.supervisor import Supervisor
child = '''{child}'''
words = lambda process, namespace: [sys.executable, "-c", child]
sys.exit(Supervisor(pathlib.Path({logs!r}), words=words).run([Process("a", "a"), Process("b", "b")], "", os.environ))
"""
CHILD = """
import signal, time
signals = []
signal.signal(signal.SIGINT, lambda *_: signals.append("INT"))
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
print("up", flush=True)
while not signals: time.sleep(0.01)
time.sleep(0.2)
print("stopped by", signals, flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stop_signal_reaches_each_process_once(tmp_path: Path, number: signal.Signals) -> None:
    script = SCRIPT.format(child=CHILD, logs=str(tmp_path))
    # of its own session, so that the whole foreground group can be signalled as a terminal does
    up = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, start_new_session=True)
    lines = []
    assert up.stdout is not None
    for line in up.stdout:
        lines.append(line)
        if sum("] up" in line for line in lines) == 2:
            break
    os.killpg(up.pid, number)
    lines += up.stdout.readlines()
    assert up.wait(30) == 0
    assert sum("stopped by ['INT']" in line for line in lines) == 2, lines


def test_no_process_outlives_a_killed_supervisor(tmp_path: Path) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux tells a process that its parent is gone")
    script = SCRIPT.format(child=CHILD, logs=str(tmp_path))
    up = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert up.stdout is not None
    pids = []
    for line in up.stdout:
        if line.startswith("started"):
            pids.append(int(line.split("pid ")[1].rstrip(")\n")))
        if line == "[b] up\n":
            break
    up.kill()
    up.wait()
    for pid in pids:
        descriptor = _pidfd(pid)
        if descriptor is not None:
            ended = select.poll()
            ended.register(descriptor, select.POLLIN)
            assert ended.poll(20_000), f"{pid} is still there"
            os.close(descriptor)


def _pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def test_ways_to_die() -> None:
    assert death(0) == "exit code 0"
    assert death(-9) == "killed by SIGKILL"


def test_the_command_line_of_a_node() -> None:
    process = Process("camera", "front_camera", {"rate": 30.0, "watch": ["a"]}, ("x.yaml",), (("/clock", "clock"),))
    found = command(process, "left")
    assert found[1:5] == ["-m", "robot_learning.nodes.camera", "--ros-args", "-r"]
    text = " ".join(found)
    assert "__node:=front_camera -r __ns:=/left -r /clock:=clock --params-file x.yaml" in text
    assert '-p rate:=30.0 -p watch:=["a"] --log-level info' in text
