"""Progress bars: steps or episodes, rate, time left, and a few words on how it goes."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from robot_learning.training.interrupt import Stopped


class _Rate(ProgressColumn):
    """Units a second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        """The rate of the last seconds."""
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f} {self.unit}/s" if speed else f"- {self.unit}/s")


class ProgressBar:
    """A bar on a terminal; elsewhere (a log file, CI) a line every tenth of the way.

    Args:
        done: where a resumed job starts. unit: what is counted ("steps").
    """

    def __init__(self, title: str, total: int, unit: str, done: int = 0, console: Console | None = None) -> None:
        self.title, self.total, self.unit, self.done = title, total, unit, done
        self.console = console or Console(stderr=True)
        self._start, self._first, self._tenth = time.monotonic(), done, done * 10 // max(total, 1)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            _Rate(unit),
            TimeRemainingColumn(),
            TextColumn("{task.fields[words]}"),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self._task = self._bar.add_task(title, total=total, completed=done, words="")

    def __enter__(self) -> ProgressBar:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def update(self, done: int, words: str = "") -> None:
        """Show that `done` of the total are complete."""
        self.done = done
        self._bar.update(self._task, completed=done, words=words)
        tenth = done * 10 // max(self.total, 1)
        if not self.console.is_terminal and tenth > self._tenth:
            self._tenth = tenth
            self.console.print(
                f"{self.title} {done}/{self.total} {self.unit}, {self._words_of_time()} {words}".rstrip()
            )

    def _words_of_time(self) -> str:
        rate = (self.done - self._first) / max(time.monotonic() - self._start, 1e-9)
        left = max(self.total - self.done, 0)  # what is in progress at the end may go on past it
        return f"{rate:.1f}/s, {left / max(rate, 1e-9):.0f} s left"


class Preparation:
    """Bars for what comes before the first step, one after the other. Called with title, unit, how much is done, of how much.

    Args:
        stop: asked each time whether to give up what is being prepared.
    """

    def __init__(self, console: Console | None = None, stop: Callable[[], bool] = lambda: False) -> None:
        self.console, self.stop = console, stop
        self._bar: ProgressBar | None = None

    def __call__(self, title: str, unit: str, done: int, total: int) -> None:
        """Show it; a bar goes away when its total is reached.

        Raises:
            Stopped: `stop` said yes before that.
        """
        if self._bar is None:
            self._bar = ProgressBar(title, total, unit, console=self.console).__enter__()
        self._bar.update(done)
        stopped = done < total and self.stop()
        if stopped or done >= total:
            self._bar.__exit__(None, None, None)
            self._bar = None
        if stopped:
            raise Stopped
