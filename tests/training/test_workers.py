import os
import signal
import subprocess
import sys

PARENT = """
import multiprocessing, os, signal, sys, time
from robot_learning.training.workers import prepare_worker

def work(connection):
    prepare_worker()
    connection.send(os.getpid())
    time.sleep(600)

if __name__ == "__main__":
    here, there = multiprocessing.Pipe()
    multiprocessing.get_context("spawn").Process(target=work, args=(there,)).start()
    print(here.recv(), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_worker_ends_with_its_killed_parent(tmp_path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    # the output ends when the last process that holds it has ended, the worker included
    done = subprocess.run([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    assert not os.path.exists(f"/proc/{int(done.stdout)}/exe")
