"""Run batches forward once and backward with several slopes at the kinks, and compare."""

# Gradients of torch have partial types, and modes no public interface.
# pyright: reportPrivateUsage=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes

from deephochuli.analysis._batches import Batch, Loss, batches_of, loss_of
from deephochuli.analysis._proportion import clopper_pearson
from deephochuli.analysis._seeded import seeded
from deephochuli.analysis.kink._at import kink_at
from deephochuli.analysis.kink._execution import (
    Execution,
    Spec,
    executing,
    execution_of,
    stored_format,
)
from deephochuli.analysis.kink._findings import find
from deephochuli.analysis.kink._mode import KinkMode
from deephochuli.analysis.kink._result import BatchChange, Kink, KinkRun, PoolRow, ZeroRow
from deephochuli.analysis.kink._tally import Counting, Tally
from deephochuli.analysis.significance import copied
from deephochuli.analysis.swamping import Estimate, ratio
from deephochuli.arithmetic import get_arithmetic, round_to
from deephochuli.errors import CompareError

Gradients = list[Tensor | None]


def kink(
    model: nn.Module,
    data: Any,
    loss: Loss | None = None,
    *,
    arithmetics: Sequence[Spec] = (None,),
    alphas: Sequence[float] = (0.5, 1.0),
    causes: bool = True,
    pools: bool = True,
    confidence: float = 0.95,
    seed: int = 0,
) -> Kink:
    """Count what lies exactly at a kink, and say what hangs on the derivative there.

    A copy of the model runs each batch forward once and backward with several derivatives at the
    kink. Nothing is trained; every batch meets the same weights and buffers.

    Args:
        model: The model; it is not run itself.
        data: Batches: a tensor, a pair of inputs and target, or a list or data loader of these.
        loss: Makes a scalar of the output and of the target; None takes the output's own ``loss``.
        arithmetics: Ways to compute: None (as the model is), a dtype, an arithmetic or its name, or
            an `Execution`, which can add biases apart from the sums.
        alphas: Derivatives at the kink that are compared with 0, in (0, 1].
        causes: Whether to find out why each pre-activation is at a kink; computes the product
            before it again in binary64 where some are.
        pools: Whether to look at ties of max pooling too.
        confidence: Of all intervals.
        seed: Of dropout, and of stochastic rounding.

    Returns:
        Rows for activations, for poolings and for batches, with findings.

    Raises:
        CompareError: The model cannot be copied, there are no data or no loss, or an argument is
            out of range.
        ArithmeticSpecError: An arithmetic is unknown.

    Numerics:
        r(alpha) = ||g_alpha - g_0|| / ||g_0||, norms over all parameters in binary64. A batch is
        changed where any element of the gradient differs at the largest alpha (of opposite zeros
        none does); a gradient that differs without another slope is no evidence, and such batches
        are marked. The interval of the share of batches is Clopper and Pearson's; that of the share
        of zeros is over batches, as clusters.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU())
        >>> found = kink(model, torch.zeros(3, 2), lambda out, _: out.sum())
        >>> found.zeros[0].causes["structural"], found.runs[0].changed.value
        (6, 0.0)
    """
    check(alphas, confidence)
    batches = batches_of(data)
    zeros: list[ZeroRow] = []
    poolings: list[PoolRow] = []
    runs: list[KinkRun] = []
    for execution in map(execution_of, arithmetics):
        counting = Counting(execution, causes=causes, pools=pools)
        patient = patient_of(model, execution)
        changes = changes_of(patient, batches, loss, execution, counting, tuple(alphas), seed)
        runs.append(_run(execution, patient, changes, confidence))
        zeros += _zero_rows(execution.name, counting, len(batches), confidence)
        poolings += [
            PoolRow(execution.name, layer, tally.windows, tally.tied)
            for layer, tally in counting.pools.items()
        ]
    return Kink(
        model=type(model).__name__,
        alphas=tuple(alphas),
        confidence=confidence,
        zeros=tuple(zeros),
        pools=tuple(poolings),
        runs=tuple(runs),
        findings=find(zeros, poolings, runs),
    )


def check(alphas: Sequence[float], confidence: float) -> None:
    """Refuse slopes and confidences that are none."""
    if not alphas or not all(0 < alpha <= 1 for alpha in alphas):
        raise CompareError(
            f"alphas={tuple(alphas)!r}: expected one slope or more, each in (0, 1]; the slope 0 is "
            "what they are compared with."
        )
    if not 0 < confidence < 1:
        raise CompareError(f"confidence={confidence!r}: expected a number in (0, 1).")


def patient_of(model: nn.Module, execution: Execution) -> nn.Module:
    """A copy of a model in the dtype and with the weights of an execution, without gradients."""
    patient = copied(model, None).model
    if execution.dtype is not None:
        patient = patient.to(execution.dtype)
    arithmetic = execution.arithmetic
    weights = None if arithmetic is None else get_arithmetic(arithmetic).weights
    for parameter in patient.parameters():
        parameter.grad = None
        if weights is not None and parameter.is_floating_point():
            round_to(parameter.data, weights, out=parameter.data)
    return patient


