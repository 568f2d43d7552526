"""Two executions without a reference: where they begin to differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from deephochuli.analysis.compare._errors import Differences, Error
from deephochuli.analysis.compare._trace import Call, CallName, Trace, label, owner_of
from deephochuli.errors import CompareError


@dataclass(frozen=True, slots=True)
class PairRow:
    """How far two executions of one call lie apart.

    Attributes:
        call: The call.
        kind: Class of the module.
        order: Position in the first execution.
        direction: "forward": inputs given, outputs made. "backward": gradients by the outputs
            given, gradients by the inputs made. "gradient" and "update": of parameters; nothing
            given.
        given: Difference of what the call was given; None where nothing is.
        made: Difference of what it made of that.
        starts: Whether it was given the same bits and made others: the difference starts here.
        parameter: Name of the parameter, for gradients and updates.
    """

    call: CallName
    kind: str
    order: int
    direction: Literal["forward", "backward", "gradient", "update"]
    given: Error | None
    made: Error
    starts: bool
    parameter: str | None = None

    @property
    def layer(self) -> str:
        """The call as people read it."""
        return label(self.call)


@dataclass(frozen=True, slots=True)
class PairComparison:
    """Two executions side by side.

    Attributes:
        first: Name of the first execution.
        second: Name of the second; differences are second minus first.
        rows: Every call that both have, forward and backward.
        only_first: Calls that only the first has.
        only_second: Calls that only the second has.
        shapes: Calls whose tensors differ in shape, and how.
        environment: What differs of the machines: name, first, second.
    """

    first: str
    second: str
    rows: tuple[PairRow, ...]
    only_first: tuple[CallName, ...]
    only_second: tuple[CallName, ...]
    shapes: tuple[tuple[CallName, str], ...]
    environment: tuple[tuple[str, str, str], ...]

    @property
    def start(self) -> PairRow | None:
        """The first call that was given the same bits and made others; None if there is none."""
        order = {"forward": 0, "backward": 1, "gradient": 2, "update": 3}
        starting = [row for row in self.rows if row.starts]
        return min(
            starting,
            key=lambda r: (order[r.direction], -r.order if r.direction == "backward" else r.order),
            default=None,
        )


def compare_traces(first: Trace, second: Trace) -> PairComparison:
    """Lay two executions side by side, call by call.

    Raises:
        CompareError: They have no call in common besides the model itself.
    """
    common = [name for name in first.calls if name in second.calls]
    _check_common(first, second, common)
    rows: list[PairRow] = []
    shapes: list[tuple[CallName, str]] = []
    for order, name in enumerate(first.calls):
        if name in second.calls:
            _compare_call(first.calls[name], second.calls[name], order, rows, shapes)
    rows += _parameter_rows(first, second)
    return PairComparison(
        first=first.executor,
        second=second.executor,
        rows=tuple(rows),
        only_first=tuple(name for name in first.calls if name not in second.calls),
        only_second=tuple(name for name in second.calls if name not in first.calls),
        shapes=tuple(shapes),
        environment=_differences_of(first.environment, second.environment),
    )


def _compare_call(
    a: Call, b: Call, order: int, rows: list[PairRow], shapes: list[tuple[CallName, str]]
) -> None:
    wrong = _shape_difference(a, b)
    if wrong:
        shapes.append((a.name, wrong))
        return
    forward = _error(b.inputs, a.inputs), _error(b.outputs, a.outputs)
    rows.append(_row(a, order, "forward", *forward))
    backward = _error(b.grad_outputs, a.grad_outputs), _error(b.grad_inputs, a.grad_inputs)
    if backward[1].n:
        starts_given = forward[0].is_exact and forward[1].is_exact
        rows.append(_row(a, order, "backward", *backward, may_start=starts_given))


def _row(
    call: Call,
    order: int,
    direction: Literal["forward", "backward", "gradient", "update"],
    given: Error | None,
    made: Error,
    *,
    may_start: bool = True,
) -> PairRow:
    same_given = given is None or given.is_exact
    starts = may_start and call.is_leaf and same_given and not made.is_exact
    return PairRow(call.name, call.kind, order, direction, given, made, starts)


def _parameter_rows(first: Trace, second: Trace) -> list[PairRow]:
    """Differences of the parameters' gradients and updates."""
    rows: list[PairRow] = []
    order = {name: place for place, name in enumerate(first.calls)}
    sides: tuple[tuple[Literal["gradient", "update"], Any, Any], ...] = (
        ("gradient", first.gradients, second.gradients),
        ("update", first.updates, second.updates),
    )
    for direction, a, b in sides:
        for name in a:
            owner, own = owner_of(name, first.calls)
            call = first.calls.get(owner)
            if call is None or name not in b or a[name].shape != b[name].shape:
                continue
            made = _error([b[name]], [a[name]])
            place = call.name, call.kind, order[call.name], direction
            rows.append(PairRow(*place, given=None, made=made, starts=False, parameter=own))
    return rows


def _error(judged: Sequence[Tensor | None], reference: Sequence[Tensor | None]) -> Error:
    differences = Differences()
    for a, r in zip(judged, reference, strict=False):
        if a is not None and r is not None and a.shape == r.shape:
            differences.see("call", "", a, r)
    return differences.errors().get(("call", ""), Error())


def _shape_difference(a: Call, b: Call) -> str:
    for what in ("inputs", "outputs"):
        shapes = [[tuple(t.shape) for t in getattr(call, what)] for call in (a, b)]
        if shapes[0] != shapes[1]:
            return f"{what} have the shapes {shapes[0]} and {shapes[1]}"
    return ""


def _differences_of(a: dict[str, str], b: dict[str, str]) -> tuple[tuple[str, str, str], ...]:
    names = dict.fromkeys([*a, *b])
    return tuple(
        (name, a.get(name, "unknown"), b.get(name, "unknown"))
        for name in names
        if a.get(name) != b.get(name)
    )


def _check_common(first: Trace, second: Trace, common: list[CallName]) -> None:
    if len(common) > 1 or (common and len(first.calls) == 1):
        return
    some = [", ".join(path for path, _ in list(t.calls)[1:5]) or "none" for t in (first, second)]
    raise CompareError(
        f"{first.executor!r} and {second.executor!r} have no layer in common besides the model "
        f"itself: the first has {some[0]}, ...; the second {some[1]}, .... Were layers renamed? "
        "The model's own outputs can still be compared: record both in the same wrapper."
    )
