"""Does the `lerobot` package read our datasets, and do we read its own? Prints a PASS or FAIL line per check.

Run it under a Python (3.12 or newer) that has lerobot 0.6 (docs/dataset.md tells how), from a checkout of this package:

    PYTHONPATH=. python benchmarks/lerobot_compat.py                # records a small dataset and checks it
    PYTHONPATH=. python benchmarks/lerobot_compat.py --root DATASET # checks a dataset of yours

Ends with the number of failed checks as its exit code.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
from lerobot import __version__ as lerobot_version
from lerobot.datasets.lerobot_dataset import LeRobotDataset

from robot_learning.contract import Contract
from robot_learning.data import Dataset, DatasetWriter, Episode
from robot_learning.data.check import check
from robot_learning.data.repair import repair

OFFSETS = (-2, -1, 0, 1, 3, 7)
LENGTHS = (23, 17, 31)


def make_episode(contract: Contract, length: int, seed: int) -> Episode:
    """Smooth moving pictures and random states that fit `contract`."""
    rng = np.random.default_rng(seed)
    frames = {}
    for key, stream in contract.observation.items():
        if key in contract.images:
            height, width = stream.shape[:2]
            y, x, t = (
                np.mgrid[0:height, 0:width].astype(float)[0],
                np.mgrid[0:height, 0:width].astype(float)[1],
                np.arange(length),
            )
            waves = [
                np.sin(x[None] / 9 + t[:, None, None] / 5 + seed),
                np.cos(y[None] / 7 + 0 * t[:, None, None]),
                np.sin((x + y)[None] / 13 - t[:, None, None] / 3),
            ]
            frames[key] = (127 + 100 * np.stack(waves, axis=-1)).astype(np.uint8)
        else:
            frames[key] = rng.normal(size=(length, *stream.shape)).astype(stream.dtype)
    last = np.arange(length)[:, None] == length - 1
    frames["action"] = rng.uniform(-1, 1, (length, len(contract.action.names))).astype(np.float32)
    frames |= {"next.reward": last.astype(np.float32), "next.done": last, "next.success": last}
    return Episode(("open the drawer", "close the drawer")[seed % 2], frames, success=True, info={"seed": seed})


def record(root: Path) -> None:
    """A dataset of three episodes, two tasks and two 96x96 cameras."""
    contract = Contract.load("ur5e_2f85")
    with DatasetWriter.create(root, contract) as writer:
        for seed, length in enumerate(LENGTHS):
            writer.add_episode(make_episode(contract, length, seed))


def uint8(images: torch.Tensor) -> np.ndarray:
    """LeRobot's `(..., 3, H, W)` float in [0, 1] as `(..., H, W, 3)` uint8."""
    return (images * 255).round().to(torch.uint8).movedim(-3, -1).numpy()


class Compat:
    """The checks on one dataset with one of LeRobot's video backends."""

    def __init__(self, root: Path, backend: str) -> None:
        self.root, self.backend = root, backend
        self.ours = Dataset(root)
        self.theirs = LeRobotDataset("local/compat", root=root, video_backend=backend)
        rng = np.random.default_rng(0)
        starts, ends = self.ours.episode_ranges[:5].T
        picked = rng.choice(len(self.ours), min(25, len(self.ours)), replace=False)
        self.indices = np.unique(np.concatenate([starts, ends - 1, picked]))

    def lengths(self) -> str:
        found = (len(self.theirs), self.theirs.num_episodes, self.theirs.fps)
        assert found == (len(self.ours), self.ours.num_episodes, self.ours.fps), found
        return f"{found[0]} frames, {found[1]} episodes, {found[2]} Hz"

    def tasks(self) -> str:
        for index in self.indices:
            assert self.theirs[int(index)]["task"] == self.ours[int(index)]["task"]
        return f"{self.ours.tasks}"

    def columns(self) -> str:
        keys = [key for key, feature in self.ours.features.items() if not feature.is_image]
        table = self.theirs.hf_dataset.with_format("numpy")
        for key in keys:
            found, expected = np.asarray(table[key]), self.ours.column(key)
            assert np.array_equal(found.reshape(expected.shape), expected), key
        return f"{len(keys)} columns bitwise equal"

    def frames(self) -> str:
        worst = 0
        for index in self.indices:
            theirs = self.theirs[int(index)]
            for key in self.ours.image_keys:
                ours = self.ours.images(key, [index])[0]
                worst = max(worst, int(np.abs(uint8(theirs[key]).astype(int) - ours).max()))
        limit = 0 if self.backend == "pyav" else 6  # torchcodec converts YUV to RGB by itself
        assert worst <= limit, f"largest difference {worst}/255"
        return f"{len(self.indices)} x {len(self.ours.image_keys)} images, largest difference {worst}/255"

    def windows(self) -> str:
        seconds = [offset / self.ours.fps for offset in OFFSETS]
        keys = [*self.ours.image_keys, "action", "observation.state"]
        windowed = LeRobotDataset(
            "local/compat", root=self.root, video_backend=self.backend, delta_timestamps=dict.fromkeys(keys, seconds)
        )
        limit = 0 if self.backend == "pyav" else 6
        for index in self.indices:
            theirs, ours = windowed[int(index)], self.ours.window(int(index), OFFSETS, keys)
            for key in keys:
                found = uint8(theirs[key]) if key in self.ours.image_keys else theirs[key].numpy()
                assert found.shape == ours[key].shape, (key, found.shape)
                assert np.abs(found.astype(float) - ours[key]).max() <= limit * (key in self.ours.image_keys), key
                assert np.array_equal(theirs[f"{key}_is_pad"].numpy(), ours["is_pad"]), f"{key}_is_pad"
        return f"{len(self.indices)} windows of {len(OFFSETS)} steps, edges and padding equal"

    def loader(self) -> str:
        loader = torch.utils.data.DataLoader(self.theirs, batch_size=8, shuffle=True, num_workers=0)
        batches = 0
        for batch in loader:
            assert torch.isfinite(batch["observation.state"]).all() and batch["action"].shape[-1] == 5
            for key in self.ours.image_keys:
                assert batch[key].shape[1] == 3 and batch[key].max() <= 1
            batches += 1
            if batches == 8:
                break
        return f"{batches} batches of images, states and actions"

    def statistics(self) -> str:
        for key, stats in self.ours.stats.items():
            for name, expected in (("mean", stats.mean), ("std", stats.std), ("q01", stats.q01), ("q99", stats.q99)):
                found = np.asarray(self.theirs.meta.stats[key][name]).reshape(-1)
                assert np.allclose(found, expected), (key, name)
        shape = np.asarray(self.theirs.meta.stats[self.ours.image_keys[0]]["mean"]).shape
        assert shape == (3, 1, 1), shape
        return f"{len(self.ours.stats)} features"

    def one_episode(self) -> str:
        number = self.ours.num_episodes - 1
        part = LeRobotDataset("local/compat", root=self.root, episodes=[number], video_backend=self.backend)
        expected = self.ours.episode(number)
        assert len(part) == len(expected)
        found = np.stack([part[i]["action"].numpy() for i in range(len(part))])
        assert np.array_equal(found, expected.frames["action"])
        return f"episode {number} alone: {len(part)} frames"

    def run(self) -> int:
        """Run every check and return the number of failures."""
        checks = (
            self.lengths,
            self.tasks,
            self.columns,
            self.frames,
            self.windows,
            self.loader,
            self.statistics,
            self.one_episode,
        )
        return sum(report(f"{self.backend} {run.__name__}", run) for run in checks)


