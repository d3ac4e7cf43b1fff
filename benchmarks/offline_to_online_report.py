"""Tables and figures of offline_to_online.py.

Intervals of rates and differences are percentile bootstraps (95 %) that draw seeds and episodes anew, both at once: episodes are
the same for all seeds and algorithms, so differences are of the same episodes. With three seeds such intervals are a little too
narrow. Wilson's interval belongs to one seed's episodes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from offline_to_online_learners import ALGORITHMS

from robot_learning.training.intervals import wilson

RESAMPLES = 2000
POLICIES = ("mean", "sampled")
FLOOR = (0.5, 0.8)  # where BC leaves something to be learned
GAIN = 0.15


class Runs:
    """All seeds of one algorithm on one task: success `(seeds, episodes)` by policy and step."""

    def __init__(self, results: Sequence[dict[str, Any]]) -> None:
        self.results = sorted(results, key=lambda result: result["job"]["seed"])
        self.seeds = [result["job"]["seed"] for result in self.results]
        tables = [
            {(p["policy"], p["step"]): np.array(p["successes"], float) for p in r["points"]} for r in self.results
        ]
        shared = set.intersection(*(set(table) for table in tables))
        self.success = {key: np.stack([table[key] for table in tables]) for key in sorted(shared)}

    def steps(self, policy: str) -> list[int]:
        """Where this policy was evaluated."""
        return [step for kind, step in self.success if kind == policy]

    def curve(self, policy: str) -> np.ndarray:
        """`(steps, seeds, episodes)`."""
        return np.stack([self.success[policy, step] for step in self.steps(policy)])

    def cpu(self) -> dict[str, float]:
        """Mean CPU seconds by purpose, and milliseconds of an update and of a step of the environment."""
        clocks = [result["clock"] for result in self.results]
        seconds = {key: float(np.mean([c["seconds"][key] for c in clocks])) for key in clocks[0]["seconds"]}
        for key, name in (("updates", "ms_update"), ("environment", "ms_environment")):
            steps = sum(c["steps"][key] for c in clocks)
            seconds[name] = 1e3 * sum(c["seconds"][key] for c in clocks) / steps if steps else 0.0
        return seconds


def resampled(statistic: Callable[[np.ndarray], np.ndarray], success: np.ndarray, seed: int = 0) -> list[float]:
    """Bootstrap interval of `statistic`, which maps `(steps, seeds, episodes)` to one number."""
    rng = np.random.default_rng(seed)
    _, seeds, episodes = success.shape
    values = []
    for _ in range(RESAMPLES):
        rows, columns = rng.integers(seeds, size=seeds), rng.integers(episodes, size=episodes)
        values.append(float(statistic(success[:, rows][:, :, columns])))
    return [float(x) for x in np.quantile(values, [0.025, 0.975])]


def figure_of(statistic: Callable[[np.ndarray], np.ndarray], success: np.ndarray) -> dict[str, Any]:
    """Value and interval."""
    return {"value": float(statistic(success)), "interval": resampled(statistic, success)}


def mean(success: np.ndarray) -> np.ndarray:
    """Rate over everything."""
    return success.mean()


def lowest(success: np.ndarray) -> np.ndarray:
    """The mean over the seeds of each one's lowest rate."""
    return success.mean(axis=2).min(axis=0).mean()


def policy_figures(runs: Runs, policy: str, online_steps: int) -> dict[str, Any]:
    """Everything about one policy of an algorithm on a task."""
    steps, curve = runs.steps(policy), runs.curve(policy)
    points = {}
    for index, step in enumerate(steps):
        rates = curve[index].mean(axis=1)
        each = [wilson(int(row.sum()), row.size) for row in curve[index]]
        points[step] = {
            **figure_of(mean, curve[index : index + 1]),
            "seeds": {str(s): [float(r), *w] for s, r, w in zip(runs.seeds, rates, each, strict=True)},
        }
    found: dict[str, Any] = {"points": points}
    early = [i for i, step in enumerate(steps) if 0 < step <= online_steps / 10] or [
        i for i, step in enumerate(steps) if step > 0
    ][:1]
    if len(steps) > 1 and early:
        found["lowest_early"] = figure_of(lowest, curve[early])
        start = points[steps[0]]["value"]
        found["lowest_ratio"] = found["lowest_early"]["value"] / start if start else None
        width = np.diff(steps)[:, None, None] / (steps[-1] - steps[0])
        found["area"] = figure_of(lambda s: (width * (s[1:] + s[:-1]) / 2).sum(axis=0).mean(), curve)
    return found


