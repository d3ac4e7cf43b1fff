"""Check the set-up: Python, dependencies, headless rendering, video, robot files; each line says how to mend it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import robot_learning
from robot_learning import headless, paths

OK, WARN, FAIL = "OK", "WARN", "FAIL"
COLOURS = {OK: "\033[32m", WARN: "\033[33m", FAIL: "\033[31m"}
INSTALL_EGL = "apt-get install libegl1 libgl1-mesa-dri   (or libosmesa6)"
DEFAULT_ROBOT = "ur5e_2f85"
PYTHONS = ((3, 10), (3, 13))
NODES, SEGMENT = 8, 32  # processes of a graph, and the shared memory of each [MiB]

RENDER_PROBE = """
import time, mujoco
model = mujoco.MjModel.from_xml_string(
    '<mujoco><worldbody><light pos="0 0 3"/><geom type="sphere" size="1" rgba="1 0 0 1"/></worldbody></mujoco>')
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
with mujoco.Renderer(model, 64, 64) as renderer:
    renderer.update_scene(data)
    picture = renderer.render()
assert picture[..., 0].max() > 60 > picture[..., 1].max(), f"the picture is wrong: {picture.max((0, 1))}"
"""


@dataclass(frozen=True)
class Config:
    """What to print."""

    json: bool = False
    """One JSON object instead of a table."""


@dataclass(frozen=True)
class Check:
    """One line of the report: `status` is OK, WARN or FAIL; `mend` is the command that mends it, empty when OK."""

    name: str
    status: str
    found: str
    mend: str = ""


def python_version() -> Iterator[Check]:
    """The interpreter is one we test on."""
    found = f"{platform.python_version()} at {sys.executable}"
    low, high = (".".join(map(str, version)) for version in PYTHONS)
    status = (
        OK if PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1] else (WARN if sys.version_info > PYTHONS[1] else FAIL)
    )
    mend = f"use Python {low} to {high}: apt-get install python3.11 python3.11-venv, then make clean venv PYTHON=python3.11"
    yield Check("python", status, found, "" if status == OK else mend)
    yield Check("system", OK, f"{_system_name()}, {platform.machine()}")


def _system_name() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.platform())
    except OSError:
        return platform.platform()


def dependencies() -> Iterator[Check]:
    """Each core dependency is there, in a version within the bounds of the package."""
    from packaging.requirements import Requirement

    try:
        needed = [Requirement(line) for line in importlib.metadata.requires("robot_learning") or []]
    except importlib.metadata.PackageNotFoundError:
        yield Check(
            "robot_learning", FAIL, "imported from source, not installed", "pip install -e . -c constraints.txt"
        )
        return
    yield Check("robot_learning", OK, f"{robot_learning.__version__} at {Path(robot_learning.__file__).parent}")
    for requirement in sorted(needed, key=lambda r: r.name):
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        mend = f"pip install '{requirement.name}{requirement.specifier}'"
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            yield Check(requirement.name, FAIL, f"missing, needs {requirement.specifier}", mend)
            continue
        if requirement.specifier.contains(version, prereleases=True):
            yield Check(requirement.name, OK, version)
        else:
            yield Check(requirement.name, FAIL, f"{version}, needs {requirement.specifier}", mend)


def share_files() -> Iterator[Check]:
    """The contracts and scenes are found, and the MJCF files of each robot."""
    from robot_learning.contract import Contract
    from robot_learning.control.assets import AssetError, mjcf_path

    reinstall = "pip install --force-reinstall --no-deps .   (or: source install/setup.bash)"
    try:
        share = paths.share()
    except FileNotFoundError as error:
        yield Check("shared files", FAIL, str(error).splitlines()[0], reinstall)
        return
    yield Check("shared files", OK, str(share))
    for file in sorted((share / "config" / "contracts").glob("*.yaml")):
        name = f"robot {file.stem}"
        try:
            contract = Contract.load(file)
            simulation = contract.simulation
            models = [mjcf_path(part) for part in (simulation.arm, simulation.gripper) if part] if simulation else []
        except AssetError as error:
            optional = file.stem != DEFAULT_ROBOT
            mend = "install it to simulate this robot" if optional else reinstall
            yield Check(name, WARN if optional else FAIL, str(error).splitlines()[0], mend)
        except Exception as error:  # whatever is wrong with one robot, the other checks go on
            yield Check(name, FAIL, str(error).splitlines()[0], reinstall)
        else:
            yield Check(name, OK, f"contract {contract.hash()}, MJCF {', '.join(m.name for m in models)}")


def rendering() -> Iterator[Check]:
    """MuJoCo draws a 64x64 picture without a display, in a process of its own because a bad GL library can crash it."""
    backend = os.environ.get("MUJOCO_GL") or headless.gl_backend()
    if backend is None and not os.environ.get("DISPLAY"):
        yield Check("rendering", FAIL, "no EGL and no OSMesa library, no display", INSTALL_EGL)
        return
    environment = {**os.environ, **({"MUJOCO_GL": backend} if backend else {})}
    try:
        done = subprocess.run(
            [sys.executable, "-c", RENDER_PROBE], env=environment, capture_output=True, text=True, timeout=120
        )
        problem = "" if done.returncode == 0 else (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]
    except subprocess.TimeoutExpired:
        problem = "no picture within 120 s"
    name = backend or "display"
    yield Check("rendering", FAIL if problem else OK, f"{name}: {problem or 'works'}", INSTALL_EGL if problem else "")


def video() -> Iterator[Check]:
    """H.264 frames survive a round trip through the encoder and decoder that datasets use."""
    import av
    import numpy as np

    mend = "pip install --force-reinstall --only-binary :all: av -c constraints.txt"
    frames = [np.full((64, 64, 3), value, np.uint8) for value in (30, 120, 210)]
    try:
        buffer = io.BytesIO()
        with av.open(buffer, "w", format="mp4") as out:
            stream = out.add_stream("libx264", rate=10)
            stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
            for frame in frames:
                out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            out.mux(stream.encode())
        buffer.seek(0)
        with av.open(buffer) as back:
            means = [float(frame.to_ndarray(format="rgb24").mean()) for frame in back.decode(video=0)]
    except Exception as error:  # FFmpeg's errors have many types
        yield Check("video", FAIL, f"libx264: {error}", mend)
        return
    faithful = len(means) == 3 and all(abs(m - f.mean()) < 4 for m, f in zip(means, frames, strict=True))
    found = f"libx264 encodes and decodes (PyAV {av.__version__})" if faithful else f"wrong pictures came back: {means}"
    yield Check("video", OK if faithful else FAIL, found, "" if faithful else mend)


def machine() -> Iterator[Check]:
    """Cores, memory, disk, accelerators and threads."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield Check(
        "cores", OK if cores >= 2 else WARN, str(cores), "" if cores >= 2 else "the main job is planned for 2 cores"
    )
    memory = _memory_gib()
    if memory is not None:
        low = memory < 3
        yield Check("memory", WARN if low else OK, f"{memory:.1f} GiB free", "close other programs" if low else "")
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    status = OK if free >= 5 else (WARN if free >= 0.5 else FAIL)
    yield Check(
        "disk",
        status,
        f"{free:.1f} GiB free at {Path.cwd()}",
        "" if status == OK else "make room: 5 GiB is comfortable",
    )
    spins = os.environ.get("OMP_WAIT_POLICY", "").lower() != "passive"
    threads = os.environ.get("OMP_NUM_THREADS", "one per core")
    mend = "export OMP_WAIT_POLICY=passive   (spinning threads cost a busy machine a factor of four)" if spins else ""
    policy = os.environ.get("OMP_WAIT_POLICY", "unset")
    yield Check("threads", WARN if spins else OK, f"OMP_WAIT_POLICY={policy}, OMP_NUM_THREADS={threads}", mend)


