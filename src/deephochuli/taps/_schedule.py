"""Which steps to look at."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from deephochuli.errors import TapError

Schedule = Callable[[int], bool]

_HELP: Final = (
    "Expected a number n (every n-th step), 'log' (0-9, 10, 20, ... 100, 200, ...), ranges like "
    "'0:100,1000:2000:10,5000:' (first:end or first:end:every, end not included), a collection "
    "of steps, or a function of the step that returns True or False."
)


def parse_schedule(spec: int | str | Iterable[int] | Schedule) -> Schedule:
    """Turn what a user writes into a function that says whether a step is looked at.

    Args:
        spec: A number n for every n-th step, counted from step 0; ``"log"`` for ten steps per
            decade; ranges such as ``"0:100,1000:2000:10"``; a collection of steps; or a function.

    Returns:
        A function from the step to True or False.

    Raises:
        TapError: The specification cannot be read or can never choose a step.

    Example:
        >>> is_chosen = parse_schedule("0:3,10:20:5")
        >>> [step for step in range(30) if is_chosen(step)]
        [0, 1, 2, 10, 15]
    """
    if callable(spec):
        return _checked(spec)
    if isinstance(spec, str):
        return _parse_text(spec.strip())
    if isinstance(spec, int):
        return _every(spec, spec)
    return _members(spec)


def _checked(function: Schedule) -> Schedule:
    def is_chosen(step: int) -> bool:
        return bool(function(step))

    return is_chosen


def _parse_text(text: str) -> Schedule:
    if text == "log":
        return _is_round
    if _is_number(text):
        return _every(int(text), text)
    ranges = [_parse_range(part.strip(), text) for part in text.split(",")]
    return lambda step: any(step in chosen for chosen in ranges)


def _every(n: int, spec: object) -> Schedule:
    if isinstance(spec, bool) or n < 1:
        raise TapError(f"Schedule {spec!r} chooses no step. {_HELP}")
    return lambda step: step % n == 0


def _is_round(step: int) -> bool:
    """Say whether all digits but the first are zero."""
    while step >= 10 and step % 10 == 0:
        step //= 10
    return 0 <= step < 10


def _members(steps: Iterable[Any]) -> Schedule:
    try:
        chosen = frozenset(steps)
    except TypeError:
        raise TapError(f"Schedule {steps!r} cannot be read. {_HELP}") from None
    if not chosen or not all(isinstance(step, int) and step >= 0 for step in chosen):
        raise TapError(f"Schedule {steps!r} is no collection of steps, 0 or more. {_HELP}")
    return chosen.__contains__


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _parse_range(part: str, text: str) -> range:
    """Read ``first:end`` or ``first:end:every``; first and end may be left out."""
    fields = part.split(":")
    if not 2 <= len(fields) <= 3 or not all(_is_number(field) or not field for field in fields):
        raise TapError(f"Cannot read {part!r} in schedule {text!r}. {_HELP}")
    numbers = [int(field) if field else None for field in fields] + [None]
    first, end, every = numbers[0] or 0, numbers[1], numbers[2]
    if every == 0 or (end is not None and end <= first):
        raise TapError(f"The range {part!r} in schedule {text!r} contains no step. {_HELP}")
    return range(first, 2**63 if end is None else end, every or 1)
