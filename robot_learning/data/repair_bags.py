"""The bags of a dataset that is repaired: they follow their episodes to new numbers, those of no episode are moved aside.

The number of an episode changes with its row, so a bag waits at `bags/repair/<number of the data file>`, which never changes,
while the rows are written. Wherever a repair is killed, the next one finds each bag either there or under the number that the
row names, and no bag takes a number that another has before all rows are written.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from robot_learning.data.episode_recorder import BAGS
from robot_learning.data.files import move, set_aside
from robot_learning.data.schema import CHUNKS_SIZE

WAITING = "repair"


def bag_of(root: Path, row: Mapping[str, Any]) -> Path | None:
    """Where the bag of an episode is while the dataset is repaired, None when there is none."""
    waiting = _waiting(root, row)
    found = waiting if waiting.exists() else _named(root, row["episode_index"])
    return found if found.exists() else None


def keep_bag(root: Path, row: Mapping[str, Any], index: int) -> None:
    """Let the bag of an episode that becomes number `index` wait, unless it has that number."""
    bag = bag_of(root, row)
    if bag is not None and bag != _named(root, index):
        move(bag, _waiting(root, row))


def with_bag(root: Path, row: Mapping[str, Any], index: int, info: str) -> str:
    """The info of an episode (JSON text) that becomes number `index`, with the new place of its bag if it has one."""
    plain, bag = json.loads(info), str(_named(root, index).relative_to(root))
    if bag_of(root, row) is None or plain.get("bag") == bag:
        return info
    return json.dumps(plain | {"bag": bag}, ensure_ascii=False)


def set_strange_bags_aside(root: Path, rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Move the bags of other episodes than these to quarantine/; `rows` are the new ones of all kept episodes with a bag.

    Returns where they are now.
    """
    rows = list(rows)
    kept = {_named(root, row["episode_index"]) for row in rows if not _waiting(root, row).exists()}
    kept |= {_waiting(root, row) for row in rows}
    bags = [*(root / BAGS).glob("episode_*"), *(root / BAGS / WAITING).glob("*")]
    return [set_aside(root, bag) for bag in sorted(bags) if bag not in kept]


def number_bags(root: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Give the waiting bags the numbers of their episodes, whose new `rows` are on the disk."""
    for row in rows:
        if _waiting(root, row).exists():
            move(_waiting(root, row), _named(root, row["episode_index"]))
    if (root / BAGS / WAITING).exists():
        (root / BAGS / WAITING).rmdir()


def _named(root: Path, index: int) -> Path:
    return root / BAGS / f"episode_{index:06d}"


def _waiting(root: Path, row: Mapping[str, Any]) -> Path:
    return root / BAGS / WAITING / f"{row['data/chunk_index'] * CHUNKS_SIZE + row['data/file_index']:06d}"
