"""Significant bits of activations, gradients and updates, from a few runs with random errors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from deephochuli.analysis.significance._bits import (
    agreed_bits,
    bernoulli_probability,
    deviation_factor,
    estimated_bits,
    penalty_bits,
    reach,
)
from deephochuli.analysis.significance._findings import find
from deephochuli.analysis.significance._margins import ARGMAX, POOL, RELU
from deephochuli.analysis.significance._places import Followed
from deephochuli.analysis.significance._result import (
    THRESHOLDS,
    BranchStability,
    LayerBits,
    Significance,
)
from deephochuli.analysis.significance._runs import Loss, Task, copied, run
from deephochuli.errors import CompareError
from deephochuli.formats import format_of_dtype

_DECISIONS = (RELU, POOL, ARGMAX)


def significance(
    model: nn.Module,
    batch: Any,
    *,
    loss: Loss | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    n_samples: int = 8,
    precision_bits: int | None = None,
    confidence: float = 0.95,
    probability: float = 0.95,
    max_elements: int = 1 << 16,
    seed: int = 0,
) -> Significance:
    """Estimate how many bits of a model's numbers are significant on one batch.

    A copy of the model runs once as it is, then `n_samples` times with random errors of the size of
    rounding errors (`deephochuli.arithmetic.perturbed`), forward, backward and, where there is an
    optimizer, its step. Bits that change from run to run are not significant.

    Args:
        model: The model; it is not run itself.
        batch: Its input: a tensor, a tuple of arguments, or a mapping of keyword arguments.
        loss: Makes a scalar of the model's output; None takes the output's own ``loss``, or else a
            fixed random combination of the outputs.
        optimizer: An optimizer of the model, of which one step is made with each sample's gradient.
        n_samples: Runs with errors, 3 or more; 16 give a sharper bound, at twice the cost of 8.
        precision_bits: Size of the errors, see `perturbed`; None takes the precision of each
            tensor's own dtype.
        confidence: Confidence of the guaranteed bits, one-sided.
        probability: Probability with which the guaranteed bits of an element hold in one run.
        max_elements: Elements of each tensor that are followed, chosen at random beyond that. Five
            numbers are kept for each: all elements take five times the memory of all activations
            and gradients of the batch, no more whatever `n_samples`.
        seed: Of the errors, of dropout (the same in all runs), and of what is followed.

    Returns:
        Bits by layer and quantity, stability of decisions, and findings.

    Raises:
        CompareError: The model cannot be copied, or the arguments are out of range.

    Numerics:
        Deviations are formed from differences to the first run, see `Spread`. The guaranteed bits
        are the estimate minus `penalty_bits`; for normal samples they hold with the confidence
        stated. The errors of sums inside an operator are those that the operator really makes, for
        operands that differ in their last bits.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU())
        >>> bits = significance(model, torch.ones(4, 8), n_samples=3)
        >>> [row.layer for row in bits.of("a")]
        ['0', '1']
    """
    _check(n_samples, confidence, probability, max_elements)
    patient = copied(model, optimizer)
    task = Task(batch, loss, seed, precision_bits)
    places: dict[tuple[str, str], Followed] = {}

    def begin(layer: str, quantity: str, tensor: Tensor) -> None:
        places[layer, quantity] = Followed(quantity, tensor, max_elements, seed + len(places))

    def add(layer: str, quantity: str, tensor: Tensor) -> None:
        if (layer, quantity) in places:
            places[layer, quantity].add(tensor)

    run(patient, task, begin, None)
    for sample in range(n_samples):
        run(patient, task, add, sample)
    lost = [key for key, each in places.items() if each.spread.n_samples < n_samples]
    kept = {key: each for key, each in places.items() if key not in lost}
    return _result(model, task, kept, lost, n_samples, probability, confidence)


def _check(n_samples: int, confidence: float, probability: float, max_elements: int) -> None:
    if n_samples < 2:
        raise CompareError(
            f"Cannot estimate significant bits from {n_samples} samples: at least 2 are needed for "
            "a deviation, and 3 to 16 are usual."
        )
    for name, value in (("confidence", confidence), ("probability", probability)):
        if not 0 < value < 1:
            raise CompareError(f"{name}={value!r} is out of range: expected a number in (0, 1).")
    if max_elements < 1:
        raise CompareError(f"max_elements={max_elements!r} is out of range: expected 1 or more.")


def _result(
    model: nn.Module,
    task: Task,
    places: dict[tuple[str, str], Followed],
    lost: list[tuple[str, str]],
    n_samples: int,
    probability: float,
    confidence: float,
) -> Significance:
    penalty = penalty_bits(n_samples, probability, confidence)
    bound = deviation_factor(n_samples, confidence) * reach(probability)
    layers = tuple(
        layer_bits(layer, quantity, each, penalty)
        for (layer, quantity), each in places.items()
        if quantity not in _DECISIONS
    )
    branches = tuple(
        branch_stability(layer, quantity, each, bound)
        for (layer, quantity), each in places.items()
        if quantity in _DECISIONS
    )
    return Significance(
        model=type(model).__name__,
        n_samples=n_samples,
        precision_bits=task.precision_bits,
        probability=probability,
        confidence=confidence,
        penalty=penalty,
        bernoulli_probability=bernoulli_probability(n_samples, confidence),
        layers=layers,
        branches=branches,
        lost=tuple(f"{layer}:{quantity}" for layer, quantity in lost),
        findings=find(layers, branches, n_samples),
    )


def layer_bits(layer: str, quantity: str, followed: Followed, penalty: float) -> LayerBits:
    """The row of one tensor."""
    fmt = format_of_dtype(str(followed.dtype))
    precision, spread = fmt.precision, followed.spread
    mean, deviation = spread.mean, spread.deviation
    is_finite = mean.isfinite() & deviation.isfinite() & spread.first.isfinite()
    used = is_finite & ~spread.is_zero
    mean, deviation = mean[used], deviation[used]
    bits = estimated_bits(mean, deviation, precision)
    sure = (bits - penalty).clamp(min=0)
    median, *quantiles = _quantiles(bits, (0.5, 0.05, 0.25, 0.75, 0.95))
    return LayerBits(
        layer=layer,
        quantity=quantity,
        format=fmt.name,
        precision=precision,
        n_elements=followed.n_elements,
        n_followed=followed.n_followed,
        n_zero=int(spread.is_zero.sum()),
        n_nonfinite=int((~is_finite).sum()),
        n_resolution_limited=int((deviation == 0).sum()),
        median=median,
        quantiles=(quantiles[0], quantiles[1], quantiles[2], quantiles[3]),
        guaranteed=_quantiles(sure, (0.5,))[0],
        agreed=_quantiles(agreed_bits(mean, spread.largest[used], precision), (0.5,))[0],
        share_below=tuple((k, _mean(sure < k)) for k in THRESHOLDS),
        bias=_bias(spread.shift[used], deviation, spread.n_samples),
    )


def branch_stability(layer: str, kind: str, followed: Followed, bound: float) -> BranchStability:
    """The row of one layer's decisions."""
    spread = followed.spread
    counts = ~spread.is_zero
    turned = ~spread.keeps_sign & counts
    doubtful = (spread.mean.abs() < bound * spread.deviation) & counts
    n_unstable, n_counted = int((turned | doubtful).sum()), int(counts.sum())
    return BranchStability(
        layer=layer,
        kind=kind,
        n_decisions=followed.n_elements,
        n_followed=followed.n_followed,
        n_ties=followed.n_followed - n_counted,
        n_turned=int(turned.sum()),
        n_unstable=n_unstable,
        share=n_unstable / n_counted if n_counted else float("nan"),
    )


def _quantiles(values: Tensor, shares: tuple[float, ...]) -> list[float]:
    if not values.numel():
        return [float("nan")] * len(shares)
    ordered = values.sort().values
    return [float(ordered[round(share * (len(ordered) - 1))]) for share in shares]


def _mean(mask: Tensor) -> float:
    return float(mask.double().mean()) if mask.numel() else float("nan")


def _bias(shift: Tensor, deviation: Tensor, n_samples: int) -> float:
    """Mean of the shift in standard errors, over the elements that vary at all."""
    varies = deviation > 0
    if not varies.any():
        return 0.0
    return float((shift[varies] * n_samples**0.5 / deviation[varies]).mean())