def difference(runs: Runs, base: Runs, policy: str) -> dict[str, Any]:
    """Success at the last step minus BC's, on the seeds that both have."""
    seeds = [seed for seed in runs.seeds if seed in base.seeds]
    last = runs.steps(policy)[-1]
    mine = runs.success[policy, last][[runs.seeds.index(seed) for seed in seeds]]
    theirs = base.success["mean", 0][[base.seeds.index(seed) for seed in seeds]]
    return {"step": last, **figure_of(mean, (mine - theirs)[None])} if seeds else {}


def summary(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Plain data by task and algorithm; `claims` compares with what was aimed at."""
    tasks: dict[str, Any] = {}
    for task in dict.fromkeys(result["job"]["task"] for result in results):
        here = [result for result in results if result["job"]["task"] == task]
        runs = {
            name: Runs(mine)
            for name in ALGORITHMS
            if (mine := [result for result in here if result["job"]["algorithm"] == name])
        }
        tasks[task] = {name: _entry(name, one, runs.get("bc")) for name, one in runs.items()}
    job = results[0]["job"]
    settings = {key: job[key] for key in ("kind", "budget", "amounts", "episodes")}
    return {"settings": settings, "claims": claims(tasks), "tasks": tasks}


def _entry(name: str, runs: Runs, base: Runs | None) -> dict[str, Any]:
    online = runs.results[0]["job"]["budget"]["online_steps"]
    entry: dict[str, Any] = {"title": ALGORITHMS[name].title, "seeds": runs.seeds, "cpu": runs.cpu()}
    for policy in POLICIES:
        if runs.steps(policy):
            entry[policy] = policy_figures(runs, policy, online)
            if base is not None and name != "bc":
                entry[policy]["minus_bc"] = difference(runs, base, policy)
    return entry


def claims(tasks: dict[str, Any]) -> dict[str, Any]:
    """For each algorithm with an online phase: on which tasks the aims and the floor are met."""
    found: dict[str, Any] = {}
    for task, entries in tasks.items():
        bc = entries.get("bc", {}).get("mean", {}).get("points", {}).get(0, {}).get("value")
        for name, entry in entries.items():
            if "lowest_ratio" not in entry["mean"]:
                continue
            ratio = entry["mean"]["lowest_ratio"]
            row = found.setdefault(name, {})
            points = list(entry["mean"]["points"].values())
            row[task] = {"ends_at_95": points[-1]["value"] >= 0.95}
            if ratio is not None:  # nothing can dip below 0
                row[task]["no_dip"] = ratio >= 0.9
            if bc is not None and FLOOR[0] <= bc <= FLOOR[1]:
                gain = entry["mean"]["minus_bc"]
                row[task]["floor"] = gain["value"] >= GAIN and gain["interval"][0] > 0
    return found


def table(report: dict[str, Any]) -> str:
    """Markdown: one table a task."""
    budget, lines = report["settings"]["budget"], []
    settings = report["settings"]
    lines.append(
        f"{budget['offline_steps']} gradient steps on the data, {budget['online_steps']} steps of the environment, "
        f"{settings['episodes']} fixed episodes ({settings['kind']} seeds). Rates in %, in brackets 95 % intervals over seeds "
        "and episodes; the mean policy, and the sampled one where it says so. Lowest: over the first tenth of practice."
    )
    for task, entries in report["tasks"].items():
        steps = sorted({step for entry in entries.values() for step in entry["mean"]["points"]})
        titles = ["offline", *(f"{step:,}" for step in steps if step)]
        heads = [
            task,
            *titles,
            "lowest / offline",
            "area",
            "end - BC",
            "sampled: offline, end",
            "CPU s: updates, environment, all",
        ]
        lines += ["", "| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
        lines += ["| " + " | ".join(_row(entry, steps)) + " |" for entry in entries.values()]
    lines += ["", *_claim_lines(report)]
    return "\n".join(lines)


def _row(entry: dict[str, Any], steps: Sequence[int]) -> list[str]:
    figures, cpu = entry["mean"], entry["cpu"]
    sampled = entry.get("sampled", {}).get("points", {})
    ends = [sampled[step] for step in ({min(sampled), max(sampled)} if sampled else ())]
    low, ratio = figures.get("lowest_early"), figures.get("lowest_ratio")
    return [
        f"{entry['title']} ({len(entry['seeds'])})",
        *(_percent(figures["points"].get(step)) for step in steps),
        _percent(low) + (f", {ratio:.2f}" if ratio is not None else ""),
        _percent(figures.get("area")),
        _percent(figures.get("minus_bc"), sign=True),
        ", ".join(_percent(point) for point in sorted(ends, key=lambda p: list(sampled.values()).index(p))),
        f"{cpu['updates']:.0f}, {cpu['environment']:.0f}, {cpu['all']:.0f}",
    ]


def _percent(figure: dict[str, Any] | None, sign: bool = False) -> str:
    if not figure:
        return ""
    plus = "+" if sign else ""
    low, high = figure["interval"]
    return f"{100 * figure['value']:{plus}.0f} ({100 * low:{plus}.0f} .. {100 * high:{plus}.0f})"


def _claim_lines(report: dict[str, Any]) -> list[str]:
    lines = [
        "| | no dip (lowest >= 0.9 offline) | >= 95 % at the end | >= 15 points above BC where BC has 50 to 80 % |",
        "|---" * 4 + "|",
    ]
    for name, rows in report["claims"].items():
        cells = []
        for claim in ("no_dip", "ends_at_95", "floor"):
            told = {task: row[claim] for task, row in rows.items() if claim in row}
            cells.append(
                f"{sum(told.values())} of {len(told)}: " + ", ".join(task for task, met in told.items() if met)
            )
        lines.append(f"| {ALGORITHMS[name].title} | " + " | ".join(cells) + " |")
    return lines


def figures(report: dict[str, Any], folder: Path, name: str) -> list[Path]:
    """One picture a task, `NAME_TASK.png`: the mean policy, and the sampled one."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    paths = []
    for task, entries in report["tasks"].items():
        shown = [policy for policy in POLICIES if any(policy in entry for entry in entries.values())]
        figure = Figure(figsize=(4.0 + 3.5 * len(shown), 4.2), layout="constrained")
        FigureCanvasAgg(figure)
        for axes, policy in zip(figure.subplots(1, len(shown), sharey=True, squeeze=False)[0], shown, strict=True):
            _draw(axes, entries, policy)
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right center", frameon=False)
        figure.suptitle(f"{task}: success of fixed episodes, bands: 95 % over seeds and episodes", fontsize=10)
        paths.append(folder / f"{name}_{task}.png")
        figure.savefig(paths[-1], dpi=110)
    return paths


def _draw(axes: Any, entries: dict[str, Any], policy: str) -> None:
    for index, name in enumerate(ALGORITHMS):
        entry, colour = entries.get(name), f"C{index}"
        if name == "bc" and entry is not None:
            bc = entry["mean"]["points"][0]
            axes.axhline(bc["value"], color="black", linestyle="--", linewidth=1.2, label=entry["title"])
            axes.axhspan(*bc["interval"], color="black", alpha=0.08, linewidth=0)
        elif entry is not None and policy in entry:
            points = entry[policy]["points"]
            steps, rates = list(points), [point["value"] for point in points.values()]
            low, high = np.array([point["interval"] for point in points.values()]).T
            if len(steps) > 1:
                axes.plot(steps, rates, color=colour, marker="o", markersize=3, linewidth=1.6, label=entry["title"])
                axes.fill_between(steps, low, high, color=colour, alpha=0.12, linewidth=0)
            else:
                error = [[rates[0] - low[0]], [high[0] - rates[0]]]
                axes.errorbar(steps, rates, yerr=error, color=colour, marker="D", capsize=3, label=entry["title"])
    axes.set_title(f"{policy} policy", fontsize=10)
    axes.set_xlabel("steps of practice")
    axes.locator_params(axis="x", nbins=5)
    axes.set_ylim(-0.02, 1.02)
    axes.grid(color="#d8dee4", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
