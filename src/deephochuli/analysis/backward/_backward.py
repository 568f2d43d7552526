"""Run a backward pass in several arithmetics, and lay each gradient beside the exact one."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from deephochuli.analysis.backward._exact import Exact, Spec, View, Way
from deephochuli.analysis.backward._fate import Rerun, Witness
from deephochuli.analysis.backward._findings import find
from deephochuli.analysis.backward._known import shadow_of, silence
from deephochuli.analysis.backward._result import Backward, GradientRow
from deephochuli.analysis.backward._scale import LossScale, check_removed, loss_scale
from deephochuli.analysis.compare import Task, execute, executor_of
from deephochuli.analysis.compare._compare import check_finite
from deephochuli.analysis.compare._execute import DEFAULT_BYTES, Loss, loss_of, replay
from deephochuli.analysis.swamping import SumRow, swamping
from deephochuli.errors import ArithmeticSpecError, CompareError


def backward(
    model: nn.Module,
    batch: Any,
    arithmetics: Iterable[Spec] = ("fp32", "bf16", "fp16"),
    *,
    loss: Loss | None = None,
    scale: float = 1.0,
    learning_rate: float = 0.01,
    optimizer: torch.optim.Optimizer | None = None,
    removed: float = 0.95,
    n_outputs: int = 64,
    confidence: float = 0.95,
    seed: int = 0,
    max_bytes: int = DEFAULT_BYTES,
) -> Backward:
    """Say what becomes of a model's gradients in several arithmetics, layer by layer.

    Copies of the model run; the model itself, its gradients and all random generators stay as they
    are. The exact gradient is that of the same weights and the same batch in binary64.

    Args:
        model: The model, in training or in evaluation mode.
        batch: Its input: a tensor, a tuple of arguments, or a mapping of keyword arguments.
        arithmetics: Ways to execute it; see `compare`'s `executor_of`.
        loss: Makes a scalar of the model's output; None takes the output's own ``loss``, or else a
            fixed random combination of the outputs.
        scale: Loss scale, a power of two, that the executions run with.
        learning_rate: What a lost gradient is measured by: whether the step learning_rate times the
            exact gradient would have moved the stored weight. Not used where there is an optimizer.
        optimizer: An optimizer of the model. One step of a copy of it is taken in each execution,
            and updates that leave a weight unmoved are counted. Its gradients are not unscaled, so
            it needs scale = 1.
        removed: Share of the underflow that the smallest loss scale has to remove.
        n_outputs: Outputs of each sum of the backward that are replayed addition by addition; 0
            leaves the sums out.
        confidence: Of all intervals.
        seed: Of dropout, of the sampling of sums, and of the default loss.
        max_bytes: Memory that one execution's record may take.

    Returns:
        A row for each execution and gradient, the sums, the loss scales, and findings.

    Raises:
        ArithmeticSpecError: An arithmetic is unknown.
        CompareError: There is no loss or no gradient, an argument is out of range, the exact run is
            not finite, or the model cannot be copied.

    Numerics:
        Everything is counted and formed in binary64 on what the executions kept. A lost element is
        zero in the arithmetic and not zero in binary64, where a second run with weights
        perturbed by 2^-48 must agree on the element (else it is rounding noise, and counts as
        zero);
        whether the forward decided so follows from the backward run in
        binary64 after the execution's forward, and whether the layer lost it itself from the layer
        run in binary64 on exactly the numbers that the execution gave it. Angle,
        length and bias have jackknife intervals over the first dimension; see `likeness`.

    Example:
        >>> model = torch.nn.Linear(4, 1)
        >>> result = backward(model, torch.ones(8, 4), ["fp16"], loss=lambda z: z.sum() * 2**-30)
        >>> row = result.of("fp16", tensor="weight")[0]
        >>> row.fate.lost, row.vanishing, result.scales["fp16"].lowest
        (4, 'microscopic', 8.0)
    """
    _check(scale, optimizer, n_outputs, confidence)
    check_removed(removed)
    ways = [Way.of(spec) for spec in arithmetics]
    _check_names([way.executor.name for way in ways])
    plain = Task(
        model=model, batch=batch, loss=loss, optimizer=optimizer, seed=seed, max_bytes=max_bytes
    )
    wanted = _Wanted(_scaled(plain, scale), scale, removed, n_outputs, confidence)
    exact = _exact_run(wanted, None if optimizer else learning_rate)
    made = _Made()
    for way in ways:
        _run(way, wanted, exact, made)
        if n_outputs:
            _replay_sums(way, plain, wanted, made)
    return Backward(
        model=type(model).__name__,
        arithmetics=tuple(way.executor.name for way in ways),
        scale=scale,
        confidence=confidence,
        rows=tuple(made.rows),
        sums=made.sums,
        not_replayed=made.not_replayed,
        scales=made.scales,
        findings=find(made.rows, made.sums, made.scales, scale),
    )


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What was asked for; the loss of the task is scaled."""

    task: Task
    scale: float
    removed: float
    n_outputs: int
    confidence: float