def changes_of(
    patient: nn.Module,
    batches: Iterable[Batch],
    loss: Loss | None,
    execution: Execution,
    counting: Counting,
    alphas: tuple[float, ...],
    seed: int,
) -> list[BatchChange]:
    """What hangs on the slopes, batch by batch, of a copy that may be run."""
    buffers = {name: each.clone() for name, each in patient.named_buffers()}
    found: list[BatchChange] = []
    for batch in batches:
        with seeded(seed), torch.enable_grad():
            with executing(patient, execution, seed), kink_at(patient, None) as mode:
                mode.onlooker = counting
                counting.begin()
                value = loss_of(patient, batch, loss)
                mode.onlooker = None
                gradients = _work(patient, value, mode, counting, alphas)
        found.append(_change(gradients, counting, alphas))
        for name, each in patient.named_buffers():
            each.copy_(buffers[name])
    return found


@dataclass(frozen=True, slots=True)
class _Worked:
    """Gradients of one graph: with ReLU'(0) = 0 twice, with other slopes, with other ties."""

    names: tuple[str, ...]
    base: Gradients
    others: dict[float, Gradients]
    tied: Gradients
    again: Gradients


def _work(
    patient: nn.Module,
    loss: Tensor,
    mode: KinkMode,
    counting: Counting,
    alphas: tuple[float, ...],
) -> _Worked | None:
    """Work one graph backwards with several slopes; None where nothing could hang on them."""
    named = {name: p for name, p in patient.named_parameters() if p.requires_grad}
    met, ties = counting.met_now(), counting.ties_now()
    if not (met or ties) or not loss.requires_grad or not named:
        return None

    def work(alpha: float, *, last: bool = False) -> Gradients:
        mode.plan = dict.fromkeys(mode.plan, alpha)
        mode.pool = "last" if last else "first"
        wanted = list(named.values())
        return list(torch.autograd.grad(loss, wanted, retain_graph=True, allow_unused=True))

    base = work(0.0)
    others = {alpha: work(alpha) if met else base for alpha in alphas}
    tied = work(0.0, last=True) if ties else base
    with _disable_current_modes():
        is_same = not any(n_different(base, each) for each in (*others.values(), tied))
    return _Worked(tuple(named), base, others, tied, base if is_same else work(0.0))


def _change(worked: _Worked | None, counting: Counting, alphas: tuple[float, ...]) -> BatchChange:
    met, numerical = counting.met_now(), counting.numerical_now()
    if worked is None:
        sizes = tuple((alpha, 0.0) for alpha in alphas)
        return BatchChange(met, numerical, sizes, (), 0.0, 0.0, True)
    base, most = worked.base, worked.others[max(alphas)]
    n_weights = sum(gradient.numel() for gradient in base if gradient is not None)
    return BatchChange(
        n_zero=met,
        n_numerical=numerical,
        sizes=tuple((alpha, distance(base, other)) for alpha, other in worked.others.items()),
        layers=tuple(_by_layer(worked.names, base, most)),
        weights=n_different(base, most) / max(1, n_weights),
        pooling=distance(base, worked.tied),
        is_sure=n_different(base, worked.again) == 0,
    )


def n_different(a: Gradients, b: Gradients) -> int:
    """Elements in which two gradients differ; two NaN do not."""
    return sum(
        int(((x != y) & ~(x.isnan() & y.isnan())).sum())
        for x, y in zip(a, b, strict=True)
        if x is not None and y is not None and x is not y
    )


def distance(base: Gradients, other: Gradients) -> float:
    """||other - base|| / ||base|| in binary64; 0 between equal ones, infinite against 0."""
    if n_different(base, other) == 0:
        return 0.0
    whole = math.sqrt(sum(_squares(x) for x in base if x is not None))
    return _gap(base, other) / whole if whole else math.inf


def _gap(base: Gradients, other: Gradients) -> float:
    pairs = [(x, y) for x, y in zip(base, other, strict=True) if x is not None and y is not None]
    return math.sqrt(sum(_squares(y.double() - x.double()) for x, y in pairs))


def _squares(x: Tensor) -> float:
    return float(x.double().square().sum())


def _by_layer(
    names: Sequence[str], base: Gradients, other: Gradients
) -> Iterable[tuple[str, float]]:
    whole = math.sqrt(sum(_squares(x) for x in base if x is not None))
    layers = dict.fromkeys(name.rpartition(".")[0] for name in names)
    for layer in layers:
        own = [i for i, name in enumerate(names) if name.rpartition(".")[0] == layer]
        gap = _gap([base[i] for i in own], [other[i] for i in own])
        yield layer, gap / whole if whole and gap else 0.0


def _run(
    execution: Execution, patient: nn.Module, changes: list[BatchChange], confidence: float
) -> KinkRun:
    n_changed = sum(change.is_changed and change.is_sure for change in changes)
    low, high = clopper_pearson(n_changed, len(changes), confidence)
    changed = Estimate(n_changed / len(changes), low, high)
    dtype = next((p.dtype for p in patient.parameters()), torch.float32)
    roundoff = stored_format(execution, dtype).unit_roundoff
    return KinkRun(execution.name, len(changes), changed, roundoff, tuple(changes))


def _zero_rows(
    name: str, counting: Counting, n_batches: int, confidence: float
) -> Iterable[ZeroRow]:
    for layer, tally in counting.layers.items():
        yield ZeroRow(
            execution=name,
            layer=layer,
            n=sum(tally.seen),
            n_zero=sum(tally.met),
            share=_share(tally, confidence),
            causes=dict(tally.causes),
            n_numerical=sum(tally.numerical),
        )


def _share(tally: Tally, confidence: float) -> Estimate:
    """Batches are clusters, drawn from more data than were seen."""
    return ratio(tally.met, tally.seen, 1 << 62, confidence)
