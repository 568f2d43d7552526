"""Recording more when something happens, with the steps before it.

Rows are written late: they wait in a ring until as many watched steps have followed as are wanted
before an event. Then a step that the schedule asked for is written, and any other is forgotten. If
something happens meanwhile, everything in the ring is written, and so are the steps that follow.
Steps must be counted before anybody knows whether they will be wanted, so watching costs as much as
recording; only the disk is spared. ``watch`` thins it out.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from deephochuli.errors import TapError, near_matches, say
from deephochuli.formats import format_of_dtype
from deephochuli.kernels import INFINITY, MAGNITUDE, key_of
from deephochuli.store import StepRow, TapRow

Trigger = Callable[[StepRow, Sequence[TapRow]], str | None]
"""Looks at one step; says what has happened, or None."""

SWAMPED_SHARE = 0.25
UNDERFLOW_SHARE = 0.10
MOST_EVENTS = 32
"""Events after which a run is no longer watched: whatever goes on then is no event."""


@dataclass(frozen=True, slots=True)
class Watch:
    """What to watch for, and how much to record around it.

    Attributes:
        on: Names of `TRIGGERS`, or functions of a step and its taps that return a text when
            something has happened.
        steps: Which steps to watch: a schedule as for ``every``. Watched steps are counted.
        before: Watched steps to record before the event.
        after: Steps to record after it, all of them.
    """

    on: tuple[str | Trigger, ...] = ("nonfinite", "loss-spike", "swamped", "underflow")
    steps: int | str | Iterable[int] | Callable[[int], bool] = 1
    before: int = 8
    after: int = 8


class FirstNonfinite:
    """An infinity or a NaN at a place that had none before."""

    def __init__(self) -> None:
        """Begin with no place known."""
        self._known: set[tuple[str, str]] = set()

    def __call__(self, step: StepRow, taps: Sequence[TapRow]) -> str | None:
        """Name the first place in the order of execution."""
        new = [row for row in taps if _has_nonfinite(row) and _name(row) not in self._known]
        self._known.update(map(_name, new))
        return f"inf or nan at {new[0].layer} {new[0].quantity}" if new else None


class LossSpike:
    """A loss that is not finite, or far above the last ones.

    Far means: above the median of the last 32 watched losses by more than ten times their median
    distance from it, and by more than a tenth of it.
    """

    def __init__(self) -> None:
        """Begin with no loss known."""
        self._losses: deque[float] = deque(maxlen=32)

    def __call__(self, step: StepRow, taps: Sequence[TapRow]) -> str | None:
        """Compare one loss with the last ones, if it was told."""
        loss = step.loss
        if loss is None:
            return None
        if not math.isfinite(loss):
            return f"loss {loss}"
        said = None
        if len(self._losses) >= 8:
            middle = statistics.median(self._losses)
            spread = statistics.median(abs(known - middle) for known in self._losses)
            if loss > middle + max(10 * spread, 0.1 * abs(middle)):
                said = f"loss {loss:.4g} after a median of {middle:.4g}"
        self._losses.append(loss)
        return said


class FirstAbove:
    """A share that exceeds a limit at a place where it has not done so before."""

    def __init__(self, what: str, share: Callable[[TapRow], float], limit: float) -> None:
        """Watch `share` of each row; NaN where the question does not arise."""
        self._what, self._share, self._limit = what, share, limit
        self._known: set[tuple[str, str]] = set()

    def __call__(self, step: StepRow, taps: Sequence[TapRow]) -> str | None:
        """Name the place where it is worst."""
        shares = {_name(row): self._share(row) for row in taps}
        new = {
            name: share
            for name, share in shares.items()
            if share > self._limit and name not in self._known
        }
        self._known.update(new)
        if not new:
            return None
        layer, quantity = max(new, key=lambda name: new[name])
        return f"{100 * new[layer, quantity]:.3g} % {self._what} at {layer} {quantity}"


def swamped_share(row: TapRow) -> float:
    """Share of the updatable elements that did not move; NaN for rows that are no update."""
    if row.n_updatable is None or row.n_unmoved is None or not row.n_updatable:
        return math.nan
    return row.n_unmoved / row.n_updatable


def subnormal_share(row: TapRow) -> float:
    """Share of the nonzero finite gradients that are subnormal; NaN for other rows."""
    if row.quantity not in {"g", "dz", "da"} or row.dtype == "mixed":
        return math.nan
    magnitude = row.key & MAGNITUDE
    nonzero = (magnitude > 0) & (magnitude < INFINITY)
    total = int(row.count[nonzero].sum())
    limit = key_of(format_of_dtype(row.dtype).smallest_normal)
    return int(row.count[nonzero & (magnitude < limit)].sum()) / total if total else math.nan


TRIGGERS: Final[dict[str, Callable[[], Trigger]]] = {
    "nonfinite": FirstNonfinite,
    "loss-spike": LossSpike,
    "swamped": lambda: FirstAbove("of the updates swamped", swamped_share, SWAMPED_SHARE),
    "underflow": lambda: FirstAbove("of the gradients subnormal", subnormal_share, UNDERFLOW_SHARE),
}
"""What can be watched for by name. The limits are those of the findings of the same kind."""


def trigger_of(given: str | Trigger) -> Trigger:
    """A trigger by its name, or the function that was given.

    Raises:
        TapError: There is no trigger of that name.
    """
    if not isinstance(given, str):
        return given
    if given not in TRIGGERS:
        raise TapError(
            f"There is no trigger {given!r}. {near_matches(given, TRIGGERS)} A function of a step "
            "and its taps will do as well."
        )
    return TRIGGERS[given]()


class Ring:
    """Stands between the recorder and the writer, and decides late what is written."""

    def __init__(
        self,
        watch: Watch,
        every: Callable[[int], bool],
        watched: Callable[[int], bool],
    ) -> None:
        """Take the steps that `every` picks, and around events also those that are `watched`."""
        self._triggers = [trigger_of(given) for given in watch.on]
        self._before, self._after = max(0, watch.before), max(0, watch.after)
        self._every, self._watched = every, watched
        self._write: Callable[[StepRow, Sequence[TapRow]], None] = lambda _step, _taps: None
        self._remark: Callable[[int, str], None] = lambda _step, _text: None
        self._ring: deque[tuple[StepRow, Sequence[TapRow], bool]] = deque()
        self._due: set[int] = set()
        self._until = -1
        self._n_events = 0

    def connect(
        self,
        write: Callable[[StepRow, Sequence[TapRow]], None],
        remark: Callable[[int, str], None],
    ) -> None:
        """Learn who takes the steps that are wanted, and who the text of each event."""
        self._write, self._remark = write, remark

    def is_counted(self, step: int) -> bool:
        """Whether a step must be counted; asked once for each step, in order."""
        if self._every(step):
            self._due.add(step)
        return step in self._due or step <= self._until or self._watched(step)

    def take(self, step: StepRow, taps: Sequence[TapRow]) -> None:
        """Take one step that was counted."""
        is_due = step.step in self._due or step.step <= self._until
        self._due.discard(step.step)
        self._ring.append((step, taps, is_due))
        events = self._events(step, taps)
        if events:
            self._until = max(self._until, step.step + self._after)
            self._empty(everything=True)
            for event in events:
                self._remark(step.step, event)
        while len(self._ring) > self._before:
            self._let_go()

    def close(self) -> None:
        """Write what the schedule asked for."""
        self._empty(everything=False)

    def _empty(self, *, everything: bool) -> None:
        while self._ring:
            self._let_go(wanted=everything)

    def _let_go(self, *, wanted: bool = False) -> None:
        step, taps, is_due = self._ring.popleft()
        if wanted or is_due:
            self._write(step, taps)

    def _events(self, step: StepRow, taps: Sequence[TapRow]) -> list[str]:
        """What the triggers say; one that fails is asked no more."""
        said: list[str] = []
        for trigger in list(self._triggers):
            try:
                text = trigger(step, taps)
            except Exception as error:  # it may be a function of the user's
                self._triggers.remove(trigger)
                say(
                    f"A trigger failed at step {step.step} and is asked no more; recording goes "
                    f"on. Cause: {type(error).__name__}: {error}"
                )
                continue
            if text:
                said.append(text)
        self._n_events += bool(said)
        if self._n_events >= MOST_EVENTS:
            self._triggers.clear()
        return said


def _name(row: TapRow) -> tuple[str, str]:
    return row.layer, row.quantity


def _has_nonfinite(row: TapRow) -> bool:
    return bool(((row.key & MAGNITUDE) >= INFINITY).any())
