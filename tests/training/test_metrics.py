from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from robot_learning.training.metrics import MetricsLog, read_metrics


def write(run: Path, steps: range, resume_step: int = 0) -> None:
    log = MetricsLog(run, resume_step)
    for step in steps:
        log.log(step, {"train/loss": 1.0 / step})
    log.close()


def test_rows_come_back(tmp_path: Path) -> None:
    write(tmp_path, range(1, 4))
    assert read_metrics(tmp_path)[1] == {"step": 2, "train/loss": 0.5}


def test_resuming_drops_what_came_after_the_save(tmp_path: Path) -> None:
    write(tmp_path, range(1, 10))
    write(tmp_path, range(5, 7), resume_step=4)
    assert [row["step"] for row in read_metrics(tmp_path)] == [1, 2, 3, 4, 5, 6]


def test_a_line_cut_short_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, range(1, 4))
    path = tmp_path / "metrics.jsonl"
    path.write_text(path.read_text()[:-9])
    assert [row["step"] for row in read_metrics(tmp_path)] == [1, 2]


def test_tensorboard_shows_the_same(tmp_path: Path) -> None:
    write(tmp_path, range(1, 4))
    board = EventAccumulator(str(tmp_path))
    board.Reload()
    assert [event.step for event in board.Scalars("train/loss")] == [1, 2, 3]
