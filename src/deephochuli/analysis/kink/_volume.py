"""Volume of the bifurcation zone: the share of weights at which the gradient hangs on ReLU'(0)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from deephochuli.analysis._batches import Loss, batches_of
from deephochuli.analysis._proportion import clopper_pearson
from deephochuli.analysis.kink._execution import Spec, execution_of
from deephochuli.analysis.kink._kink import changes_of, patient_of
from deephochuli.analysis.kink._tally import Counting
from deephochuli.analysis.swamping import Estimate
from deephochuli.errors import CompareError


@dataclass(frozen=True, slots=True)
class Volume:
    """How often random weights lie in the bifurcation zone of some batches.

    Attributes:
        execution: Its name.
        n: Draws of weights.
        n_changed: Draws at which the gradient of some batch hangs on ReLU'(0).
        share: n_changed / n with a Clopper-Pearson interval.
        n_batches: Pairs of weights and batch.
        n_batches_changed: Of these, with a gradient that hangs on ReLU'(0).
        n_seen: Pre-activations.
        n_zero: Of these, exactly at a kink.
    """

    execution: str
    n: int
    n_changed: int
    share: Estimate
    n_batches: int
    n_batches_changed: int
    n_seen: int
    n_zero: int


def bifurcation_volume(
    make: Callable[[int], nn.Module],
    data: Any,
    loss: Loss | None = None,
    *,
    seeds: Iterable[int] = range(100),
    arithmetics: Sequence[Spec] = (None,),
    confidence: float = 0.95,
) -> tuple[Volume, ...]:
    """Estimate, by drawing weights, how often the gradient hangs on ReLU'(0).

    The bifurcation zone of Bertoin, Bolte, Gerchinovitz and Pauwels (NeurIPS 2021) is the set of
    weights at which backpropagation with ReLU'(0) = 1 differs from that with 0 for some batch.

    Args:
        make: Makes a model with the weights of a seed.
        data: Batches: a tensor, a pair of inputs and target, or a list or data loader of these.
        loss: Makes a scalar of the output and of the target; None takes the output's own ``loss``.
        seeds: One for each draw.
        arithmetics: Ways to compute, as for `kink`; each meets the same draws.
        confidence: Of the intervals.

    Raises:
        CompareError: There are no seeds or no data.

    Numerics:
        A draw counts once however many batches change; batches of one draw are not independent, and
        the interval is over draws.

    Example:
        >>> import torch
        >>> def make(seed):
        ...     return nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU())
        >>> (found,) = bifurcation_volume(
        ...     make, torch.zeros(1, 2), lambda out, _: out.sum(), seeds=range(3)
        ... )
        >>> found.n_changed, found.n_zero
        (0, 6)
    """
    drawn, batches = list(seeds), batches_of(data)
    if not drawn:
        raise CompareError("There are no seeds: expected one for each draw of weights.")
    found: list[Volume] = []
    for execution in map(execution_of, arithmetics):
        changed: list[int] = []
        n_seen = n_zero = 0
        for seed in drawn:
            counting = Counting(execution, causes=False, pools=False)
            patient = patient_of(make(seed), execution)
            changes = changes_of(patient, batches, loss, execution, counting, (1.0,), seed)
            changed.append(sum(change.is_changed and change.is_sure for change in changes))
            n_seen += sum(sum(tally.seen) for tally in counting.layers.values())
            n_zero += sum(change.n_zero for change in changes)
        n_changed = sum(map(bool, changed))
        share = Estimate(
            n_changed / len(drawn), *clopper_pearson(n_changed, len(drawn), confidence)
        )
        found.append(
            Volume(
                execution.name,
                len(drawn),
                n_changed,
                share,
                len(drawn) * len(batches),
                sum(changed),
                n_seen,
                n_zero,
            )
        )
    return tuple(found)
