"""Verdict: from one P(yes) after the other to "done" or "not done", and a person's word, which wins."""

from __future__ import annotations

MODEL, PERSON = "model", "person"


class Verdict:
    """What is said of the task in this episode.

    It becomes "done" with `consecutive` frames in a row at or above the threshold, and stays so until P(yes) falls below a lower
    one (hysteresis). What a person says holds until `reset`, whatever the model sees.

    Attributes:
        success: the present verdict; None before the first. by: whose it is, "model" or "person"; empty before the first.
    """

    def __init__(self, consecutive: int) -> None:
        self.consecutive = consecutive
        self.reset()

    def reset(self) -> None:
        """A new episode: nothing is said of it yet."""
        self._in_a_row = 0
        self._done = False
        self.success: bool | None = None
        self.by = ""

    def lose_sight(self) -> None:
        """Frames are missing: those before do not count, and the model says nothing until it sees again."""
        self._in_a_row = 0
        self._done = False
        if self.by == MODEL:
            self.success, self.by = None, ""

    def see(self, probability: float, threshold: float, lower: float) -> bool:
        """Take the P(yes) of the next frame, with yes from `threshold` on and no longer done below `lower`."""
        self._in_a_row = self._in_a_row + 1 if probability >= threshold else 0
        if self._in_a_row >= self.consecutive:
            self._done = True
        elif probability < lower:
            self._done = False
        if self.by != PERSON:
            self.success, self.by = self._done, MODEL
        return bool(self.success)

    def say(self, success: bool) -> bool:
        """Take a person's word; returns whether the model had said otherwise."""
        disputed = self.by == MODEL and self.success != success
        self.success, self.by = success, PERSON
        return disputed
