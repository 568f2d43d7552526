"""Compare executions of one model: which layer errs, by itself or by inheritance, and how much."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from deephochuli.analysis.compare._errors import Error
from deephochuli.analysis.compare._execute import DEFAULT_BYTES, Loss, Task, execute
from deephochuli.analysis.compare._executors import Executor, executor_of
from deephochuli.analysis.compare._judge import Judgement, judge
from deephochuli.analysis.compare._top import Decisions, decisions
from deephochuli.analysis.compare._trace import Call, CallName, Trace, label
from deephochuli.arithmetic import Arithmetic
from deephochuli.errors import CompareError

Direction = Literal["forward", "backward", "gradient", "update"]
Way = Executor | Arithmetic | nn.Module | str
"""A way to execute a model; see `executor_of`."""
BASELINE = "fp32"


@dataclass(frozen=True, slots=True)
class Row:
    """The errors of one call, or of one parameter's gradient or update, in one execution.

    Attributes:
        executor: Name of the execution.
        call: Path of the module and index of its call.
        kind: Class of the module.
        order: Position of the call in the reference's execution.
        direction: "forward", "backward", "gradient" or "update".
        parameter: Name of the parameter, for gradients and updates.
        local: The call's own error: the call given exactly what this execution gave it.
        inherited: What the call makes of the errors it was given; None where there is no free run
            to compare with (a parent's glue).
        total: Distance from the reference; None likewise.
        ratio: Own error (rms) over the own error of the binary32 execution; nan where that is zero,
            infinite where more numbers are lost to NaN or infinity.
        sign_flips: Inputs of an activation that lie on the other side of its kink.
    """

    executor: str
    call: CallName
    kind: str
    order: int
    direction: Direction
    parameter: str | None
    local: Error
    inherited: Error | None
    total: Error | None
    ratio: float
    sign_flips: int | None = None

    @property
    def layer(self) -> str:
        """The call as people read it."""
        return label(self.call)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Several executions of one model beside a reference.

    Attributes:
        model: Class of the model.
        reference: Name of the reference execution.
        executors: Names of the executions, in the order asked for.
        rows: Errors, by execution and in the order of the reference's calls.
        decisions: What each execution decides at its outputs: argmax and top-k flips.
        losses: Loss of each execution, the reference's too; None where there is none.
        unmatched: Calls that only one side has, or whose tensors have other shapes, by execution.
    """

    model: str
    reference: str
    executors: tuple[str, ...]
    rows: tuple[Row, ...]
    decisions: dict[str, Decisions]
    losses: dict[str, float | None]
    unmatched: dict[str, tuple[CallName, ...]]

    def of(self, executor: str, direction: Direction | None = None) -> tuple[Row, ...]:
        """The rows of one execution, in one direction or in all."""
        return tuple(
            row
            for row in self.rows
            if row.executor == executor and direction in (None, row.direction)
        )


def compare(
    model: nn.Module,
    batch: Any,
    arithmetics: Way | Iterable[Way] = ("fp32", "tf32", "bf16"),
    *,
    reference: Executor | nn.Module | str = "fp64",
    loss: Loss | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    seed: int = 0,
    max_bytes: int = DEFAULT_BYTES,
) -> Comparison:
    """Execute a model in several ways on one batch and compare each call with a reference.

    The model itself is not run and not changed; copies are. Random operators (dropout, noise) draw
    the same numbers in all executions.

    Args:
        model: The model, in training or in evaluation mode, as it is to be compared.
        batch: Its input: a tensor, a tuple of arguments, or a mapping of keyword arguments.
        arithmetics: One way to execute it, or several; see `executor_of`.
        reference: What counts as right: an execution, or another model, which runs in binary64.
        loss: Makes a scalar of the model's output. By default the output's own ``loss``, or else a
            fixed random combination of all outputs.
        optimizer: An optimizer of the model; one step of a copy of it is compared, too.
        seed: Of the random operators and of the default loss.
        max_bytes: Memory that one execution's record may take.

    Raises:
        ArithmeticSpecError: An arithmetic is unknown.
        CompareError: Nothing can be compared: no call in common, a reference that is not finite, a
            model that cannot be copied, or too little memory.

    Numerics:
        Errors are formed in binary64. A call's own error is what it made of the numbers that this
        execution gave it, minus what the reference makes of the same numbers; the inherited error
        is what the reference makes of these, minus what it makes of its own; their sum is the
        total.
    """
    truth = truth_of(reference)
    task = Task(
        model=model, batch=batch, loss=loss, optimizer=optimizer, seed=seed, max_bytes=max_bytes
    )
    is_one = isinstance(arithmetics, Executor | Arithmetic | nn.Module | str)
    executors = [executor_of(each) for each in ([arithmetics] if is_one else arithmetics)]
    _check_names([each.name for each in executors])
    free = execute(task, truth)
    check_finite(free)
    wanted = {each.name: each for each in executors}
    traces = {name: execute(task, each) for name, each in wanted.items()}
    if BASELINE not in traces:
        traces[BASELINE] = execute(task, executor_of(BASELINE))
    return comparison(task, traces, free, truth, tuple(wanted))


def comparison(
    task: Task, traces: dict[str, Trace], free: Trace, truth: Executor, wanted: Sequence[str]
) -> Comparison:
    """Judge finished executions; the one named "fp32" is what ratios refer to."""
    judgements = {name: judge(task, trace, free, truth) for name, trace in traces.items()}
    for name in wanted:
        if not traces[name].is_whole:
            _check_common(judgements[name], free, name)
    baseline = judgements.get(BASELINE)
    rows = [row for name in wanted for row in _rows(judgements[name], baseline, free)]
    return Comparison(
        model=type(task.model).__name__,
        reference=truth.name,
        executors=tuple(wanted),
        rows=tuple(rows),
        decisions={name: decisions(traces[name], free) for name in wanted},
        losses={free.executor: free.loss} | {name: traces[name].loss for name in wanted},
        unmatched={name: _unmatched(judgements[name], traces[name], free) for name in wanted},
    )


def truth_of(reference: Executor | nn.Module | str) -> Executor:
    """The execution that counts as right."""
    if isinstance(reference, nn.Module):
        return Executor(name="reference model", dtype=torch.float64, model=reference, precision=53)
    return executor_of(reference)


def _rows(judgement: Judgement, baseline: Judgement | None, free: Trace) -> list[Row]:
    order = {name: place for place, name in enumerate(free.calls)}
    rows: list[Row] = []
    for (owner, what), local in judgement.local.items():
        call = free.calls.get(owner)
        if call is None:
            continue
        direction, _, parameter = what.partition(":")
        plain = None if baseline is None else baseline.local.get((owner, what))
        rows.append(
            Row(
                executor=judgement.executor,
                call=owner,
                kind=call.kind,
                order=order[owner],
                direction=direction,  # pyright: ignore[reportArgumentType]
                parameter=parameter or None,
                local=local,
                inherited=judgement.inherited.get((owner, what)),
                total=judgement.total.get((owner, what)),
                ratio=_ratio(local, plain),
                sign_flips=_flips(judgement, owner) if direction == "forward" else None,
            )
        )
    return sorted(rows, key=lambda row: (row.order, _DIRECTIONS.index(row.direction)))


_DIRECTIONS: tuple[Direction, ...] = ("forward", "backward", "gradient", "update")


def _ratio(local: Error, plain: Error | None) -> float:
    if plain is None or plain.rms == 0:
        return math.nan
    if local.nonfinite > plain.nonfinite:
        return math.inf
    return local.rms / plain.rms


def _flips(judgement: Judgement, owner: CallName) -> int | None:
    error = judgement.kinks.get(owner)
    return None if error is None else error.sign_flips + error.zeros


def check_finite(free: Trace) -> None:
    """Raise where the reference itself is not finite.

    Raises:
        CompareError: Some call of the reference gives NaN or infinity; the first one is named.
    """
    for call in free.calls.values():
        bad = _first_nonfinite(call)
        if bad is not None:
            raise CompareError(
                f"The reference is not finite: {bad} of {label(call.name)} ({call.kind}) holds NaN "
                "or infinity in binary64, so there is nothing to compare with from there on. Check "
                "the batch and the weights with `deephochuli doctor`."
            )


def _first_nonfinite(call: Call) -> str | None:
    for what, tensors in (("an input", call.inputs), ("an output", call.outputs)):
        if any(not _is_usable(each) for each in tensors):
            return what
    return None


def _is_usable(tensor: Tensor) -> bool:
    """Finite, or infinite on purpose: masks of attention hold -inf."""
    return not bool(tensor.isnan().any()) and not bool((tensor == math.inf).any())


def _unmatched(judgement: Judgement, trace: Trace, free: Trace) -> tuple[CallName, ...]:
    """Calls that could not be compared, or not as a whole."""
    both = [name for name in free.calls if name in trace.calls]
    reshaped = [name for name in both if _shapes(trace.calls[name]) != _shapes(free.calls[name])]
    return (*judgement.missing, *judgement.extra, *reshaped)


def _shapes(call: Call) -> list[list[torch.Size]]:
    return [[each.shape for each in tensors] for tensors in (call.inputs, call.outputs)]


def _check_common(judgement: Judgement, free: Trace, name: str) -> None:
    common = len(free.calls) - len(judgement.missing)
    if common <= 1 and len(free.calls) > 1:
        raise CompareError(
            f"{name!r} and the reference have no layer in common besides the model itself. The "
            f"reference has {_some(free.calls)}; {name!r} has {_some(judgement.extra)}. "
            "Were layers renamed? Their outputs can still be compared: wrap both models in "
            "modules with the same names."
        )


def _some(names: Iterable[CallName], limit: int = 4) -> str:
    paths = [path for path, _ in names if path]
    return ", ".join(paths[:limit]) + (", ..." if len(paths) > limit else "") if paths else "none"


def _check_names(names: list[str]) -> None:
    twice = {name for name in names if names.count(name) > 1}
    if twice or not names:
        raise CompareError(
            f"Two executions are called {sorted(twice)[0]!r}; give each a name of its own."
            if twice
            else "Nothing to compare: no arithmetic was given."
        )