@dataclass(slots=True)
class _Made:
    """What the executions have shown by now."""

    rows: list[GradientRow] = field(default_factory=list[GradientRow])
    sums: dict[str, tuple[SumRow, ...]] = field(default_factory=dict[str, tuple[SumRow, ...]])
    scales: dict[str, LossScale] = field(default_factory=dict[str, LossScale])
    not_replayed: dict[str, str] = field(default_factory=dict[str, str])


def _exact_run(wanted: _Wanted, learning_rate: float | None) -> Exact:
    truth = executor_of("fp64")
    free = execute(wanted.task, truth)
    check_finite(free)
    if not free.gradients:
        raise CompareError(
            "No parameter has a gradient: expected parameters with requires_grad=True, and a loss "
            "that depends on them."
        )
    silence(free, execute(wanted.task, shadow_of(truth, wanted.task.seed)))
    weights = dict(wanted.task.model.named_parameters())
    return Exact(weights, free, wanted.scale, learning_rate)


def _run(way: Way, wanted: _Wanted, exact: Exact, made: _Made) -> None:
    """Execute in one way, and twice in binary64 on the numbers of that way."""
    judged = execute(wanted.task, way.executor)
    truth = executor_of("fp64")
    rerun = Rerun(judged, exact.trace)
    course, _ = replay(wanted.task, truth, rerun, judged)
    witness = Witness(judged, exact.trace, rerun, way.formats)
    computed, _ = replay(wanted.task, truth, witness, judged)
    view = View(judged, witness.fates, computed, course)
    made.rows += exact.rows(way, view, wanted.confidence)
    found = loss_scale(exact.needs(way, judged, wanted.removed), wanted.removed)
    if found is not None:
        made.scales[way.executor.name] = found


def _replay_sums(way: Way, task: Task, wanted: _Wanted, made: _Made) -> None:
    """Replay sums of the backward; where that is not possible, keep the reason."""
    name = way.executor.name

    def own(output: Any) -> Tensor:
        return _loss(task, output)

    try:
        found = swamping(
            task.model,
            task.batch,
            loss=own,
            arithmetic=way.arithmetic,
            format="fp64" if name == "fp64" else None,
            n_outputs=wanted.n_outputs,
            confidence=wanted.confidence,
            seed=task.seed,
        )
    except ArithmeticSpecError as error:
        made.not_replayed[name] = str(error)
        return
    made.sums[name] = tuple(row for row in found.rows if row.direction == "backward")


def _loss(task: Task, output: Any) -> Tensor:
    loss = loss_of(task, output)
    if loss is None:
        raise CompareError(
            f"{type(task.model).__name__} gives no floating-point output to form a loss of, so "
            "there is nothing to go backward from. Give loss=..., a function of the output."
        )
    return loss


def _scaled(task: Task, scale: float) -> Task:
    """The task with its loss multiplied by the loss scale."""

    def scaled(output: Any) -> Tensor:
        return _loss(task, output) * scale

    return replace(task, loss=scaled)


def _check(
    scale: float, optimizer: torch.optim.Optimizer | None, n_outputs: int, confidence: float
) -> None:
    if not (scale > 0 and math.isfinite(scale) and math.frexp(scale)[0] == 0.5):
        raise CompareError(
            f"scale={scale!r} is no loss scale: expected a power of two, such as 2.0**16, which "
            "rounds nothing itself."
        )
    if optimizer is not None and scale != 1:
        raise CompareError(
            f"An optimizer with scale={scale!r} would step with scaled gradients: give one of "
            "them, or leave scale at 1."
        )
    if n_outputs < 0 or not 0 < confidence < 1:
        raise CompareError(
            f"n_outputs={n_outputs!r} or confidence={confidence!r} is out of range: expected 0 or "
            "more, and a number in (0, 1)."
        )


def _check_names(names: list[str]) -> None:
    if not names:
        raise CompareError("Nothing to run: expected at least one arithmetic, such as 'bf16'.")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise CompareError(f"Two executions are called {twice[0]!r}; give each a name of its own.")