def _memory_gib() -> float | None:
    try:
        found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    except OSError:
        return None
    return int(found[1]) / 2**20 if found else None


def accelerator() -> Iterator[Check]:
    """Whether torch sees a GPU; none is needed."""
    import torch

    found = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU; the CPU is used"
    yield Check("accelerator", OK, found)


def ros() -> Iterator[Check]:
    """Whether ROS 2 is there, and room for the pictures it moves; only the nodes need it."""
    distribution = os.environ.get("ROS_DISTRO", "")
    if not importlib.util.find_spec("rclpy"):
        how = "source /opt/ros/<distro>/setup.bash, or the ros extra"
        yield Check("ros", OK, f"not here; only needed to drive a robot ({how})")
        return
    yield Check("ros", OK, f"rclpy found {f'({distribution})' if distribution else ''}".strip())
    yield shared_memory(Path("/dev/shm"))
    profile = os.environ.get("FASTDDS_DEFAULT_PROFILES_FILE", "")
    if profile and not Path(profile).is_file():
        mend = "unset FASTDDS_DEFAULT_PROFILES_FILE   (launch files and `up` set their own)"
        yield Check("DDS profile", WARN, f"FASTDDS_DEFAULT_PROFILES_FILE names {profile}, which does not exist", mend)


def shared_memory(folder: Path) -> Check:
    """Whether the segments of a graph's nodes fit: containers often have 64 MiB, and pictures are then lost."""
    if not folder.is_dir():
        return Check("shared memory", WARN, f"no {folder}", "nodes will talk over UDP, which loses large pictures")
    free = shutil.disk_usage(folder).free / 2**20
    if free >= NODES * SEGMENT:
        return Check("shared memory", OK, f"{free:.0f} MiB free at {folder}")
    mend = f"docker run --shm-size=1g ..., or mount -o remount,size=1G {folder}"
    return Check(
        "shared memory",
        WARN,
        f"{free:.0f} MiB free at {folder}; {NODES} nodes with {SEGMENT} MiB each (config/fastdds.xml) do not fit",
        mend,
    )


CHECKS: tuple[Callable[[], Iterator[Check]], ...] = (
    python_version, dependencies, share_files, rendering, video, machine, accelerator, ros,
)  # fmt: skip


def examine() -> Iterator[Check]:
    """Every check; one that itself fails (a broken dependency) becomes a FAIL line."""
    for check in CHECKS:
        try:
            yield from check()
        except Exception as error:  # a doctor that dies of the disease helps nobody
            mend = "make clean venv   (installs the tested set again)"
            yield Check(check.__name__.replace("_", " "), FAIL, f"{type(error).__name__}: {error}", mend)


def run(config: Config) -> int:
    """Print every check; 1 when one fails."""
    checks = []
    for check in examine():
        checks.append(check)
        if not config.json:
            _print(check)
    failed = sum(check.status == FAIL for check in checks)
    warned = sum(check.status == WARN for check in checks)
    if config.json:
        print(json.dumps({"healthy": failed == 0, "checks": [asdict(check) for check in checks]}, indent=2))
    else:
        print(f"{len(checks)} checks: {failed} failed, {warned} warned")
    return 1 if failed else 0


def _print(check: Check) -> None:
    status = f"{check.status:<4}"
    if sys.stdout.isatty():
        status = f"{COLOURS[check.status]}{status}\033[0m"
    print(f"{status}  {check.name:<20} {check.found}", flush=True)
    if check.mend:
        print(f"      {'':<20} -> {check.mend}", flush=True)
