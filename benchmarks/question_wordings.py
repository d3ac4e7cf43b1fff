"""How often a wording that no reward model was trained on is mapped to the question it asks, or refused when it asks another.

    python benchmarks/question_wordings.py --json

The wordings are in question_wordings.yaml; those under "choice" served to choose the cut-off and the contrast words.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import yaml

from robot_learning import paths
from robot_learning.rewards import QuestionBook, QuestionError, load_questions
from robot_learning.rewards.embedded import make_book

NONE = "none"


def meant_by(book: QuestionBook, wording: str) -> str:
    """The question a wording is mapped to, "not" in front when its answer is turned round; "none" when it is refused."""
    try:
        match = book.match(wording)
    except QuestionError:
        return NONE
    return f"{'not ' if match.negated else ''}{book.texts[match.index]}"


def count(book: QuestionBook, part: dict[str, list[str]]) -> dict[str, int]:
    """Of the wordings of known questions: mapped right, refused, mapped wrongly. Of others: refused, mapped."""
    counts = {"known": 0, "right": 0, "refused": 0, "wrong": 0, "unknown": 0, "unknown_refused": 0}
    for question, wordings in part.items():
        for wording in wordings:
            found = meant_by(book, wording)
            if question == NONE:
                counts["unknown"] += 1
                counts["unknown_refused"] += found == NONE
            else:
                counts["known"] += 1
                counts["right" if found == question else "refused" if found == NONE else "wrong"] += 1
            if found != question:
                print(f"{wording!r}: {found!r}, expected {question!r}")
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    args = parser.parse_args()
    book = make_book(load_questions(paths.config("questions", "playroom.yaml")))
    parts = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text())
    result = {name: count(book, part) for name, part in parts.items()}
    for name, c in result.items():
        print(
            f"{name}: {c['right']} of {c['known']} mapped right, {c['wrong']} wrongly, {c['refused']} refused; "
            f"{c['unknown_refused']} of {c['unknown']} unknown questions refused"
        )
    if args.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
