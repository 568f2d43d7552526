"""When to record a training of which nothing is known beforehand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

PER_DOUBLING: Final = 32
"""Recorded steps for each doubling of the steps; the first twice as many are all recorded."""


def is_chosen(step: int) -> bool:
    """Say whether a step is recorded: ever fewer of them, yet never far from the end.

    Between two recorded steps lies at most a 32nd of the training so far, so wherever it ends,
    its last part has been seen; a million steps leave some 500 records.

    Example:
        >>> [step for step in range(140) if is_chosen(step)][28:]
        [28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49,
         50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63, 64, 66, 68, 70, 72, 74, 76, 78,
         80, 82, 84, 86, 88, 90, 92, 94, 96, 98, 100, 102, 104, 106, 108, 110, 112, 114, 116, 118,
         120, 122, 124, 126, 128, 132, 136]
    """
    return step % max(1, (1 << step.bit_length() - 1) // PER_DOUBLING) == 0 if step else True


class Counted:
    """A schedule that knows its name, and how many steps it has chosen."""

    def __init__(self, schedule: Callable[[int], bool], name: str) -> None:
        """Choose as `schedule` does."""
        self._schedule = schedule
        self._name = name
        self._last = -1
        self._n_chosen = 0
        self._is_chosen = False

    def __call__(self, step: int) -> bool:
        """Say whether a step is recorded."""
        if step != self._last:
            self._n_chosen += self._is_chosen  # of the step that is over
            self._last, self._is_chosen = step, self._schedule(step)
        return self._is_chosen

    def begin(self) -> None:
        """Count from the step that was asked for last.

        A recording that goes on asks for step 0 before it knows at which it begins.
        """
        self._n_chosen = 0

    def __str__(self) -> str:
        """The schedule as the user wrote it."""
        return self._name

    @property
    def n_chosen(self) -> int:
        """Recorded steps that are over."""
        return self._n_chosen
