"""Hours of practice over ROS 2 in real time, and the same practice in one process: do the curves agree, is control on time?

    python benchmarks/practice_over_ros.py --job runs/demo --hours 2 --run runs/over_ros [--save] [--json]

Goes on from a finished `robot-learning demo`: its clone that practice began with, its reward model, its desk. First the graph
`practice` runs for so many hours at the robot's own pace, learner and all, on this machine, and the ticks of control are listened
to (see practice_ticks.py). Then as many ticks, or --alone of them, are practised in one process. Both are compared by the success
of practice, a hundred episodes at a time as the simulator knows it, and the policies they end with by fresh episodes, beside the
one they began with. What is finished is kept in --run and not repeated; hours over ROS 2 that were stopped begin anew.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from practice_ticks import LATE, measure

from robot_learning.training.demo_world import OneProcess
from robot_learning.training.intervals import bootstrap, wilson
from robot_learning.training.kept_evaluation import KeptEvaluation
from robot_learning.training.practice_log import Entry, read_entries

RESULTS, NAME = Path(__file__).parent / "results", "practice_over_ros"
TASKS = ("open_drawer", "close_drawer")
TEST_SEED = 970_000
BLOCK = 100  # episodes of practice whose success is one point of a curve
ROS, ALONE = "over ROS 2", "in one process"


def over_ros(args: argparse.Namespace, run: Path) -> dict[str, Any]:
    """Ticks of the hours over ROS 2, which are practised unless they are there."""
    known = run / "ticks.json"
    if not known.exists():
        shutil.rmtree(run, ignore_errors=True)
        run.mkdir(parents=True)
        told = measure(args.job, run, args.furniture, 3600 * args.hours, 10.0)
        known.write_text(json.dumps({**told, "hours": args.hours}))
    found: dict[str, Any] = json.loads(known.read_text())
    return found


def blocks(entries: list[Entry]) -> list[dict[str, Any]]:
    """Success of practice, `BLOCK` episodes at a time: ticks so far, successes by task."""
    whole, ticks, found = [entry for entry in entries if not entry.cut], 0, []
    for start in range(0, len(whole) - BLOCK + 1, BLOCK):
        part = whole[start : start + BLOCK]
        ticks += sum(entry.ticks for entry in part)
        tasks = {
            task: [sum(bool(e.true_success) for e in part if e.task == task), sum(e.task == task for e in part)]
            for task in sorted({entry.task for entry in part})
        }
        solved = sum(bool(entry.true_success) for entry in part)
        found.append({"ticks": ticks, "success": solved / BLOCK, "interval": wilson(solved, BLOCK), "tasks": tasks})
    return found


def practised(entries: list[Entry]) -> dict[str, Any]:
    """What practice took, and how far the judge was wrong."""
    whole = [entry for entry in entries if not entry.cut]
    return {
        "episodes": len(whole),
        "cut_off": len(entries) - len(whole),
        "ticks": sum(entry.ticks for entry in whole),
        "interventions": sum(entry.before == "person" for entry in whole),
        "said": sum(entry.solved for entry in whole),
        "false": sum(entry.solved and not entry.true_success for entry in whole),
        "blocks": blocks(entries),
    }


def evaluated(args: argparse.Namespace, policies: dict[str, Path]) -> dict[str, Any]:
    """Fresh episodes of each policy, the same starts, and what each gained on the first."""
    solved, told = {}, {}
    for name, policy in policies.items():
        kept = KeptEvaluation(
            args.run / f"{name.replace(' ', '_')}.json", policy, TASKS, args.episodes, TEST_SEED, args.furniture
        )
        kept.run(args.processes)
        result = kept.result()
        seeds = range(TEST_SEED, TEST_SEED + args.episodes)
        solved[name] = np.array([[seed not in result.tasks[task].failed_seeds for seed in seeds] for task in TASKS])
        gain = (solved[name].astype(float) - next(iter(solved.values()))).ravel()
        told[name] = {
            "successes": dict(zip(TASKS, solved[name].sum(axis=1).tolist(), strict=True)),
            "interval": wilson(int(solved[name].sum()), solved[name].size),
            "gain": float(gain.mean()),
            "gain_interval": bootstrap(gain),
        }
    return told


def text(told: dict[str, Any], flags: str) -> str:
    """Markdown; `flags` are those that made it."""
    ticks, episodes = told["ticks"], told["episodes"]
    lines = [
        "# Practice over ROS 2, and the same in one process",
        "",
        f"`python benchmarks/practice_over_ros.py --job runs/demo {flags} --save`. Success of practice by the simulator, "
        f"{BLOCK} episodes at a time, in per cent, with Wilson's 95 % intervals in the figure.",
        "",
        "| | episodes (cut off) | ticks | help | false successes | success of practice |",
        "|---|---|---|---|---|---|",
    ]
    for name in (ROS, ALONE):
        of = told[name]
        rates = ", ".join(f"{100 * block['success']:.0f}" for block in of["blocks"])
        lines.append(
            f"| {name} | {of['episodes']} ({of['cut_off']}) | {of['ticks']} | {of['interventions']} | "
            f"{of['false']} of {of['said']} | {rates} |"
        )
    lines += ["", f"| {episodes} fresh episodes of each task | open | close | gain [points] |", "|---|---|---|---|"]
    for name, of in told["evaluated"].items():
        low, high = (100 * bound for bound in of["gain_interval"])
        gain = f"{100 * of['gain']:+.0f} ({low:+.0f} to {high:+.0f})" if of["gain"] or low != high else ""
        lines.append(f"| {name} | {of['successes'][TASKS[0]]} | {of['successes'][TASKS[1]]} | {gain} |")
    lines += [
        "",
        f"The beat of control over {ticks['hours']:.2g} hours: {ticks['ticks']} ticks, {ticks['while_training']} of them while "
        f"the learner trained; {ticks['late_share']:.2%} came more than {1e3 * LATE:.0f} ms late "
        f"({ticks['late_share_training']:.2%} of those); "
        f"gaps {ticks['gap_ms_p50']:.0f} ms at the median, {ticks['gap_ms_p99']:.0f} ms at the 99th percentile.",
        "",
        f"![curves]({NAME}.png)",
        "",
    ]
    return "\n".join(lines)


def figure(told: dict[str, Any], path: Path) -> None:
    """Both curves."""
    drawing, panel = plt.subplots(figsize=(7, 3.6))
    for name in (ROS, ALONE):
        points = told[name]["blocks"]
        at = [point["ticks"] for point in points]
        panel.plot(at, [100 * point["success"] for point in points], marker="o", label=name)
        low, high = ([100 * point["interval"][k] for point in points] for k in (0, 1))
        panel.fill_between(at, low, high, alpha=0.15)
    panel.set(xlabel="control ticks of practice", ylabel="success of practice [%]", ylim=(0, 102))
    panel.grid(alpha=0.3)
    panel.legend(loc="lower right")
    drawing.tight_layout()
    drawing.savefig(path, dpi=110)
    plt.close(drawing)


def main() -> None:
    """What is missing, then the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--job", type=Path, default=Path("runs/demo"), help="a finished `robot-learning demo`")
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--run", type=Path, default=Path("runs/over_ros"))
    parser.add_argument("--alone", type=int, default=0, help="ticks in one process; 0: as many as over ROS 2")
    parser.add_argument("--furniture", type=int, default=0, help="of the job")
    parser.add_argument("--episodes", type=int, default=100, help="of each task, at the end")
    parser.add_argument("--processes", type=int, default=2, help="that evaluate")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    parser.add_argument("--save", action="store_true", help=f"write table, figure and JSON to {RESULTS.name}/")
    args = parser.parse_args()
    begins, ros, alone = args.job / "pretrain", args.run / "ros", args.run / "alone"
    told: dict[str, Any] = {"ticks": over_ros(args, ros), "episodes": args.episodes}
    told[ROS] = practised(read_entries(ros))
    world = OneProcess(96)
    ticks = args.alone or told[ROS]["ticks"]
    world.practise(alone, begins, args.job / "reward", TASKS, ticks, 0, args.furniture)
    told[ALONE] = practised(world.entries(alone))
    last = Path("checkpoints") / "last"
    told["evaluated"] = evaluated(args, {"the clone": begins / last, ROS: ros / last, ALONE: alone / last})
    folder = RESULTS if args.save else args.run
    written = text(told, f"--hours {args.hours:g} --alone {args.alone} --episodes {args.episodes}")
    (folder / f"{NAME}.md").write_text(written)
    (folder / f"{NAME}.json").write_text(json.dumps(told, indent=1) + "\n")
    figure(told, folder / f"{NAME}.png")
    print(written)
    if args.json:
        print(json.dumps(told))


if __name__ == "__main__":
    main()
