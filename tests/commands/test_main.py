import subprocess
import sys
from pathlib import Path

import pytest

import robot_learning
from robot_learning.commands import main as cli
from robot_learning.errors import UserError

FAKE_VERB = '''"""{summary}

More words.
"""
from dataclasses import dataclass
from robot_learning.errors import UserError

@dataclass(frozen=True)
class Config:
    """Flags."""
    number: int = 1
    """A number."""

def run(config: Config) -> int:
    {body}
'''


@pytest.fixture
def give_verb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Adds a verb module whose `run` has this body, for this test only."""

    def add(stem: str, body: str, summary: str = "Does it.") -> None:
        (tmp_path / f"{stem}.py").write_text(FAKE_VERB.format(body=body, summary=summary))
        monkeypatch.setattr("robot_learning.commands.__path__", [str(tmp_path)])
        real, real_summary = cli.verbs, cli.summary
        monkeypatch.setattr(cli, "verbs", lambda folder=None: real(folder or tmp_path))
        monkeypatch.setattr(cli, "summary", lambda module, folder=None: real_summary(module, folder or tmp_path))
        monkeypatch.delitem(sys.modules, f"robot_learning.commands.{stem}", raising=False)

    yield add
    for stem in [path.stem for path in tmp_path.glob("*.py")]:
        sys.modules.pop(f"robot_learning.commands.{stem}", None)


def test_every_module_is_a_verb() -> None:
    assert {"demo", "doctor"} <= cli.verbs().keys()


def test_main_and_private_modules_are_no_verbs(tmp_path: Path) -> None:
    for name in ("main", "__init__", "_shared", "train"):
        (tmp_path / f"{name}.py").touch()
    assert cli.verbs(tmp_path) == {"train": "train"}


def test_an_underscore_nests_a_verb(tmp_path: Path) -> None:
    (tmp_path / "dataset_export_minari.py").touch()
    assert cli.verbs(tmp_path) == {"dataset export-minari": "dataset_export_minari"}


def test_every_verb_says_in_one_line_what_it_does() -> None:
    assert [verb for verb, module in cli.verbs().items() if not cli.summary(module).endswith(".")] == []


@pytest.mark.parametrize("module", cli.verbs().values())
def test_every_verb_shows_its_options(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    verb = next(typed for typed, found in cli.verbs().items() if found == module)
    with pytest.raises(SystemExit) as stop:
        cli.main([*verb.split(), "--help"])
    assert stop.value.code == 0
    assert f"usage: robot-learning {verb}" in capsys.readouterr().out


def test_help_lists_the_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == cli.OK
    assert "doctor" in capsys.readouterr().out


def test_help_does_not_import_torch() -> None:
    code = (
        "import sys; from robot_learning.commands.main import main; main(['--help']); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_nothing_shows_help_as_misuse(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == cli.MISUSE
    assert "usage:" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == cli.OK
    assert robot_learning.__version__ in capsys.readouterr().out


def test_the_version_is_that_of_the_package() -> None:
    text = (Path(__file__).parents[2] / "package.xml").read_text()
    assert f"<version>{robot_learning.__version__}</version>" in text


def test_unknown_verb_lists_the_valid_ones_and_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["docter"]) == cli.MISUSE
    message = capsys.readouterr().err
    assert "did you mean 'doctor'?" in message and "demo, doctor" in message


def test_unknown_verb_of_a_group_lists_the_group(give_verb, capsys: pytest.CaptureFixture[str]) -> None:
    give_verb("dataset_info", "return 0")
    give_verb("train", "return 0")
    assert cli.main(["dataset", "inof"]) == cli.MISUSE
    assert capsys.readouterr().err == (
        "robot-learning: there is no verb 'dataset inof'; did you mean 'dataset info'?\nvalid verbs: dataset info\n"
    )


@pytest.mark.parametrize(
    ("typed", "proposed"),
    [
        (["datset"], "dataset"),
        (["datset", "--help"], "dataset"),
        (["datset", "info"], "dataset info"),
        (["datset", "inof"], "dataset info"),
        (["dataset_view"], "dataset view"),
        (["contrat", "check"], "contract check"),
        (["dataset", "veiw"], "dataset view"),
        (["docter", "--json"], "doctor"),
        (["docter", "now"], "doctor"),
        (["evaluat", "runs/mine"], "evaluate"),
    ],
)
def test_a_mistyped_verb_or_group_is_proposed(
    typed: list[str], proposed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(typed) == cli.MISUSE
    assert f"did you mean {proposed!r}?" in capsys.readouterr().err


def test_a_group_is_not_proposed_to_who_typed_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["dataset", "zzzzzzzzzzzz"]) == cli.MISUSE
    message = capsys.readouterr().err
    assert "did you mean" not in message and "valid verbs: dataset check" in message


def test_a_group_alone_lists_its_verbs(give_verb, capsys: pytest.CaptureFixture[str]) -> None:
    give_verb("dataset_info", "return 0", summary="Prints it.")
    assert cli.main(["dataset"]) == cli.MISUSE
    assert "dataset info  Prints it." in capsys.readouterr().err


def test_flags_reach_the_verb_and_its_exit_code_comes_back(give_verb) -> None:
    give_verb("count", "return config.number")
    assert cli.main(["count", "--number", "7"]) == 7


def test_nested_verb_runs(give_verb) -> None:
    give_verb("dataset_info", "return config.number")
    assert cli.main(["dataset", "info", "--number", "3"]) == 3


def test_a_wrong_flag_is_misuse(give_verb, capsys: pytest.CaptureFixture[str]) -> None:
    give_verb("count", "return 0")
    with pytest.raises(SystemExit) as stop:
        cli.main(["count", "--nmuber", "7"])
    assert stop.value.code == cli.MISUSE
    assert "--nmuber" in capsys.readouterr().err


def test_a_user_error_has_no_traceback(give_verb, capsys: pytest.CaptureFixture[str]) -> None:
    give_verb("fail", "raise UserError('the lid is open; close it')")
    assert cli.main(["fail"]) == cli.MISUSE
    assert capsys.readouterr().err == "robot-learning: the lid is open; close it\n"


def test_debug_shows_the_traceback(give_verb) -> None:
    give_verb("fail", "raise UserError('the lid is open')")
    with pytest.raises(UserError, match="the lid is open"):
        cli.main(["--debug", "fail"])


def test_a_bug_keeps_its_traceback(give_verb) -> None:
    give_verb("bug", "return 1 // 0")
    with pytest.raises(ZeroDivisionError):
        cli.main(["bug"])


def test_interruption(give_verb, capsys: pytest.CaptureFixture[str]) -> None:
    give_verb("wait", "raise KeyboardInterrupt")
    assert cli.main(["wait"]) == cli.INTERRUPTED
    assert capsys.readouterr().err == "\nrobot-learning: interrupted\n"


def test_a_full_disk_is_said_in_words(give_verb, capsys: pytest.CaptureFixture[str]) -> None:
    give_verb("fill", "import errno; raise OSError(errno.ENOSPC, 'No space left on device', '/big/file')")
    assert cli.main(["fill"]) == cli.FAILURE
    assert "the disk is full at /big/file" in capsys.readouterr().err


def test_a_path_that_the_system_refuses_is_said_in_a_line(give_verb, capsys: pytest.CaptureFixture[str]) -> None:
    give_verb("write", "raise PermissionError(13, 'Permission denied', '/theirs/.writer.lock')")
    assert cli.main(["write"]) == cli.MISUSE
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "/theirs/.writer.lock: expected" in told
    assert "Permission denied" in told and "another folder" in told and "permission to read and write" in told


def test_debug_shows_the_traceback_of_a_refused_path(give_verb) -> None:
    give_verb("write", "raise PermissionError(13, 'Permission denied', '/theirs/.writer.lock')")
    with pytest.raises(PermissionError):
        cli.main(["--debug", "write"])


def test_an_error_of_the_system_without_a_path_keeps_its_traceback(give_verb) -> None:
    give_verb("ask", "raise ConnectionRefusedError(111, 'Connection refused')")
    with pytest.raises(ConnectionRefusedError):
        cli.main(["ask"])


def test_a_file_in_the_place_of_a_folder_is_said_in_a_line(
    give_verb, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "README.md").touch()
    give_verb("make", f"from pathlib import Path; Path({str(tmp_path / 'README.md')!r}).mkdir(exist_ok=True); return 0")
    assert cli.main(["make"]) == cli.MISUSE
    assert f"{tmp_path / 'README.md'}: expected" in (told := capsys.readouterr().err) and "File exists" in told


def test_a_reader_that_leaves_is_no_error(tmp_path: Path) -> None:
    code = "import sys; from robot_learning.commands.main import main; sys.exit(main(['doctor', '--json']))"
    command = f'{sys.executable} -c "{code}" 2>{tmp_path / "err"} | true'
    subprocess.run(command, shell=True, check=True)
    assert "Traceback" not in (tmp_path / "err").read_text()
