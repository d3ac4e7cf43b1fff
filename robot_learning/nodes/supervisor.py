"""Supervisor: starts the processes of a graph, shows what they print, and stops them all in good order."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from robot_learning.nodes.graphs import Process
from robot_learning.nodes.respawning import Respawns, prospect
from robot_learning.nodes.shared_memory import remove_abandoned
from robot_learning.training.graph_process import end_with_parent

GRACE = {
    signal.SIGINT: 15.0,
    signal.SIGTERM: 5.0,
}  # how long each signal is given to work [s]; a recorder has to commit
LAST_LINES = 15
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
COLOURS = (36, 33, 35, 32, 34, 31)
LOUD = ("[WARN]", "[ERROR]", "[FATAL]", "Traceback", "error:")


def command(process: Process, namespace: str) -> list[str]:
    """The command line that starts a node."""
    words = [sys.executable, "-m", f"robot_learning.nodes.{process.executable}", "--ros-args"]
    words += ["-r", f"__node:={process.name}"]
    if namespace:
        words += ["-r", f"__ns:=/{namespace.strip('/')}"]
    for source, target in process.remappings:
        words += ["-r", f"{source}:={target}"]
    for file in process.parameter_files:
        words += ["--params-file", file]
    for name, value in process.parameters.items():
        words += ["-p", f"{name}:={json.dumps(value)}"]
    return [*words, "--log-level", process.log_level]


def death(code: int) -> str:
    """How a process ended, for people: `exit code 2`, `killed by SIGKILL`."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


