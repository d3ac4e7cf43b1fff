"""How fast datasets are written and read, and whether a killed writer loses anything.

    python benchmarks/dataset_speed.py [--json] [--save]

Prints tables for a person; with --json the last line is one JSON object; --save also writes benchmarks/results/dataset_speed.*.
The images are those of the playroom, two cameras of 96x96. A "frame" below is both cameras at one moment. `random_ratio` is
random single frames through our decoder (video files, no cache of images, packet indices warm) against a fresh PyAV container
for each image, opened, sought and decoded with PyAV's defaults, in short alternating rounds of the same run: the median of the
rounds' ratios, so that other load on the machine hits both alike.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
from rich.console import Console
from rich.table import Table

from robot_learning.contract import Contract
from robot_learning.data import Dataset, DatasetWriter, Episode, VideoConfig
from robot_learning.data.check import check
from robot_learning.data.decoder import VideoReader
from robot_learning.data.video import VideoEncoder

EPISODES, LENGTH, WINDOW, ROUNDS, KILLS = 20, 60, 16, 25, 20
RESULTS = Path(__file__).parent / "results"
CODECS = {
    "H.264 crf 14, every frame a keyframe (default)": VideoConfig(),
    "H.264 crf 18, every frame a keyframe": VideoConfig(crf=18),
    "H.264 crf 18, keyframe every 2": VideoConfig(crf=18, gop=2),
    "H.264 crf 18, keyframe every 10": VideoConfig(crf=18, gop=10),
    "AV1 crf 30, keyframe every 2 (lerobot's)": VideoConfig("libsvtav1", crf=30, gop=2, preset="12"),
    "AV1 crf 18, keyframe every 2": VideoConfig("libsvtav1", crf=18, gop=2, preset="12"),
}


def render(length: int) -> dict[str, np.ndarray]:
    """Images of both cameras while the scripted demonstrator opens the drawer, `(length, 96, 96, 3)` each."""
    import gymnasium

    import robot_learning.envs  # noqa: F401 - registers the environments
    from robot_learning.envs.demonstrator import Demonstrator

    env: Any = gymnasium.make(
        "robot_learning/Playroom-v0", task="open_drawer", cameras=("front", "wrist"), image_size=96
    )
    images: dict[str, list[np.ndarray]] = {}
    observation, seed = env.reset(seed=0)[0], 0
    demonstrator = Demonstrator(env.unwrapped.room, np.random.default_rng(0))
    demonstrator.reset("open_drawer")
    while not images or len(next(iter(images.values()))) < length:
        for key in ("observation.images.front", "observation.images.wrist"):
            images.setdefault(key, []).append(observation[key].copy())
        observation, _, terminated, truncated, _ = env.step(demonstrator.act())
        if terminated or truncated:
            seed += 1
            observation = env.reset(seed=seed)[0]
            demonstrator.reset("open_drawer")
    env.close()
    return {key: np.stack(values) for key, values in images.items()}


def make_episode(contract: Contract, images: dict[str, np.ndarray], number: int, length: int) -> Episode:
    """An episode whose columns follow from its number."""
    rng = np.random.default_rng(number)
    last = np.arange(length)[:, None] == length - 1
    frames = {key: values[:length] for key, values in images.items()}
    frames["observation.state"] = rng.normal(size=(length, 18)).astype(np.float32)
    frames["action"] = rng.uniform(-1, 1, (length, 5)).astype(np.float32)
    frames |= {"next.reward": last.astype(np.float32), "next.done": last, "next.success": last}
    return Episode("open the drawer", frames, True, {"number": number})


def measure_write(root: Path, images: dict[str, np.ndarray]) -> float:
    """Frames a second, commits included."""
    contract = Contract.load("ur5e_2f85")
    episodes = [make_episode(contract, images, number, LENGTH) for number in range(EPISODES)]
    start = time.perf_counter()
    with DatasetWriter.create(root, contract) as writer:
        for episode in episodes:
            writer.add_episode(episode)
    return EPISODES * LENGTH / (time.perf_counter() - start)


def fresh_container(dataset: Dataset, key: str, index: int) -> np.ndarray:
    """One image the plain way: open the file, seek to the keyframe before, decode up to the frame."""
    episode = int(dataset.episode_of([index])[0])
    path, first = dataset.video_position(key, episode)
    second = (index - dataset.episode_ranges[episode, 0] + first) / dataset.fps
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.time_base is not None
        container.seek(round(second / stream.time_base), stream=stream)
        for frame in container.decode(stream):
            if frame.pts is not None and float(frame.pts * stream.time_base) >= second - 1e-4:
                return frame.to_ndarray(format="rgb24")
    raise RuntimeError(f"no frame at {second} s in {path}")


def rate(work: Callable[[int], object], indices: np.ndarray) -> float:
    """Calls of `work` a second."""
    start = time.perf_counter()
    for index in indices.tolist():
        work(index)
    return len(indices) / (time.perf_counter() - start)


def measure_reads(root: Path) -> dict[str, float]:
    """Rates of every way to read, and `random_ratio`: medians of rounds in which the ways alternate."""
    warm, cached = Dataset(root), Dataset(root, cache="ram")
    keys, rng = warm.image_keys, np.random.default_rng(0)
    for dataset in (warm, cached):
        for key in keys:
            dataset.images(key, range(len(dataset)))
    for index in rng.integers(0, len(warm), 20).tolist():  # both ways show the same pictures
        for key in keys:
            assert np.array_equal(fresh_container(warm, key, index), warm.images(key, [index])[0])
    offsets = np.arange(WINDOW)
    ways: dict[str, tuple[Callable[[int], object], int]] = {
        "fresh_container_frames_per_s": (lambda i: [fresh_container(warm, key, i) for key in keys], 12),
        "frame_reads_per_s": (lambda i: [warm.images(key, [i]) for key in keys], 80),
        "window_reads_per_s": (lambda i: warm.window(i, offsets, keys), 20),
        "cached_frame_reads_per_s": (lambda i: [cached.images(key, [i]) for key in keys], 400),
        "cached_window_reads_per_s": (lambda i: cached.window(i, offsets, keys), 200),
    }
    rates: dict[str, list[float]] = {name: [] for name in [*ways, "cold_frame_reads_per_s"]}
    for _ in range(ROUNDS):
        for name, (work, count) in ways.items():
            rates[name].append(rate(work, rng.integers(0, len(warm), count)))
        cold = Dataset(root)  # each episode is read once: every read opens and indexes its files
        firsts = cold.episode_ranges[rng.permutation(cold.num_episodes), 0]
        rates["cold_frame_reads_per_s"].append(rate(lambda i, cold=cold: [cold.images(k, [i]) for k in keys], firsts))
    fresh, ours = rates["fresh_container_frames_per_s"], rates["frame_reads_per_s"]
    ratio = statistics.median(b / a for a, b in zip(fresh, ours, strict=True))
    return {name: statistics.median(values) for name, values in rates.items()} | {"random_ratio": ratio}


def measure_codecs(images: np.ndarray, folder: Path) -> list[tuple[str, ...]]:
    """CPU time to encode and to decode a random image [ms], bytes an image, and error, of each codec."""
    rows, rng = [], np.random.default_rng(0)
    for name, config in CODECS.items():
        path = folder / "codec.mp4"
        start = time.process_time()
        encoder = VideoEncoder(path, images.shape[1:], 10, config)
        for image in images:
            encoder.write(image)
        encoder.close()
        encode = (time.process_time() - start) / len(images)
        reader = VideoReader()
        decoded = reader.frames(path, range(len(images)))
        numbers = rng.integers(0, len(images), 300).tolist()
        start = time.process_time()
        for number in numbers:
            reader.frames(path, [number])
        decode = (time.process_time() - start) / len(numbers)
        error = np.square(decoded.astype(float) - images).mean()
        psnr = 10 * np.log10(255**2 / error)
        rows.append(
            (
                name,
                f"{1e3 * encode:.2f}",
                f"{1e3 * decode:.2f}",
                f"{path.stat().st_size / len(images):.0f}",
                f"{psnr:.1f}",
            )
        )
    return rows


def write_until_killed(root: Path) -> None:
    """The child: append episodes for ever and print the index of each once it is committed."""
    contract = Contract.load("ur5e_2f85")
    ramp = np.linspace(0, 255, 96 * 96 * 3).reshape(96, 96, 3).astype(np.uint8)
    images = {key: np.stack([np.roll(ramp, 3 * t, axis=1) for t in range(30)]) for key in contract.images}
    with DatasetWriter.open_or_create(root, contract) as writer:
        while True:
            number = writer.num_episodes
            print(writer.add_episode(make_episode(contract, images, number, 5 + number % 25)), flush=True)


def measure_kills(root: Path, kills: int) -> tuple[int, int, int]:
    """Kill the writer at random moments; returns the committed episodes, how many were lost, and problems found."""
    chance, lost, problems, committed = random.Random(0), 0, 0, -1
    command = [sys.executable, __file__, "--child", str(root)]
    for _ in range(kills):
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        first = child.stdout.readline()
        time.sleep(chance.uniform(0.0, 0.4))
        os.kill(child.pid, signal.SIGKILL)
        printed = [first, *child.stdout.read().splitlines(keepends=True)]
        child.wait()
        committed = max([committed, *(int(line) for line in printed if line.endswith("\n"))])
        dataset = Dataset(root)
        for number in range(committed + 1):
            lost += number >= dataset.num_episodes or not same(dataset, number)
        problems += len(check(root, decode=False).problems)
    DatasetWriter.open(root, Contract.load("ur5e_2f85")).close()
    report = check(root)
    return committed + 1, lost, problems + len(report.problems) + len(report.notes)


def same(dataset: Dataset, number: int) -> bool:
    """Whether an episode is the one that was written under its number."""
    start, end = dataset.episode_ranges[number]
    expected = np.random.default_rng(number)
    states = expected.normal(size=(end - start, 18)).astype(np.float32)
    return end - start == 5 + number % 25 and bool((dataset.column("observation.state")[start:end] == states).all())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/dataset_speed.{json,md}")
    parser.add_argument("--kills", type=int, default=KILLS, help="how often the writer is killed")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        write_until_killed(options.child)
    av.logging.set_level(av.logging.ERROR)
    scratch = Path(tempfile.mkdtemp(prefix="dataset_speed_"))
    try:
        images = render(LENGTH)
        codecs = measure_codecs(images["observation.images.front"], scratch)
        result: dict[str, Any] = {"write_frames_per_s": measure_write(scratch / "dataset", images)}
        result |= measure_reads(scratch / "dataset")
        committed, lost, problems = measure_kills(scratch / "killed", options.kills)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    fresh = result["fresh_container_frames_per_s"]
    result["window_ratio"] = result["window_reads_per_s"] * WINDOW / fresh
    result["cold_ratio"] = result["cold_frame_reads_per_s"] / fresh
    result["cached_ratio"] = result["cached_frame_reads_per_s"] / fresh
    result |= {
        "kills": options.kills,
        "committed_episodes": committed,
        "lost_episodes": lost,
        "problems_after_kills": problems,
    }
    result = {key: round(value, 1) for key, value in result.items()}
    text = tables(result, codecs)
    print(text)
    if options.save:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "dataset_speed.json").write_text(json.dumps(result, indent=2) + "\n")
        (RESULTS / "dataset_speed.md").write_text(f"# benchmarks/dataset_speed.py\n\n```text\n{text}\n```\n")
    if options.json:
        print(json.dumps(result))
    return 0 if lost == problems == 0 else 1


def tables(result: dict[str, Any], codecs: list[tuple[str, ...]]) -> str:
    """The figures for a person."""
    fresh = result["fresh_container_frames_per_s"]
    reads = Table("two 96x96 cameras", "a second", "x fresh container")
    reads.add_row("frames written, commits included", f"{result['write_frames_per_s']:.0f}", "")
    reads.add_row("random frame, fresh PyAV container each", f"{fresh:.0f}", "1")
    reads.add_row(
        "random frame, our decoder (random_ratio)",
        f"{result['frame_reads_per_s']:.0f}",
        f"{result['random_ratio']:.1f}",
    )
    reads.add_row(
        f"random window of {WINDOW}, our decoder",
        f"{result['window_reads_per_s']:.0f}",
        f"{result['window_ratio']:.1f} (by frame)",
    )
    reads.add_row(
        "first frame of a file, index made too",
        f"{result['cold_frame_reads_per_s']:.0f}",
        f"{result['cold_ratio']:.1f}",
    )
    reads.add_row(
        "random frame, images cached in memory",
        f"{result['cached_frame_reads_per_s']:.0f}",
        f"{result['cached_ratio']:.0f}",
    )
    reads.add_row(f"random window of {WINDOW}, cached", f"{result['cached_window_reads_per_s']:.0f}", "")
    coding = Table("coding of front camera images", "encode ms", "random decode ms", "bytes", "PSNR dB")
    for row in codecs:
        coding.add_row(*row)
    console = Console(width=110, highlight=False, no_color=True, record=True, file=io.StringIO())
    console.print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, PyAV {av.__version__}"
    )
    console.print(reads)
    console.print("CPU milliseconds an image:")
    console.print(coding)
    console.print(
        f"writer killed {result['kills']} times at random moments: {result['committed_episodes']} episodes committed, "
        f"{result['lost_episodes']} lost, {result['problems_after_kills']} problems found afterwards"
    )
    return console.export_text().rstrip()


if __name__ == "__main__":
    sys.exit(main())
