"""Answers of reward models to recorded pictures, their errors, and the table of all seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from reward_quality_scenes import CONDITIONS, SHIFTED, Stills

from robot_learning.envs.tasks import TASKS
from robot_learning.rewards import EmbeddedReward, quality
from robot_learning.training.intervals import wilson
from robot_learning.training.reward_evaluation import runs_of

RATES = ("false_positive_rate", "false_negative_rate", "auc")
CLEAR = ("false_positive_rate_clear", "false_negative_rate_clear")
CHUNK = 8


def answers_of(models: Sequence[EmbeddedReward], stills: Stills, asked: Sequence[str]) -> list[np.ndarray]:
    """P(yes) `(N, Q)` of each model for the questions of the tasks `asked`; features, the same for all, are computed once."""
    parts: list[list[np.ndarray]] = [[] for _ in models]
    for start in range(0, len(stills.truth), CHUNK):
        chunk = stills.pictures[start : start + CHUNK]
        maps = models[0].features(list(chunk.swapaxes(0, 1)))
        for model, part in zip(models, parts, strict=True):
            columns = [model.questions.index(TASKS[name].question) for name in asked]
            part.append(model.calibration.probability(model.logits(maps))[:, columns])
    return [np.concatenate(part) for part in parts]


def judge(threshold: float, p: np.ndarray, stills: Stills, asked: Sequence[str]) -> dict[str, Any]:
    """Errors per question, in the mean over questions, and over whole episodes."""
    truth = stills.truth.astype(int)
    clear = np.where(stills.near, -1, truth)
    each = {}
    for q, name in enumerate(asked):
        each[name] = quality(p[:, q], truth[:, q], threshold).to_dict()
        away = quality(p[:, q], clear[:, q], threshold).to_dict()
        each[name].update({f"{key}_clear": away[key] for key in RATES[:2]})
    macro = {key: _mean(entry[key] for entry in each.values()) for key in (*RATES, *CLEAR)}
    names = ("episodes", "done", "missed_ends", "false_ends")
    return {"questions": each, **macro, **dict(zip(names, _ends(threshold, p, stills), strict=True))}


def _ends(threshold: float, p: np.ndarray, stills: Stills) -> list[int]:
    """Episodes, done in truth, done but never called done, and called done by two frames in a row while it was not."""
    counts = np.zeros(4, int)
    for episode in np.unique(stills.episodes):
        inside = stills.episodes == episode
        q = int(stills.tasks[inside][0])
        truth = stills.truth[inside, q]
        called = np.flatnonzero(runs_of(p[inside, q] >= threshold, 2))
        done = bool(truth.any())
        counts += [1, done, done and not len(called), bool(len(called)) and not truth[called[0]]]
    return counts.tolist()


def _mean(values: Iterable[float | None]) -> float:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else float("nan")


def together(seeds: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over seeds of what was measured, with the lowest and highest seed (`range`), and all seeds."""
    values = [_headline(one) for one in seeds]
    ends = [one["before"]["nominal"] for one in seeds]
    false, episodes = (sum(end[key] for end in ends) for key in ("false_ends", "episodes"))
    return {
        **{key: _mean(value[key] for value in values) for key in values[0]},
        "false_success_episodes": false / max(episodes, 1),
        "false_success_interval": wilson(false, episodes),
        "episodes": episodes,
        "range": {key: [min(v[key] for v in values), max(v[key] for v in values)] for key in values[0]},
        "seeds": seeds,
    }


def _headline(one: dict[str, Any]) -> dict[str, float]:
    """What one seed comes to; the shifted conditions after the answers, where there were any."""
    before = one["before"]
    after = {**before, **one["after"]}
    keys = {"fpr": RATES[0], "fnr": RATES[1], "fpr_clear": CLEAR[0], "fnr_clear": CLEAR[1]}
    return {
        **{name: before["nominal"][key] for name, key in keys.items()},
        **{_shift(name): _mean(after[c][key] for c in SHIFTED) for name, key in keys.items()},
        **{f"{_shift(name)}_before": _mean(before[c][key] for c in SHIFTED) for name, key in keys.items()},
        "false_success_episodes": before["nominal"]["false_ends"] / max(before["nominal"]["episodes"], 1),
        "ms_per_frame": one["ms_per_frame"],
    }


def _shift(name: str) -> str:
    """`fpr_clear` -> `fpr_shift_clear`."""
    kind, *rest = name.split("_")
    return "_".join([kind, "shift", *rest])


def table(summary: dict[str, Any]) -> str:
    """Markdown: a line for each question, the conditions beside each other, and what it comes to."""
    seeds = summary["seeds"]
    columns = [("before", c) for c in CONDITIONS] + [("after", c) for c in SHIFTED if seeds[0]["answers"]]
    head = [f"{c}{', after answers' if when == 'after' else ''} ({seeds[0]['frames'][c]})" for when, c in columns]
    lines = [
        f"| false positives / false negatives [%] (frames a seed) | {' | '.join(head)} |",
        "|---|" + "---|" * len(columns),
    ]
    for name in seeds[0]["before"]["nominal"]["questions"]:
        cells = [[seed[when][c]["questions"][name] for seed in seeds] for when, c in columns]
        lines.append(f"| {name} | {' | '.join(_cell(cell, RATES[:2]) for cell in cells)} |")
    for name, rates in (("mean", RATES[:2]), ("mean, clear frames", CLEAR), ("AUC", RATES[2:])):
        cells = [[seed[when][c] for seed in seeds] for when, c in columns]
        lines.append(f"| {name} | {' | '.join(_cell(cell, rates) for cell in cells)} |")
    ranges = ", ".join(
        f"{key} {100 * summary[key]:.1f} ({100 * least:.1f} to {100 * most:.1f})"
        for key, (least, most) in summary["range"].items()
        if key[:3] in ("fpr", "fnr")
    )
    numbers = ", ".join(str(seed["seed"]) for seed in seeds)
    lines += ["", f"Training seeds {numbers}. Means, and lowest to highest seed [%]: {ranges}."]
    return "\n".join([*lines, "", _of_episodes(summary)])


def _of_episodes(summary: dict[str, Any]) -> str:
    low, high = summary["false_success_interval"]
    ends = [seed["before"]["nominal"] for seed in summary["seeds"]]
    false, missed, done = (sum(end[key] for end in ends) for key in ("false_ends", "missed_ends", "done"))
    return (
        f"Two frames in a row end an episode: {false} of {summary['episodes']} episodes ended as a success while it was not "
        f"(95 % interval {100 * low:.1f} to {100 * high:.1f} %), {missed} of {done} successes were never noticed. "
        f"{summary['ms_per_frame']:.1f} ms CPU a frame."
    )


def _cell(entries: Sequence[dict[str, Any]], keys: Sequence[str]) -> str:
    values = [_mean(entry[key] for entry in entries) for key in keys]
    return " / ".join("-" if np.isnan(value) else f"{100 * value:.1f}" for value in values)
