"""The diary of practice on a robot."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from robot_learning.data.files import DatasetLockedError, DatasetWriteError
from robot_learning.training.practice_log import FILE, Entry, PracticeLog, read_entries
from robot_learning.training.practice_schedule import PERSON, Attempt
from robot_learning.training.run_state import RunError

OPEN = Entry("open the drawer", True, 40)
HELPED = Entry("close the drawer", False, 100, before=PERSON, true_success=True)
CUT = Entry("open the drawer", False, 7, saved=False, cut="holding: the e-stop is pressed")


@pytest.fixture
def log(tmp_path: Path) -> Iterator[PracticeLog]:
    log = PracticeLog(tmp_path)
    for entry in (OPEN, HELPED, CUT):
        log.add(entry)
    yield log
    log.close()


def test_it_is_read_as_it_was_written(log: PracticeLog, tmp_path: Path) -> None:
    log.close()
    assert PracticeLog(tmp_path).entries == [OPEN, HELPED, CUT]


def test_two_cannot_write_it(log: PracticeLog, tmp_path: Path) -> None:
    with pytest.raises(DatasetLockedError, match="is being written by process"):
        PracticeLog(tmp_path)
    assert read_entries(tmp_path) == [OPEN, HELPED, CUT]


def test_a_text_may_hold_any_character(tmp_path: Path) -> None:
    entries = [dataclasses.replace(OPEN, task=f"open{mark}the drawer") for mark in "\u2028\u2029\x85\x0b\x0c\x1c\r\n"]
    log = PracticeLog(tmp_path)
    for entry in entries:
        log.add(entry)
    assert read_entries(tmp_path) == entries


def test_it_counts_ticks_help_and_success(log: PracticeLog) -> None:
    assert (log.ticks, log.interventions, log.success()) == (147, 1, (1, 2))


def test_what_was_cut_off_is_no_failure(log: PracticeLog) -> None:
    assert log.past[:2] == [Attempt("open the drawer", True), Attempt("close the drawer", False, PERSON)]
    assert log.past[2] == Attempt("open the drawer", False, cut=True)


def test_a_line_that_a_kill_left_is_taken_out(log: PracticeLog, tmp_path: Path) -> None:
    log.close()
    with (tmp_path / FILE).open("ab") as file:
        file.write(b'{"task": "open the dr\xc3')
    again = PracticeLog(tmp_path)
    again.add(OPEN)
    assert read_entries(tmp_path) == [OPEN, HELPED, CUT, OPEN]


def test_who_only_reads_leaves_a_torn_line_where_it_is(log: PracticeLog, tmp_path: Path) -> None:
    with (tmp_path / FILE).open("ab") as file:
        file.write(b'{"task": "open')
    before = (tmp_path / FILE).read_bytes()
    assert read_entries(tmp_path) == [OPEN, HELPED, CUT] and (tmp_path / FILE).read_bytes() == before


WHOLE = dataclasses.asdict(OPEN)


@pytest.mark.parametrize(
    "line",
    [
        '{"what": 1}',
        "null",
        json.dumps({**WHOLE, "ticks": "40"}),
        json.dumps({**WHOLE, "ticks": None}),
        json.dumps({**WHOLE, "solved": 1}),
        json.dumps({**WHOLE, "task": ["open"]}),
        json.dumps({**WHOLE, "before": "nap"}),
    ],
)
def test_garbage_amid_the_lines_is_named(log: PracticeLog, tmp_path: Path, line: str) -> None:
    log.close()
    lines = (tmp_path / FILE).read_text().splitlines()
    (tmp_path / FILE).write_text("\n".join([lines[0], line, lines[2]]) + "\n")
    with pytest.raises(RunError, match="line 2"):
        PracticeLog(tmp_path)


def test_a_damaged_diary_that_was_mended_is_gone_on_with(log: PracticeLog, tmp_path: Path) -> None:
    log.close()
    whole = (tmp_path / FILE).read_text()
    (tmp_path / FILE).write_text("{}\n" + whole)
    with pytest.raises(RunError):
        PracticeLog(tmp_path)
    (tmp_path / FILE).write_text(whole)
    assert PracticeLog(tmp_path).entries == [OPEN, HELPED, CUT]


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file in its place")
    with pytest.raises(DatasetWriteError, match=r"run: expected a folder that can be written to"):
        PracticeLog(tmp_path / "run")


def test_a_disk_that_refuses_is_named(log: PracticeLog) -> None:
    log.path = Path("/dev/full")
    with pytest.raises(RunError, match=r"/dev/full.*No space left"):
        log.add(OPEN)
    assert log.entries == [OPEN, HELPED, CUT]
