"""Linear layers with ReLUs between them, done at one go: most of the steps of most narrow nets.

On short segments most of the time went into calling one compiled function after the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from deephochuli.pieces import _links as links
from deephochuli.pieces import _segments as compiled
from deephochuli.pieces._affine import Dense, Rows
from deephochuli.pieces._bends import Elementwise
from deephochuli.pieces._crossings import T_ERROR, TYPICAL
from deephochuli.pieces._events import Events
from deephochuli.pieces._memory import BLOCK, aligned, desk
from deephochuli.pieces._moves import Prepared
from deephochuli.pieces._program import Program
from deephochuli.pieces._state import Column, State, Value

MOST_UNITS = 256
"""Of wider layers, library products of many rows are faster."""
_LIMITS = TYPICAL, T_ERROR
_Whole = NDArray[np.int64]
_Room = tuple[tuple[Column, ...], Column, _Whole, NDArray[np.uint64]]
_N_NUMBERS, _N_COLUMNS = 8, 17
"""Columns of a chain beside values and jumps, and those of them that are no whole numbers."""


@dataclass(frozen=True, slots=True, eq=False)
class Chain:
    """Layers that are done at one go.

    Attributes:
        source: Number of the value that the first one reads.
        values: Number of the value behind each layer.
        steps: How many steps of the program each layer is.
        width: Largest number of columns of a layer.
        tables: The numbers of all layers, for `_links.run`.
    """

    source: int
    values: tuple[int, ...]
    steps: tuple[int, ...]
    width: int
    tables: tuple[_Whole, Column, Column]

    @property
    def has_one_output(self) -> bool:
        """Whether the last layer is one of the program, and has one unit."""
        last = self.tables[0][-1]
        return bool(last[links.STEP] < 0 and last[links.UNITS] == 1)

    def after(self, n: int) -> Chain:
        """What is left of a chain behind its first n layers, n > 0."""
        whole, real, numbers = self.tables
        tables = whole[n:], real[n:], numbers
        return Chain(self.values[n - 1], self.values[n:], self.steps[n:], self.width, tables)


Chains = Mapping[int, Chain]
"""The chain that begins at each step where one does."""


def chains(program: Program, prepared: tuple[Prepared, ...]) -> Chains:
    """The chain that begins at each step where one does."""
    found: dict[int, Chain] = {}
    i = 0
    while i < len(prepared):
        lengths = _lengths(program, prepared, i)
        if lengths:
            chain = _chain(prepared, i, lengths)
            found[i] = chain
            for n in range(1, len(lengths)):
                found[i + sum(lengths[:n])] = chain.after(n)
        i += max(sum(lengths), 1)
    return found


def _lengths(program: Program, prepared: tuple[Prepared, ...], i: int) -> list[int]:
    """How many steps each layer has of a chain that begins at step i."""
    lengths: list[int] = []
    while i < len(prepared) and _is_narrow(prepared[i]):
        if program.needed_after[i] != frozenset({prepared[i].step.output}):
            break
        if i + 1 == len(prepared):
            lengths.append(1)
            break
        bend = prepared[i + 1].step
        is_relu = isinstance(bend.op, Elementwise) and bend.op.is_relu
        if not is_relu or program.needed_after[i + 1] != frozenset({bend.output}):
            break
        lengths.append(2)
        i += 2
    return lengths


def _is_narrow(prepared: Prepared) -> bool:
    op = prepared.step.op
    return isinstance(op, Dense) and op.lead == 1 and op.size <= MOST_UNITS


def _chain(prepared: tuple[Prepared, ...], begin: int, lengths: list[int]) -> Chain:
    whole: list[list[int]] = []
    real: list[list[float]] = []
    numbers: list[Column] = []
    values: list[int] = []
    i, first = begin, 0
    last = prepared[begin + sum(lengths) - 1]
    goes_back = lengths[-1] == 1 and _shape(last)[1] == 1
    for n in lengths:
        packed = _numbers(prepared[i])
        back = _back(prepared[i]) if goes_back and i > begin else np.empty(0)
        step = i + 1 if n > 1 else -1
        fixed, behind = prepared[i].grain.fixed[:2], first + len(packed)
        whole.append([step, *_shape(prepared[i]), first, *fixed, behind if len(back) else -1])
        real.append(_real(prepared[i]))
        numbers += [packed, back]
        values.append(prepared[i + n - 1].step.output)
        i, first = i + n, behind + len(back)
    together = aligned(first)
    np.concatenate(numbers, out=together)
    tables = np.array(whole, np.int64), np.array(real), together
    width = int(links.width_of(tables[0][:, links.UNITS].max()))
    return Chain(prepared[begin].step.inputs[0], tuple(values), tuple(lengths), width, tables)


def _shape(prepared: Prepared) -> tuple[int, int]:
    """Inputs and units of a linear layer."""
    op = prepared.step.op
    assert isinstance(op, Dense)
    return op.weight.shape[1], op.weight.shape[0]


def _real(prepared: Prepared) -> list[float]:
    norms = prepared.norms
    assert norms is not None
    reach, shift = prepared.grain.fixed[2:4]
    unit, floor = float(norms.unit.max()), float((norms.gamma * norms.offset).max())
    numbers = [norms.spectral, norms.frobenius, norms.offset_norm, norms.gamma, reach, shift]
    return [*numbers, unit, floor]


def _numbers(prepared: Prepared) -> Column:
    """Weights and columns of a layer, one behind the other, each of whole vectors.

    The columns are filled up so that what is no unit is zero, and never within its error of it.
    """
    op, norms = prepared.step.op, prepared.norms
    assert isinstance(op, Dense)
    assert norms is not None
    m, n = op.weight.shape
    rows = np.zeros((n + 4, int(links.width_of(m))))
    rows[:n, :m] = op.weight.T
    rows[n, :m], rows[n + 1, :m], rows[n + 3, :m] = op.bias, norms.unit, norms.offset
    rows[n + 2] = -1.0
    rows[n + 2, :m] = norms.gamma * norms.offset
    return rows.reshape(-1)


def _back(prepared: Prepared) -> Column:
    """Weights of a layer, not transposed, each row filled up to whole vectors."""
    op = prepared.step.op
    assert isinstance(op, Dense)
    return _filled(op.weight, int(links.width_of(op.weight.shape[1]))).reshape(-1)


def _filled(x: Column, width: int) -> Column:
    """An array with more columns, of zeros."""
    if x.shape[-1] == width:
        return np.ascontiguousarray(x)
    wide = np.zeros((len(x), width))
    wide[:, : x.shape[1]] = x
    return wide


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """The bends of a segment on which there is nothing more to decide.

    Each is alone: it is certain, and whether it reaches the output depends on its jump only.

    Attributes:
        t: Place of each.
        step: Step of its unit.
        unit: Its unit.
        jump: Largest change of the slope of an output.
        is_bend: Whether it reaches the output.
        n_bends: How many do.
        n_open: How many may, or may not.
        error: Largest bound on the error of the outputs.
    """

    t: Column
    step: NDArray[np.int32]
    unit: NDArray[np.int32]
    jump: Column
    is_bend: NDArray[np.bool_]
    n_bends: int
    n_open: int
    error: float


@dataclass(frozen=True, slots=True, eq=False)
class Bends:
    """What a chain found that was done to the end of the program.

    Attributes:
        t: Place of each bend.
        step: Step of its unit.
        unit: Its unit.
        jump: Largest change of the slope of an output.
        jump_error: Bound on its error.
        error: Largest bound on the error of the outputs.
        reached: Where the rows end.
    """

    t: Column
    step: NDArray[np.int32]
    unit: NDArray[np.int32]
    jump: Column
    jump_error: Column
    error: float
    reached: float


def followed(
    chain: Chain, state: State, most_rows: int
) -> tuple[int, State | Bends, Events] | None:
    """Do as many layers as there is room for the rows of.

    Args:
        chain: The layers.
        state: Rows before the first.
        most_rows: How many rows there may be before a layer; fewer, where there would be no room
            for one of each unit.

    Returns:
        (Number of steps done, what is known behind them, events of these); None where that is not
        even one layer.
    """
    value = state.values[chain.source]
    if value.jump is None or value.jump_error is None:
        return None
    whole = int(links.width_of(value.rows.shape[1]))
    rows = links.Rows(
        _filled(value.rows, whole), _filled(value.jump, whole), value.error, value.jump_error
    )
    n = len(state)
    places = links.Places(state.t, np.arange(n), state.is_own, state.step, state.unit)
    call = _Call(chain, np.array([0, n]), places, rows, most_rows, (False, False))
    return call.followed(0)


Beginning = tuple[int, State | Bends, Events] | Judged | None
"""What a segment begins with: see `followed`, or all of it."""


def begun(chain: Chain, segments: Rows, most_rows: int, *, takes_open: bool) -> Iterator[Beginning]:
    """Do the layers that read the input on many segments, in few calls.

    Args:
        chain: Layers of which the first one reads the input.
        segments: Both ends of each, shape (segments, 2, numel of an input).
        most_rows: See `followed`.
        takes_open: Whether bends that may or may not reach the output are left so.

    Yields:
        For each segment all that there is to know, or what `followed` returns.
    """
    if not chain.has_one_output:
        yield from _followed(chain, segments, most_rows, takes_open=takes_open)
        return
    ends = _beginnings(segments, needs_jumps=False)
    call = _Call(chain, *ends, most_rows, (True, takes_open))
    undone = segments[[call.is_undone(k) for k in range(call.n)]]
    others = _followed(chain, undone, most_rows, takes_open=takes_open)
    for k in range(call.n):
        yield next(others) if call.is_undone(k) else call.found(k)


def _followed(
    chain: Chain, segments: Rows, most_rows: int, *, takes_open: bool
) -> Iterator[Beginning]:
    """The same, by following jumps; a call ends at a segment with too many rows."""
    at = 0
    while at < len(segments):
        ends = _beginnings(segments[at:], needs_jumps=True)
        call = _Call(chain, *ends, most_rows, (True, takes_open))
        for k in range(call.n):
            yield call.found(k)
        at += call.n


def _beginnings(segments: Rows, *, needs_jumps: bool) -> tuple[_Whole, links.Places, links.Rows]:
    """Where the rows of each segment begin, where they are, and what is known at them."""
    n = 2 * len(segments)
    width = int(links.width_of(segments.shape[2]))
    first, places, jump, nothing = _ends(n, width)
    x, jumps = _filled(segments.reshape(n, -1), width), (jump, nothing)
    jump, jump_error = jumps if needs_jumps else (None, None)
    return first, places, links.Rows(x, jump, nothing, jump_error)


@lru_cache(maxsize=16)
def _ends(n: int, width: int) -> tuple[_Whole, links.Places, Column, Column]:
    """What is the same for the n ends of all segments; it is only read."""
    order, origin = np.arange(n) % 2, np.full(n, -1, np.int32)
    places = links.Places(order.astype(np.float64), order, np.ones(n, np.bool_), origin, origin)
    return np.arange(0, n + 1, 2), places, np.zeros((n, width)), np.zeros(n)


class _Call:
    """One call of compiled code, and what it found on each segment."""

    def __init__(
        self,
        chain: Chain,
        first: _Whole,
        places: links.Places,
        rows: links.Rows,
        most_rows: int,
        judges: tuple[bool, bool],
    ) -> None:
        room, n = _room(chain, most_rows), _n_rows(chain, most_rows)
        self._chain, self._blocks = chain, room[0]
        known = chain.tables, first, places, rows, room
        if rows.jump is None:
            found = compiled.run_values(*known, _LIMITS, judges)
        else:
            most = min(most_rows, max(n - chain.width, n // 2))
            found = compiled.run(*known, most, _LIMITS, judges)
        self.n: int = found[0]
        """How many segments were looked at: the last of them may have too many rows."""
        self._facts: list[list[int]] = found[1].tolist()
        self._worst: list[float] = found[2].tolist()
        self._columns: compiled.Columns = found[3]
        self._reached: list[float] = places.t[first[1:] - 1].tolist()

    def is_undone(self, k: int) -> bool:
        """Whether no layer was done on segment k."""
        return not self._facts[k][compiled.DONE]

    def found(self, k: int) -> Beginning:
        """All that there is to know of segment k if it is judged, or what `followed` returns."""
        return self._judged(k) if self._facts[k][compiled.IS_JUDGED] else self.followed(k)

    def _judged(self, k: int) -> Judged:
        bends, facts = self._range(compiled.BENDS, k), self._facts[k]
        t, jump, _ = self._columns.numbers[:, bends]
        step, unit, is_bend, _ = self._columns.origins[:, bends]
        n_bends, n_open = facts[compiled.N_BENDS], facts[compiled.N_OPEN]
        return Judged(t, step, unit, jump, is_bend.astype(bool), n_bends, n_open, self._worst[k])

    def followed(self, k: int) -> tuple[int, State | Bends, Events] | None:
        """What `followed` returns of segment k. It must be asked for before the next call."""
        n, is_last = self._facts[k][: compiled.IS_LAST + 1]
        if not n:
            return None
        bends, done = self._range(compiled.BENDS, k), sum(self._chain.steps[:n])
        known, origin = self._columns.numbers[:, bends], self._columns.origins[:, bends]
        events = self._events(self._range(compiled.EVENTS, k))
        if is_last:
            t, jump, jump_error = known
            what = t, origin[0], origin[1], jump, jump_error
            return done, Bends(*what, self._worst[k], self._reached[k]), events
        block = self._blocks[(n - 1) % 2]
        return done, _stopped(self._chain, n, block, known, origin), events

    def _range(self, what: int, k: int) -> slice:
        """Which of the bends or events of all segments are those of segment k."""
        return slice(self._facts[k - 1][what] if k else 0, self._facts[k][what])

    def _events(self, which: slice) -> Events:
        it = self._columns
        (low, high), (step, weight) = it.spans[:, which], it.steps[:, which]
        (unit,), (left, right) = it.units[:, which], it.sides[:, which]
        return Events(low, high, step, unit, left, right, weight)


def _room(chain: Chain, most_rows: int) -> _Room:
    """Memory for the rows of a chain: blocks of a size that is handed out again.

    Layers may add rows beyond `most_rows`, as many as the blocks hold: twice as many without jumps.
    """
    *blocks, columns, words = desk()
    half = _n_rows(chain, most_rows) * chain.width
    n = min(2 * half // chain.width, BLOCK // _N_COLUMNS)
    columns = columns[: n * _N_COLUMNS].reshape(_N_COLUMNS, n)
    blocks = tuple(block[: 2 * half] for block in blocks)
    whole = columns[_N_NUMBERS:].view(np.int64)
    return blocks, columns[:_N_NUMBERS], whole, words.view(np.uint64)


def _n_rows(chain: Chain, most_rows: int) -> int:
    """How many rows with their jumps there is room for."""
    return min(4 * most_rows, BLOCK // max(chain.width, _N_COLUMNS))


def _stopped(
    chain: Chain,
    n: int,
    block: Column,
    known: Column,
    origin: NDArray[np.int32],
) -> State:
    """The rows behind layer n, in the order of the segment."""
    t, error, jump_error = known
    step, unit, is_own, order = origin
    units = int(chain.tables[0][n - 1, links.UNITS])
    width = int(links.width_of(units))
    x, jump = (
        np.ascontiguousarray(each[: len(t) * width].reshape(-1, width)[order, :units])
        for each in np.split(block, 2)
    )
    value = Value(x, error, None, has_exact_zeros=True, jump=jump, jump_error=jump_error)
    return State(t, is_own.astype(np.bool_), step, unit, {chain.values[n - 1]: value})
