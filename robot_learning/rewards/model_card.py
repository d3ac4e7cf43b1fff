"""The model card of a reward model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from robot_learning.rewards.embedded import EmbeddedReward
    from robot_learning.rewards.prompted import PromptedReward


def render(model: EmbeddedReward) -> str:
    """The card (README.md): what the model is, what it was trained on and how often it is wrong, for people."""
    what = f"""\
It looks at the cameras {", ".join(model.cameras)} and says how probable it is that the answer to a yes/no question is yes.
Frozen image features (EfficientNet-Lite0, trained on ImageNet) and a frozen sentence embedding (all-MiniLM-L6-v2) are joined
by {len(model.heads)} small heads, which were trained on the data below. It is no large vision-language model: it answers the
questions below and other wordings of them, for scenes like those of its data, and refuses the rest."""
    hint = """\
A share of false positives per frame is not one per episode: over many frames some answer is wrong. Ask for several frames
in a row.
"""
    title = f"A reward model for {len(model.questions)} questions"
    return _card(model, title, what, "episodes that the answering head had not seen") + hint


def render_prompted(model: PromptedReward, answerer: str) -> str:
    """The card of a model that asks in words; `answerer` says what answers, for people."""
    what = f"""\
It looks at the cameras {", ".join(model.cameras)}, in this order, and says how probable it is that the answer to a yes/no
question is yes. The questions below are calibrated, each by itself; any other question is asked as it stands, with the
calibration of all of them together, and nobody has measured how good that is."""
    return _card(model, f"A reward model that asks {answerer}", what, "held-out episodes")


def _card(model: EmbeddedReward | PromptedReward, title: str, what: str, judged_on: str) -> str:
    facts = {k: v for k, v in model.facts.items() if k != "quality"}
    rows = "\n".join(f"| {name} | {value} |" for name, value in facts.items())
    return f"""# {title}

{what}

| | |
|---|---|
{rows}
| yes from | P(yes) = {model.threshold:.3f} |
| no up to | P(yes) = {model.no_threshold:.3f} |

## Questions, and errors on {judged_on}
| question | yes | no | false positives | false negatives | AUC |
|---|---|---|---|---|---|
{_quality_rows(model)}

## Use
```python
from robot_learning.rewards import load_reward

reward = load_reward("<this folder>")
reward.probability({{"{model.cameras[0]}": picture}}, {model.questions[0]!r})  # picture: (H, W, 3) uint8 RGB
```
"""


def _quality_rows(model: EmbeddedReward | PromptedReward) -> str:
    quality: dict[str, dict[str, Any]] = model.facts.get("quality", {})
    lines = []
    for question in model.questions:
        entry = quality.get(question)
        if entry is None:
            lines.append(f"| {question} | | | | | |")
            continue
        rates = [percent(entry[key]) for key in ("false_positive_rate", "false_negative_rate", "auc")]
        lines.append(f"| {question} | {entry['yes']} | {entry['no']} | {' | '.join(rates)} |")
    return "\n".join(lines)


def percent(value: float | None) -> str:
    """`0.013` -> `1.3 %`; `-` for None."""
    return "-" if value is None else f"{100 * value:.1f} %"