class Child:
    """One running process, its log file and its last lines."""

    def __init__(self, process: Process, words: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.process, self.log, self.began = process, log, time.monotonic()
        self.last: deque[str] = deque(maxlen=LAST_LINES)
        shown = process.terminal and sys.stdout.isatty()
        self.popen = subprocess.Popen(
            words,
            env=dict(environment),
            stdin=None if process.terminal else subprocess.DEVNULL,
            stdout=None if shown else subprocess.PIPE,
            stderr=None if shown else subprocess.STDOUT,
            preexec_fn=_foreground if process.terminal else _background,
            text=True,
            errors="replace",
        )


def _foreground() -> None:
    """In the child, before it runs: how signals reach it.

    SIGINT waits until the node looks for it, instead of ending an import with a traceback; and SIGINT comes when the
    supervisor is killed, so that no robot goes on without it (Linux only).
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    end_with_parent()


def _background() -> None:
    """In the child: a process group of its own, so that Ctrl-C in the terminal reaches the supervisor alone."""
    os.setpgid(0, 0)
    _foreground()


def say(line: str) -> None:
    """Print a line in one piece: `print` writes its end apart when output is not buffered, and other threads come between."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class Supervisor:
    """Runs processes until one that is required ends, or a stop signal comes.

    Args:
        logs: folder that gets one file of output for each process.
        write: takes each line for the terminal.
        words: makes the command line of a process in a namespace.
        respawns: when to start again what died.
    """

    def __init__(
        self,
        logs: Path,
        write: Callable[[str], None] = lambda line: say(line),
        words: Callable[[Process, str], list[str]] = command,
        respawns: Respawns | None = None,
    ) -> None:
        self.logs, self._write, self._words = logs, write, words
        self.children: list[Child] = []
        self._events: queue.SimpleQueue[Child | int] = queue.SimpleQueue()
        self._quiet = False
        self._respawns = respawns or Respawns()
        self._due: list[tuple[float, Process]] = []  # when to start it again
        self._numbers: dict[str, int] = {}

    def run(self, processes: Sequence[Process], namespace: str, environment: Mapping[str, str]) -> int:
        """Start everything and wait; the exit code: 0 when asked to stop, 1 when a required process ended by itself."""
        self.logs.mkdir(parents=True, exist_ok=True)
        self._quiet = any(process.terminal for process in processes) and sys.stdout.isatty()
        self._namespace, self._environment = namespace, environment
        handlers = {s: signal.signal(s, lambda number, _: self._events.put(number)) for s in STOP_SIGNALS}
        try:
            for process in processes:
                self._start(process)
            return self._watch()
        finally:
            self._stop_all()
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def _start(self, process: Process) -> None:
        words, log = self._words(process, self._namespace), self.logs / f"{process.name}.log"
        child = Child(process, words, self._environment, log)
        self.children.append(child)
        self._write(f"started {process.name} (pid {child.popen.pid})")
        number = self._numbers.setdefault(process.name, len(self._numbers))
        threading.Thread(target=self._follow, args=(child, number), daemon=True).start()

    def _follow(self, child: Child, number: int) -> None:
        """Pass on what a process prints until it ends."""
        name = child.process.name
        prefix = f"\033[{COLOURS[number % len(COLOURS)]}m[{name}]\033[0m " if sys.stdout.isatty() else f"[{name}] "
        if child.popen.stdout is not None:
            with child.log.open("a") as log:
                for line in child.popen.stdout:
                    log.write(line)
                    log.flush()
                    child.last.append(line.rstrip())
                    if not self._quiet or any(word in line for word in LOUD):
                        self._write(prefix + line.rstrip() + ("\r" if self._quiet else ""))
        child.popen.wait()
        self._events.put(child)

    def _watch(self) -> int:
        while True:
            try:
                event = self._events.get(timeout=self._start_due())
            except queue.Empty:
                continue
            if not isinstance(event, Child):
                self._write(f"{signal.Signals(event).name}: stopping")
                return 0
            code = event.popen.returncode
            if event.process.required and code == 0:  # the person left by its own key, or the work is done
                self._write(f"{event.process.name} ended: stopping")
                return 0
            self._obituary(event)
            if event.process.required:
                self._write(f"nothing runs without {event.process.name}: stopping the others")
                return 1
            if event.process.respawn:
                self._schedule(event)
            if not self._alive() and not self._due:
                return 1
            self._write("the others go on; the safety gate holds while it needs what is gone")

    def _schedule(self, child: Child) -> None:
        """Have a process that died started again, unless it has died too often."""
        now = time.monotonic()
        pause = self._respawns.pause(child.process.name, now - child.began)
        self._write(prospect(child.process.name, pause))
        if pause is not None:
            self.children.remove(child)
            self._due.append((now + pause, child.process))

    def _start_due(self) -> float | None:
        """Start what is due; how long until the next is [s], None if none is.

        Here and in no other thread: who was started by a thread is told that its parent is gone when that thread ends.
        """
        while self._due:
            self._due.sort(key=lambda due: due[0])
            if (left := self._due[0][0] - time.monotonic()) > 0:
                return left
            remove_abandoned()  # what the dead held in shared memory, 32 MiB each
            self._start(self._due.pop(0)[1])
        return None

    def _obituary(self, child: Child) -> None:
        self._write(f"{child.process.name} died: {death(child.popen.returncode)}")
        if child.last:
            self._write(f"its last lines (all in {child.log}):")
            for line in child.last:
                self._write(f"    {line}")

    def _stop_all(self) -> None:
        """SIGINT once to each, then SIGTERM, then SIGKILL, with a word about those who needed more than the first."""
        for number, grace in GRACE.items():
            for child in self._alive():
                child.popen.send_signal(number)
            deadline = time.monotonic() + grace
            while self._alive() and time.monotonic() < deadline:
                time.sleep(0.02)
            for child in self._alive():
                self._write(f"{child.process.name} is still there {grace:.0f} s after {number.name}")
        for child in self._alive():
            self._write(f"{child.process.name} is killed; what it had in progress is lost")
            child.popen.kill()
        for child in self.children:
            child.popen.wait()

    def _alive(self) -> list[Child]:
        return [child for child in self.children if child.popen.poll() is None]


def log_folder(graph: str) -> Path:
    """A fresh folder for the logs of one run, where ROS keeps its own."""
    home = os.environ.get("ROS_LOG_DIR") or os.path.join(os.environ.get("ROS_HOME", "~/.ros"), "log")
    return Path(home).expanduser() / f"{time.strftime('%Y-%m-%d-%H-%M-%S')}-{graph}-{os.getpid()}"
