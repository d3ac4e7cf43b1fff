"""A page of the pictures that a reward model was least sure of: a person answers there, and it makes the file for `--csv`."""

from __future__ import annotations

import base64
import html
import shlex
from collections.abc import Sequence
from pathlib import Path

from robot_learning.training.uncertain import (
    ANSWERED,
    PictureAnswer,
    Wanted,
    picture_file,
    read_picture_answers,
    read_wanted,
)

STYLE = """body{font-family:sans-serif;max-width:76em;margin:2em auto;color:#222;background:#fafafa}
section{display:inline-block;width:20em;margin:.5em;vertical-align:top;background:#fff;padding:.6em;border:1px solid #ddd}
img{max-width:100%;image-rendering:pixelated}fieldset{border:0;padding:.2em 0;margin:0}legend{font-size:.9em;padding:0}
small{color:#666}"""
SCRIPT = """function save(){const rows=['picture,question,answer'];
document.querySelectorAll('input:checked').forEach(i=>{if(!i.dataset.old)rows.push([i.dataset.picture,i.dataset.question,i.value]
.map(v=>'"'+v.replace(/"/g,'""')+'"').join(','))});
const a=document.createElement('a');a.href=URL.createObjectURL(new Blob([rows.join('\\n')+'\\n'],{type:'text/csv'}));
a.download='answers_of_mine.csv';a.click()}
document.addEventListener('change',e=>{document.getElementsByName(e.target.name).forEach(i=>delete i.dataset.old)})"""


def write_label_page(root: Path, questions: Sequence[str], path: Path, file: Path | None = None) -> Path:
    """Write the page for a folder of uncertain pictures, one file with everything in it; returns `path`.

    Args:
        questions: all that a picture can be asked; its own comes first, the others are folded. file: where they stand.

    Raises:
        LabelError: there is no such folder.
    """
    answered = read_picture_answers(root / ANSWERED)
    wanted = sorted(read_wanted(root), key=lambda w: (any(a.picture == w.picture for a in answered), w.margin))
    sections = "\n".join(_section(root, w, questions, answered) for w in wanted) or "<p>No picture waits.</p>"
    flags = [] if file is None else ["--questions", str(file)]
    command = shlex.join(
        ["robot-learning", "reward", "label", "--uncertain", str(root), *flags, "--csv", "answers_of_mine.csv"]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Pictures to answer</title><style>{STYLE}</style>
<h1>Pictures to answer</h1>
<p>Least sure first. Answer what you can see, for as many questions as you can, then <button onclick="save()">save the
answers</button> and run <code>{html.escape(command)}</code></p>
{sections}
<script>{SCRIPT}</script></html>""",
        encoding="utf-8",
    )
    return path


def _section(root: Path, wanted: Wanted, questions: Sequence[str], answered: Sequence[PictureAnswer]) -> str:
    images = "".join(_image(picture_file(root, wanted.picture, camera)) for camera in wanted.cameras)
    known = {a.question: a.answer for a in answered if a.picture == wanted.picture}
    own = _choice(wanted.picture, wanted.question, known)
    others = "".join(_choice(wanted.picture, text, known) for text in questions if text != wanted.question)
    return (
        f"<section>{images}{own}<small>{html.escape(wanted.picture)}: P(yes) {wanted.probability:.2f}, yes from "
        f"{wanted.threshold:.2f}</small><details><summary>other questions</summary>{others}</details></section>"
    )


def _image(file: Path) -> str:
    data = base64.b64encode(file.read_bytes()).decode() if file.is_file() else ""
    return f'<img alt="" src="data:image/png;base64,{data}">'


def _choice(picture: str, question: str, known: dict[str, int]) -> str:
    name, asked = html.escape(f"{picture} {question}"), html.escape(question)
    buttons = "".join(
        f'<label><input type="radio" name="{name}" data-picture="{html.escape(picture)}" data-question="{asked}" value="{word}"'
        f"{' checked data-old=1' if known.get(question) == value else ''}>{word}</label> "
        for word, value in (("yes", 1), ("no", 0), ("unknown", -1))
    )
    return f"<fieldset><legend>{asked}</legend>{buttons}</fieldset>"
