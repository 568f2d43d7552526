"""Walk a segment through a program: rows are breakpoints, and every step moves all of them.

Between two neighbouring rows every value is affine. An affine step is one product for all rows.
Where a unit changes its side between two rows, a row is inserted by interpolation, and the unit is
set to its knot there exactly, which keeps later steps from finding the same bend again.

The values at the rows, joined linearly, are a function of their own: the model. A bound on how far
the true function is from it goes along with every row, and holds between the rows too. What is
closer to a knot than the bound is written down as an event; `_certificate` decides what can be
known.

Rows are cut into chunks whenever there are too many, and each chunk is finished before the next is
begun, so memory does not grow with the count. A chunk has one more cell on its left, whose rows are
not its own, so that each of its rows has both neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise, repeat
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from deephochuli.pieces._affine import Rows
from deephochuli.pieces._bend import bent
from deephochuli.pieces._bends import Elementwise, Maximum
from deephochuli.pieces._chain import Beginning, Bends, Chains, Judged, begun, chains, followed
from deephochuli.pieces._envelope import maximal
from deephochuli.pieces._events import Events, joined, none
from deephochuli.pieces._insert import halved
from deephochuli.pieces._memory import BLOCK, recycling
from deephochuli.pieces._moves import Prepared, moved
from deephochuli.pieces._program import Program
from deephochuli.pieces._state import Column, State, Value

_FEW = 16
"""A state with fewer rows has its cells parted before it is cut."""
_MOST_ROWS = 1 << 14
"""Narrow programs have more columns of bounds and places than values."""
_Kind = TypeVar("_Kind")
Report = Callable[[float, int], None]
"""Told the finished share of the segment, and the number of rows found, now and then."""


@dataclass(frozen=True, slots=True, eq=False)
class Trail:
    """Everything a walk found.

    Attributes:
        t: Breakpoints of the model inside of the segment, ascending.
        step: Step of the unit that bends at each.
        unit: That unit.
        jump: Largest change of the slope of an output at each, by magnitude, per unit of t; nan
            where jumps were not asked for.
        jump_error: Bound on its error.
        events: Where units may bend.
        error: Largest bound on the error of the outputs at any row.
        until: Whatever other chunks find later, does not reach to the left of this.
    """

    t: Column
    step: NDArray[np.int32]
    unit: NDArray[np.int32]
    jump: Column
    jump_error: Column
    events: Events
    error: float
    until: float

    def part(self, bends: slice, events: Events) -> Trail:
        """Some of the bends, and what is known of these."""
        columns = self.t[bends], self.step[bends], self.unit[bends]
        jumps = self.jump[bends], self.jump_error[bends]
        return Trail(*columns, *jumps, events, self.error, self.until)


def walk(
    program: Program,
    prepared: tuple[Prepared, ...],
    ends: Rows,
    *,
    linked: Chains | None = None,
    most_bytes: int = 1 << 28,
    report: Report | None = None,
) -> Iterator[Trail]:
    """Find all bends of a program between two inputs, chunk by chunk, from left to right.

    Args:
        program: What is evaluated.
        prepared: What was found once for each of its steps.
        ends: Both inputs, shape (2, numel).
        linked: The chains among the steps; found here when they are not given.
        most_bytes: About how much memory the rows may take.
        report: Told how far it is.
    """
    linked = chains(program, prepared) if linked is None else linked
    walker = _Walker(program, prepared, linked, most_bytes, report)
    yield from _recycled(walker.finish(_start(ends), 0, np.inf, []))


def walks(
    program: Program,
    prepared: tuple[Prepared, ...],
    segments: Rows,
    *,
    linked: Chains,
    takes_open: bool,
    most_bytes: int = 1 << 28,
    report: Report | None = None,
) -> Iterator[Judged | Iterator[Trail]]:
    """Do the same on many segments, in few calls as far as a chain goes.

    Args:
        program: What is evaluated.
        prepared: What was found once for each of its steps.
        segments: Both ends of each, shape (segments, 2, numel).
        linked: The chains among the steps.
        takes_open: Whether bends that may or may not reach the output are left so.
        most_bytes: About how much memory the rows of one may take.
        report: Told how far each is.

    Yields:
        For each segment all that there is to know, or what `walk` yields, which is to be read
        before the next one is asked for.
    """
    chain, most_rows = linked.get(0), _most_rows(program, most_bytes)
    found: Iterator[Beginning] = repeat(None)
    if chain is not None:
        found = begun(chain, segments, most_rows, takes_open=takes_open)
    for ends in segments:
        with recycling():
            behind = next(found)
        if isinstance(behind, Judged):
            if report is not None:
                report(1.0, len(behind.t))
            yield behind
        else:
            n, state, events = behind or (0, _start(ends), none())
            walker = _Walker(program, prepared, linked, most_bytes, report)
            yield _recycled(walker.finish(state, n, np.inf, [events]))


def _recycled(found: Iterator[_Kind]) -> Iterator[_Kind]:
    """The same, one after the other, with memory that is handed out again."""
    while True:
        with recycling():
            each = next(found, None)
        if each is None:
            return
        yield each


def together(first: Trail, then: Trail) -> Trail:
    """What two neighbouring chunks found, as one."""
    columns = ("t", "step", "unit", "jump", "jump_error")
    t, step, unit, jump, jump_error = (
        np.concatenate([getattr(first, k), getattr(then, k)]) for k in columns
    )
    events, error = joined([first.events, then.events]), max(first.error, then.error)
    return Trail(t, step, unit, jump, jump_error, events, error, then.until)


def _start(ends: Rows) -> State:
    nothing = np.zeros(2)
    value = Value(ends, nothing, None, False, np.zeros_like(ends), nothing)
    origin = np.full(2, -1, np.int32)
    return State(np.array([0.0, 1.0]), np.ones(2, dtype=bool), origin, origin, {0: value})


def _most_rows(program: Program, most_bytes: int) -> int:
    """How many rows fit the memory: values, jumps, bounds, masks and what is made of them."""
    rows = min(most_bytes // 80, BLOCK) // max(program.widest, 1)
    return max(64, min(rows, _MOST_ROWS))


class _Walker:
    """Does the steps of one program, chunk by chunk."""

    def __init__(
        self,
        program: Program,
        prepared: tuple[Prepared, ...],
        linked: Chains,
        most_bytes: int,
        report: Report | None,
    ) -> None:
        self._program = program
        self._prepared = prepared
        self._report = report
        self._n_found = 0
        self._chains = linked
        self._most_rows = _most_rows(program, most_bytes)

    def finish(
        self, begin: State | Bends, step: int, until: float, events: list[Events]
    ) -> Iterator[Trail]:
        """Do all steps from one on, and yield what each chunk finds, in order.

        `until` is where the rows of the chunk behind this state begin; `events` are those of the
        steps before.
        """
        i, here = step, begin
        while i < len(self._prepared) and isinstance(here, State):
            done = self._next(here, i, events) if len(here) <= self._most_rows else None
            if done is None:
                yield from self._split(here, i, events, until)
                return
            i, here = done
        yield (
            self._told(here, events, until)
            if isinstance(here, Bends)
            else self._end(here, events, until)
        )

    def _next(self, state: State, i: int, events: list[Events]) -> tuple[int, State | Bends] | None:
        """Do one step, or all that can be done at one go; None if that makes too many rows."""
        if i in self._chains:
            done = followed(self._chains[i], state, self._most_rows)
            if done is not None:
                n, after, known = done
                events.append(known)
                return i + n, after
            if len(state) > self._most_rows // 4:
                return None
        grown = self._do(state, i, events)
        return None if grown is None else (i + 1, grown)

    def _split(self, state: State, i: int, events: list[Events], until: float) -> Iterator[Trail]:
        """Finish a state in chunks; what was found before it was cut goes with the first."""
        if len(state) < _FEW:
            state = halved(state)
        n_cells = len(state) - 1
        n_parts = max(2, -(-n_cells * 2 // self._most_rows))
        edges = np.linspace(0, n_cells, n_parts + 1).astype(int).tolist()
        for a, b in pairwise(edges):
            # The next chunk has one more cell on its left.
            behind = min(float(state.t[b - 1]), until) if b < n_cells else until
            for trail in self.finish(state.part(a, b), i, behind, []):
                yield _with_events(trail, events)
                events = []

    def _do(self, state: State, i: int, events: list[Events]) -> State | None:
        """Do one step; None if it would make too many rows."""
        prepared = self._prepared[i]
        step, op = prepared.step, prepared.step.op
        if isinstance(op, Elementwise | Maximum):
            most, source = 4 * self._most_rows, step.inputs[0]
            if isinstance(op, Elementwise):
                bends = bent(state, op, i, source, most)
            else:
                bends = maximal(state, op, i, source, most)
            if bends is None:
                return None
            state, out, known = bends
            events.append(known)
        else:
            out = moved(prepared, op, [state.values[k] for k in step.inputs], state.t)
        needed = self._program.needed_after[i]
        kept = {k: v for k, v in (state.values | {step.output: out}).items() if k in needed}
        return replace(state, values=kept)

    def _told(self, found: Bends, events: list[Events], until: float) -> Trail:
        self._n_found += len(found.t)
        if self._report is not None:
            self._report(found.reached, self._n_found)
        bends = found.t, found.step, found.unit, found.jump, found.jump_error
        return Trail(*bends, joined(events), found.error, until)

    def _end(self, state: State, events: list[Events], until: float) -> Trail:
        out = state.values[self._program.output]
        inner = state.is_own & (state.step >= 0)
        rows = np.nonzero(inner)[0]
        nothing = np.full(len(rows), np.nan)
        jump = jump_error = nothing
        if out.jump is not None and out.jump_error is not None:
            jump = np.abs(out.jump[rows]).max(axis=1, initial=0.0)
            jump_error = out.jump_error[rows]
        self._n_found += len(rows)
        if self._report is not None:
            self._report(float(state.t[-1]), self._n_found)
        error = float(out.error.max(initial=0.0))
        t, step, unit = state.t[rows], state.step[rows], state.unit[rows]
        return Trail(t, step, unit, jump, jump_error, joined(events), error, until)


def _with_events(trail: Trail, events: list[Events]) -> Trail:
    return replace(trail, events=joined([*events, trail.events])) if events else trail
