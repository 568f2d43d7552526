"""What is measured of the assumptions, and the bound that follows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deephochuli.analysis._finding import percent
from deephochuli.analysis._sheet import Sheet
from deephochuli.analysis._shown import sheet_for

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class BiasUpdates:
    """The updates of one bias in one step.

    Attributes:
        name: Name of the parameter.
        updates: D for each neuron, weights after the step minus before, float64 [neurons].
        dead: Whether each neuron was dead on the batch before the step; None where the bias is
            not followed by a rectifier.
        dead_after: Whether it is dead on the same batch after the step.
    """

    name: str
    updates: Floats
    dead: NDArray[np.bool_] | None
    dead_after: NDArray[np.bool_] | None

    @property
    def reciprocals(self) -> Floats:
        """1 / |D| of the updates that are not zero."""
        return 1 / np.abs(self.updates[self.updates != 0])

    @property
    def mean_reciprocal(self) -> float:
        """Their mean: what assumption (A) bounds; nan if all updates are zero."""
        return float(self.reciprocals.mean()) if self.reciprocals.size else math.nan

    @property
    def n_still(self) -> int:
        """Neurons whose bias did not move."""
        return int((self.updates == 0).sum())

    @property
    def n_dead(self) -> int:
        """Neurons that were dead before the step."""
        return 0 if self.dead is None else int(self.dead.sum())

    @property
    def n_revived(self) -> int:
        """Of these, neurons that are not dead after it: assumption (A) says there are none."""
        if self.dead is None or self.dead_after is None:
            return 0
        return int((self.dead & ~self.dead_after).sum())


@dataclass(frozen=True, slots=True)
class LayerSlopes:
    """How fast the pre-activations of one layer vary along the segment after the step.

    Attributes:
        name: Name of the bias of the layer; "" where units have none.
        sup_slope: For each unit the largest |dz/ds| over the segment and over all draws of the
            noise, s being length in input space: assumption (B) bounds it. float64 [units].
        variation: For each unit the integral of |dz/ds| ds, mean over the draws.
    """

    name: str
    sup_slope: Floats
    variation: Floats


@dataclass(frozen=True, slots=True)
class Assumptions:
    """The paper's assumptions on one model, one step and one segment, and the bound.

    Attributes:
        model: Class of the model.
        step: Step of the training, where known.
        law: Law of the noise.
        level: Its level eps.
        length: Length of the segment in input space, Euclidean.
        is_exact: Whether slopes were taken on every activation region; otherwise they are lower
            bounds, taken on a grid.
        biases: The updates of each bias.
        slopes: The slopes of each layer.
        bound: The theorem's bound on the expected number of activation regions after the step,
            from C, the largest slope of all; infinite where it gives none.
        bound_variation: The same from the variation of each unit, which is sharper.
        n_before: Regions on the segment before the step; None if they could not be counted.
        n_exact: Regions after the step without noise.
        n_noisy: Regions after the step with noise, one count a draw.
        notes: What was not measured, and why.
    """

    model: str
    step: int | None
    law: str
    level: float
    length: float
    is_exact: bool
    biases: tuple[BiasUpdates, ...]
    slopes: tuple[LayerSlopes, ...]
    bound: float
    bound_variation: float
    n_before: int | None
    n_exact: int | None
    n_noisy: tuple[int, ...]
    notes: tuple[str, ...]

    @property
    def mean_reciprocal(self) -> float:
        """Mean of 1 / |D| over the non-zero bias updates of the whole model: assumption (A)."""
        whole = np.concatenate([bias.reciprocals for bias in self.biases])
        return float(whole.mean()) if whole.size else math.nan

    @property
    def share_staying_dead(self) -> float:
        """Share of the dead neurons that are dead after the step too; nan if none is dead."""
        n_dead = sum(bias.n_dead for bias in self.biases)
        n_revived = sum(bias.n_revived for bias in self.biases)
        return 1 - n_revived / n_dead if n_dead else math.nan

    @property
    def sup_slope(self) -> float:
        """C: the largest slope of any pre-activation along the segment: assumption (B)."""
        return max((float(each.sup_slope.max()) for each in self.slopes), default=0.0)

    @property
    def mean_noisy(self) -> float:
        """Mean number of regions after a step with noise; nan if not counted."""
        return float(np.mean(self.n_noisy)) if self.n_noisy else math.nan

    @property
    def is_below(self) -> bool | None:
        """Whether the counted mean is below the bound; None if not counted."""
        return self.mean_noisy <= self.bound if self.n_noisy else None

    def sheet(self) -> Sheet:
        """The answer as tables and figures."""
        return sheet_for(self)

    def __str__(self) -> str:
        """The answer for a terminal."""
        width = max((len(bias.name) for bias in self.biases), default=4)
        head = f"{'bias':{width}} {'neurons':>8} {'still':>6} {'mean 1/|D|':>11}"
        lines = [f"{head} {'dead':>5} {'revived':>8}"]
        lines += [
            f"{bias.name:{width}} {bias.updates.size:8} {bias.n_still:6} "
            f"{bias.mean_reciprocal:11.4g} {bias.n_dead:5} {bias.n_revived:8}"
            for bias in self.biases
        ]
        staying = self.share_staying_dead
        kept = "no neuron is dead" if math.isnan(staying) else f"{percent(staying)} stay dead"
        lines.append(f"(A) mean 1/|D| {self.mean_reciprocal:.4g}; {kept}")
        lines.append(f"(B) sup |dz/ds| {self.sup_slope:.4g}{'' if self.is_exact else ' at least'}")
        lines.append(
            f"regions: {self.n_before} before, {self.n_exact} after, {self.mean_noisy:.1f} with "
            f"noise of level {self.level:.3g}; bound {self.bound:.4g} from C, "
            f"{self.bound_variation:.4g} from variations"
        )
        return "\n".join(lines)
