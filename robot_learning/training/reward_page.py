"""The page of a reward model's evaluation: a table, and the pictures it got most wrong."""

from __future__ import annotations

import base64
import html
import io
import math
from pathlib import Path

from PIL import Image

from robot_learning.rewards import Quality
from robot_learning.training.reward_evaluation import Mistake, RewardEvaluation

PICTURE = 224  # [pixel]
STYLE = """body{font-family:sans-serif;max-width:72em;margin:2em auto;color:#222;background:#fafafa}
table{border-collapse:collapse}td,th{padding:.25em .8em;text-align:right;border-bottom:1px solid #ddd}
td:first-child,th:first-child{text-align:left}figure{display:inline-block;width:224px;margin:.4em;vertical-align:top}
figcaption{font-size:.8em}img{width:224px;image-rendering:pixelated}.p{color:#b02020}.n{color:#a06000}"""


def write_page(path: Path, title: str, result: RewardEvaluation) -> Path:
    """Write the page, one file with everything in it; returns `path`."""
    rows = "\n".join(_row(text, q) for text, q in [*result.questions.items(), ("all", result.all)])
    figures = "\n".join(_figure(mistake) for mistake in result.mistakes) or "<p>none</p>"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title><style>{STYLE}</style>
<h1>{html.escape(title)}</h1>
<p>{html.escape(summary_of_ends(result))} Yes from P(yes) = {result.threshold:.3f}.</p>
<table><tr><th>question</th><th>yes</th><th>no</th><th>false positives</th><th>false negatives</th><th>AUC</th>
<th>calibration error</th></tr>
{rows}
</table>
<h2>Most wrong</h2>
<p>Worst first; of neighbouring frames only the worst. <span class="p">Said yes where no was true</span>;
<span class="n">said no where yes was true</span>.</p>
{figures}
</html>""",
        encoding="utf-8",
    )
    return path


def summary_of_ends(result: RewardEvaluation) -> str:
    """What the errors would mean for practice."""
    return (
        f"With {result.consecutive} frames in a row as the rule, {result.false_ends} of {result.episodes} episodes would "
        f"have ended as a success when their task was not done, and {result.missed_ends} of {result.done} successes been missed."
    )


def columns(q: Quality) -> list[str]:
    """yes, no, false positives, false negatives, AUC, calibration error, as words."""
    rates = [_share(value) for value in (q.false_positive_rate, q.false_negative_rate, q.auc)]
    error = "-" if math.isnan(q.calibration_error) else f"{q.calibration_error:.3f}"
    return [str(q.yes), str(q.no), *rates, error]


def _share(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.1f} %"


def _row(text: str, q: Quality) -> str:
    return f"<tr><td>{html.escape(text)}</td>{''.join(f'<td>{c}</td>' for c in columns(q))}</tr>"


def _figure(mistake: Mistake) -> str:
    file = io.BytesIO()
    Image.fromarray(mistake.picture).resize((PICTURE, PICTURE), Image.Resampling.NEAREST).save(file, "PNG")
    data = base64.b64encode(file.getvalue()).decode()
    kind = "n" if mistake.truth else "p"
    where = f"{Path(mistake.root).name}, episode {mistake.episode}, frame {mistake.frame}"
    return (
        f'<figure><img alt="" src="data:image/png;base64,{data}"><figcaption><b>{html.escape(mistake.question)}</b><br>'
        f'<span class="{kind}">P(yes) = {mistake.probability:.2f}, true: {"yes" if mistake.truth else "no"}</span><br>'
        f"{html.escape(where)}</figcaption></figure>"
    )
