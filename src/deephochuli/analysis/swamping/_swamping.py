"""What the sums inside a model swallow: true addends, replayed in an order and a format."""

# Dice of torch have no types.
# pyright: reportUnknownMemberType=false
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from deephochuli.analysis._seeded import seeded
from deephochuli.analysis.significance import Loss, Task, call, copied, loss_of
from deephochuli.analysis.swamping._capture import Capture
from deephochuli.analysis.swamping._findings import find
from deephochuli.analysis.swamping._measure import measured, sampled
from deephochuli.analysis.swamping._plan import Plan, plan_of
from deephochuli.analysis.swamping._reductions import FORWARD, Reduction
from deephochuli.analysis.swamping._result import SumRow, Swamping
from deephochuli.arithmetic import Arithmetic
from deephochuli.errors import CompareError
from deephochuli.formats import Format

DEFAULT_ADDENDS = 1 << 22


def swamping(
    model: nn.Module,
    batch: Any,
    *,
    loss: Loss | None = None,
    arithmetic: Arithmetic | str | None = None,
    format: Format | str | None = None,
    orders: Sequence[str] | None = None,
    n_outputs: int = 512,
    max_addends: int = DEFAULT_ADDENDS,
    confidence: float = 0.95,
    seed: int = 0,
) -> Swamping:
    """Replay the sums inside a model's forward and backward on one batch, and count what is lost.

    A copy of the model runs once. The operands of every linear layer, convolution, matrix product,
    bias addition, normalisation, residual addition and gradient reduction are seen as torch
    computes with them, and the sums of some of their outputs are formed again, addition by
    addition.

    Args:
        model: The model; it is not run itself.
        batch: Its input: a tensor, a tuple of arguments, or a mapping of keyword arguments.
        loss: Makes a scalar of the model's output; None takes the output's own ``loss``, or else a
            fixed random combination of the outputs.
        arithmetic: Whose operands and sums are emulated: native sums (all `orders`), or a chain
            (its own order). None: the dtypes that the model computes in.
        format: Instead of an arithmetic: format of every addend and partial sum, as of an
            accumulator. None: FP32, which kernels sum FP32, FP16 and BF16 operands in, or FP64.
        orders: "sequential", "pairwise", "blocked" (32); None: all three, since the order in which
            a library adds is not known, and these are the worst and the best ones in use.
        n_outputs: Outputs of each reduction that are replayed, drawn at random.
        max_addends: Fewer outputs are replayed where they have more addends than this together, but
            not fewer than 16.
        confidence: Of all intervals, which come from the sampling of outputs alone.
        seed: Of the sampling, and of dropout.

    Returns:
        A row for each sum and order, with findings.

    Raises:
        ArithmeticSpecError: The arithmetic, the format or an order cannot be replayed.
        CompareError: The model cannot be copied, or the arguments are out of range.

    Numerics:
        An addition is absorbed when its rounded result is its larger operand and the smaller one is
        not zero. Products are exact, then rounded to the format (once together with the addition
        where the arithmetic is fused). Exact sums are formed in integers. Addends that are zero are
        in no denominator. Operands are those of the run in the model's own arithmetic.

    Example:
        >>> model = torch.nn.Linear(256, 4)
        >>> result = swamping(model, torch.ones(8, 256), format="bf16", orders=["sequential"])
        >>> sorted({row.sum for row in result.rows})
        ['bias add', 'bias gradient', 'forward', 'weight gradient']
    """
    if n_outputs < 1 or max_addends < 1 or not 0 < confidence < 1:
        raise CompareError(
            f"Cannot sample n_outputs={n_outputs!r} with max_addends={max_addends!r} and "
            f"confidence={confidence!r}: expected 1 or more, 1 or more, and a number in (0, 1)."
        )
    plan = plan_of(arithmetic, format, orders)
    rows: list[SumRow] = []
    unread: dict[str, None] = {}
    sink = _collector(plan, rows, unread, n_outputs, max_addends, confidence, seed)
    patient = copied(model, None)
    capture = Capture(patient.model, sink)
    _run(patient.model, Task(batch, loss, seed, None), capture)
    return Swamping(
        model=type(model).__name__,
        arithmetic=plan.name,
        confidence=confidence,
        rows=tuple(rows),
        not_replayed=(*capture.not_replayed, *unread),
        findings=find([row for row in rows if row.order == _first(plan, row.direction)]),
    )


def _first(plan: Plan, direction: str) -> str:
    """The order that findings speak of: the kindest one asked for, so that none is overdone."""
    ways = plan.forward if direction == FORWARD else plan.backward
    return ways[-1].order


def _collector(
    plan: Plan,
    rows: list[SumRow],
    unread: dict[str, None],
    n_outputs: int,
    max_addends: int,
    confidence: float,
    seed: int,
) -> Callable[[str, str, str, Reduction], None]:
    counts: dict[tuple[str, str], int] = {}

    def collect(layer: str, operator: str, direction: str, reduction: Reduction) -> None:
        key = (layer, reduction.name)
        counts[key] = number = counts.get(key, 0) + 1
        name = layer if number == 1 else f"{layer}#{number}"
        index = sampled(reduction, n_outputs, max_addends, seed + len(rows))
        ways = plan.forward if direction == FORWARD else plan.backward
        found = measured(reduction, index, ways, (name, operator, direction), confidence)
        rows.extend(found)
        if not found:
            what = f"{reduction.name} sums of {operator} (their addends hold NaN or infinity)"
            unread[f"{layer or '(model)'}: {what}"] = None

    return collect


def _run(model: nn.Module, task: Task, capture: Capture) -> None:
    """Run forward and backward once, seen by a capture."""
    with seeded(task.seed), torch.enable_grad():
        capture.places.follow()
        try:
            with capture:
                loss = loss_of(task, call(model, task.batch))
                wanted: list[Tensor] = [p for p in model.parameters() if p.requires_grad]
                if loss is not None and loss.requires_grad and wanted:
                    torch.autograd.grad(loss, wanted, allow_unused=True)
        finally:
            capture.places.forget()
