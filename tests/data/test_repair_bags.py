"""Bags stay with their episodes when a repair gives these new numbers, wherever the repair is killed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from robot_learning.contract import Contract
from robot_learning.data import Dataset, DatasetWriter
from robot_learning.data.repair import repair

from .recordings import make_episode
from .test_dataset import damage
from .test_repair import killed_repairs

WITHOUT_BAG = 4
LAST_ROWS = "meta/episodes/chunk-000/file-002.parquet"


def record(root: Path, contract: Contract) -> None:
    """Six episodes, all but one with a bag, and the bag of a seventh that was never committed."""
    with DatasetWriter.create(root, contract) as writer:
        for seed in range(7):
            frames = make_episode(contract, 2, seed).frames
            bag = f"bags/episode_{seed:06d}"
            if seed != WITHOUT_BAG:
                (root / bag).mkdir(parents=True)
                (root / bag / "0.mcap").write_text(f"bag of {seed}")
            for t in range(2 * (seed < 6)):
                writer.add_frame({key: values[t] for key, values in frames.items()}, "open the drawer")
            if writer.episode_length:
                writer.save_episode(True, {"seed": seed} | ({} if seed == WITHOUT_BAG else {"bag": bag}))


def bags(root: Path) -> dict[str, str]:
    return {str(path.parent.relative_to(root)): path.read_text() for path in root.glob("**/*.mcap")}


@pytest.mark.parametrize("lost", ["", LAST_ROWS])
def test_bags_follow_their_episodes(
    tmp_path: Path, contract: Contract, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    monkeypatch.setattr("robot_learning.data.commit.ROWS_PER_FILE", 2)
    monkeypatch.setattr("robot_learning.data.recovery.ROWS_PER_FILE", 2)
    record(tmp_path / "d", contract.select([key for key in contract.observation if key not in contract.images]))
    for number in (1, 3):
        damage(tmp_path / f"d/data/chunk-000/file-00{number}.parquet", 300)
    if lost:
        damage(tmp_path / "d" / lost, None)
    for step, root in killed_repairs(tmp_path / "d", monkeypatch):
        repair(root)
        assert bags(root) == {
            "bags/episode_000000": "bag of 0",
            "bags/episode_000001": "bag of 2",
            "bags/episode_000003": "bag of 5",
            "quarantine/bags/episode_000001": "bag of 1",
            "quarantine/bags/episode_000003": "bag of 3",
            "quarantine/bags/episode_000006": "bag of 6",
        }, step
        dataset = Dataset(root)
        infos = [dataset.episode_info(episode) for episode in range(dataset.num_episodes)]
        assert [info.get("bag") for info in infos] == [
            "bags/episode_000000", "bags/episode_000001", None, "bags/episode_000003"
        ], step  # fmt: skip
        assert not (root / "bags/repair").exists()
    assert step > 12


def test_bags_of_a_second_repair(tmp_path: Path, contract: Contract) -> None:
    root = tmp_path / "d"
    record(root, contract.select([key for key in contract.observation if key not in contract.images]))
    for number in (0, 2):
        damage(root / f"data/chunk-000/file-00{number}.parquet", 300)
        repair(root)
    rows = root / "meta/episodes/chunk-000/file-000.parquet"
    damage(rows, None)
    damage(root / "data/chunk-000/file-003.parquet", 300)
    repair(root)
    found = bags(root)
    assert (found["bags/episode_000000"], found["bags/episode_000002"]) == ("bag of 1", "bag of 5")
    assert json.dumps(Dataset(root).episode_info(2)) == '{"recovered": true, "bag": "bags/episode_000002"}'
