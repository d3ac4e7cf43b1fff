"""Table and figure of practice.py. Intervals are percentile bootstraps (95 %) over tasks, seeds and episodes, all at once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from offline_to_online_report import resampled

NAME = "practice"
GAINS = ("gain", "gain_of_practice", "bc_practised", "bc_retry", "end_retry", "gain_retry")


def successes(results: Sequence[dict[str, Any]]) -> np.ndarray:
    """`(marks, results x tasks, episodes)`, each task of each result a row."""
    return np.stack([
        np.array([row for result in results for row in result["points"][mark]["successes"].values()], float)
        for mark in range(min(len(result["points"]) for result in results))
    ])  # fmt: skip


def curve(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Rates of BC and at each mark, with intervals, and the gains over BC and over what practice began with."""
    table, again = successes(results), _once_more(results, "end_retry")
    alone = np.array([row for result in results for row in result["bc"].values()], float)
    return {
        "steps": [point["step"] for point in results[0]["points"]][: len(table)],
        "bc": _rate(alone),
        "bc_practised": None if (anew := _once_more(results, "bc_practised")) is None else _rate(anew),
        "bc_retry": _rate(_once_more(results, "bc_retry")),
        "end_retry": None if again is None else _rate(again),
        "gain_retry": None if again is None else _gain(_once_more(results, "bc_retry"), again),
        "rates": [_rate(row) for row in table],
        "gain": _gain(alone, table[-1]),
        "gain_of_practice": _gain(table[0], table[-1]),
    }


def _once_more(results: Sequence[dict[str, Any]], name: str) -> Any:
    """`(results x tasks, episodes)`, None where the policy cannot try again."""
    if any(result.get(name) is None for result in results):
        return None
    return np.array([row for result in results for row in result[name].values()], float)


def _rate(row: np.ndarray) -> dict[str, Any]:
    return {"value": float(row.mean()), "interval": resampled(lambda s: s.mean(), row[None])}


def _gain(before: np.ndarray, after: np.ndarray) -> dict[str, Any]:
    """Both on the same episodes."""
    both = np.stack([before, after])
    return {
        "value": float(after.mean() - before.mean()),
        "interval": resampled(lambda s: s[1].mean() - s[0].mean(), both),
    }


def summary(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """By variant: the curve over everything and of each pair, and what practice took."""
    told: dict[str, Any] = {}
    for variant in dict.fromkeys(result["job"]["variant"] for result in results):
        of = [result for result in results if result["job"]["variant"] == variant]
        pairs = dict.fromkeys(result["job"]["pair"][0] for result in of)
        told[variant] = {
            "all": curve(of),
            "pairs": {pair: _pair([r for r in of if r["job"]["pair"][0] == pair]) for pair in pairs},
        }
    return {"episodes": results[0]["job"]["episodes"], "variants": told}


def _pair(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    known = [result for result in results if result["false_success"] is not None]
    total = {key: sum(r[key] for r in results) for key in ("steps", "episodes", "interventions", "resets")}
    total |= {key: sum(r[key] for r in known) for key in ("said", "false_success", "missed_success")}
    return {
        **curve(results),
        "seeds": [result["job"]["seed"] for result in results],
        "interventions_per_1000": 1000 * total["interventions"] / total["steps"],
        "resets_per_1000": 1000 * total["resets"] / total["steps"],
        "false_share": total["false_success"] / max(total["said"], 1) if known else None,
        "missed_share": total["missed_success"]
        / max(total["missed_success"] + total["said"] - total["false_success"], 1)
        if known
        else None,
        "cpu_seconds": float(np.mean([result["cpu_seconds"] for result in results])),
    }


def table(told: dict[str, Any]) -> str:
    """Markdown."""
    steps = next(iter(told["variants"].values()))["all"]["steps"]
    heads = [
        "variant",
        "pair",
        "seeds",
        "BC",
        *(f"{step // 1000}k" for step in steps),
        "gain over BC",
        "of practice",
        "BC and practice",
        "BC, retries",
        "end, retries",
        "gain, retries",
        "help per 1000",
        "false",
        "missed",
    ]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for variant, entry in told["variants"].items():
        for pair, values in [*entry["pairs"].items(), *([("all", entry["all"])] if len(entry["pairs"]) > 1 else [])]:
            cells = [
                variant,
                pair,
                ", ".join(map(str, values.get("seeds", []))),
                *(_percent(r) for r in (values["bc"], *values["rates"], *(values[k] for k in GAINS))),
            ]
            shares = [values.get(key) for key in ("false_share", "missed_share")]
            help_ = f"{values['interventions_per_1000']:.2f}" if "seeds" in values else ""
            cells += [help_, *("" if share is None else f"{share:.1%}" for share in shares)]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _percent(figure: dict[str, Any] | None) -> str:
    if figure is None:
        return ""
    low, high = figure["interval"]
    return f"{100 * figure['value']:.0f} ({100 * low:.0f} to {100 * high:.0f})"


def figure(told: dict[str, Any], path: Path) -> None:
    """A panel for each pair, a line for each variant."""
    pairs = list(dict.fromkeys(pair for entry in told["variants"].values() for pair in entry["pairs"]))
    drawing, panels = plt.subplots(1, len(pairs), figsize=(4.2 * len(pairs), 3.4), sharey=True, squeeze=False)
    for panel, pair in zip(panels[0], pairs, strict=True):
        for variant, entry in told["variants"].items():
            if pair not in entry["pairs"]:
                continue
            values = entry["pairs"][pair]
            middle = 100 * np.array([rate["value"] for rate in values["rates"]])
            band = 100 * np.array([rate["interval"] for rate in values["rates"]])
            panel.plot(values["steps"], middle, marker="o", label=variant)
            panel.fill_between(values["steps"], band[:, 0], band[:, 1], alpha=0.15)
        alone = [entry["pairs"][pair]["bc"]["value"] for entry in told["variants"].values() if pair in entry["pairs"]]
        panel.axhline(100 * alone[0], color="gray", linestyle="--", label="BC, demonstrations alone")
        panel.set(title=f"{pair} and back", xlabel="steps of practice", ylim=(0, 102))
        panel.grid(alpha=0.3)
    panels[0][0].set_ylabel("success, both tasks [%]")
    panels[0][0].legend(loc="lower right")
    drawing.tight_layout()
    drawing.savefig(path, dpi=110)
    plt.close(drawing)


def write(told: dict[str, Any], folder: Path) -> None:
    """Table, figure and JSON, and the table on the terminal."""
    text = table(told)
    print(text)
    head = (
        "# Practice without resets\n\n`python benchmarks/practice.py --save`. Success [%] of both tasks of a pair with 95 % "
        f"intervals over tasks, seeds and {told['episodes']} episodes. BC: demonstrations alone; 0k: before practice; BC and "
        "practice: BC of the successes of practice too, without prior data; help: full resets asked for in 1000 steps; false: "
        "successes of practice that were none; missed: true ones that were not seen.\n\n"
    )
    (folder / f"{NAME}.md").write_text(head + text + f"\n\n![curves]({NAME}.png)\n")
    (folder / f"{NAME}.json").write_text(json.dumps(told, indent=1) + "\n")
    figure(told, folder / f"{NAME}.png")