def repaired(scratch: Path) -> str:
    """A dataset whose middle episode was quarantined (so that file numbers have a gap) still loads."""
    root = scratch / "repaired"
    record(root)
    video = root / "videos/observation.images.front/chunk-000/file-001.mp4"
    video.write_bytes(video.read_bytes()[:2000])
    repair(root)
    theirs = LeRobotDataset("local/repaired", root=root, video_backend="pyav")
    assert len(theirs) == LENGTHS[0] + LENGTHS[2], len(theirs)
    expected = Dataset(root).images("observation.images.wrist", [len(theirs) - 1])[0]
    assert np.array_equal(uint8(theirs[len(theirs) - 1]["observation.images.wrist"]), expected)
    return f"{len(theirs)} frames of episodes 0 and 2"


def theirs_by_us(scratch: Path) -> str:
    """A dataset that LeRobot wrote (its own codec, several episodes in a file) is read by our reader and passes our check."""
    features = {
        "observation.state": {"dtype": "float32", "shape": (4,), "names": ["a", "b", "c", "d"]},
        "action": {"dtype": "float32", "shape": (2,), "names": ["x", "y"]},
        "observation.images.top": {"dtype": "video", "shape": (96, 128, 3), "names": ["height", "width", "channels"]},
    }
    root = scratch / "theirs"
    made = LeRobotDataset.create("local/theirs", fps=10, features=features, root=root, use_videos=True)
    source = make_episode(Contract.load("ur5e_2f85").with_image_size(96, 128), 20, 0)
    for episode in range(2):
        for t in range(20):
            image = source.frames["observation.images.front"][t]
            frame = {"observation.state": np.full(4, t, np.float32), "action": np.full(2, episode, np.float32)}
            made.add_frame(frame | {"observation.images.top": image, "task": f"task {episode}"})
        made.save_episode()
    made.finalize()
    ours, theirs = Dataset(root), LeRobotDataset("local/theirs", root=root, video_backend="pyav")
    assert (len(ours), ours.tasks, ours.contract) == (40, ["task 0", "task 1"], None)
    for index in (0, 7, 19, 20, 33, 39):
        expected = uint8(theirs[index]["observation.images.top"])
        assert np.array_equal(ours.images("observation.images.top", [index])[0], expected), index
    problems = check(root).problems
    assert not problems, problems
    return (
        f"{len(ours)} frames, {ours.features['observation.images.top'].info.get('video.codec')}, check finds no problem"
    )


def report(name: str, run: Callable[[], str]) -> int:
    """Print the outcome of one check; 1 when it failed."""
    try:
        print(f"PASS {name}: {run()}", flush=True)
        return 0
    except Exception as error:
        traceback.print_exc()
        print(f"FAIL {name}: {type(error).__name__}: {error}", flush=True)
        return 1


def backends() -> list[str]:
    """pyav, and torchcodec where it loads."""
    try:
        import torchcodec.decoders  # noqa: F401
    except (ImportError, RuntimeError, OSError):
        print("SKIP torchcodec: it does not load here (it needs FFmpeg's shared libraries)")
        return ["pyav"]
    return ["pyav", "torchcodec"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="a dataset recorded by this package; made on the spot when absent")
    root = parser.parse_args().root
    logging.disable(logging.WARNING)
    print(f"lerobot {lerobot_version}, torch {torch.__version__}, Python {sys.version.split()[0]}")
    scratch = Path(tempfile.mkdtemp(prefix="lerobot_compat_"))
    try:
        if root is None:
            root = scratch / "ours"
            record(root)
        failures = sum(Compat(root, backend).run() for backend in backends())
        failures += report("a repaired dataset", lambda: repaired(scratch))
        failures += report("a dataset LeRobot wrote, read by us", lambda: theirs_by_us(scratch))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    print(f"{failures} checks failed")
    return failures


if __name__ == "__main__":
    sys.exit(main())
