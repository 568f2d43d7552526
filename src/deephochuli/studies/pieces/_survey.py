"""Regions and pieces of a group of networks, and the bound on their expected number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deephochuli import pieces
from deephochuli.analysis.assumptions import most_bends, paths
from deephochuli.studies.pieces._nets import Group

Segment = tuple[Tensor, Tensor]
Floats = NDArray[np.float64]

_N_SLOPED = 3
"""Networks of each group whose slopes are measured, which costs more than counting."""

_N_RECOUNTED = 1
"""Networks of each group that are counted again in rational arithmetic, if float64 is in doubt."""


def segments(zoom: int, n_nets: int, seed: int, low: float = 0.0) -> list[Segment]:
    """A segment for each network: [low, 1], or a random dyadic interval of length 2^-zoom.

    At a start with L layers of teeth, 2^(L - zoom) pieces lie on such an interval.
    """
    if zoom == 0:
        begins, length = np.full(n_nets, low), 1 - low
    else:
        length = 2.0**-zoom
        begins = np.random.default_rng(seed).integers(0, 2**zoom, n_nets) * length
    return [
        (torch.tensor([a], dtype=torch.float64), torch.tensor([a + length], dtype=torch.float64))
        for a in begins.tolist()
    ]


@dataclass(frozen=True, slots=True)
class Survey:
    """What lies on the segments of a group of networks.

    Attributes:
        regions: Activation regions of each network.
        pieces: Affine pieces of each.
        n_open: Networks of which rounding errors leave the count open in float64.
        n_recounted: How many of these were counted again in exact rational arithmetic.
        n_differing: How many of these counts then differed.
        cells: Where the regions of the first networks begin and end.
    """

    regions: list[int]
    pieces: list[int]
    n_open: int
    n_recounted: int
    n_differing: int
    cells: list[Floats]

    def values(self) -> dict[str, Any]:
        """As JSON holds it."""
        values = asdict(self)
        del values["cells"]
        return values


def surveyed(group: Group, where: Sequence[Segment]) -> Survey:
    """Count on every network's segment."""
    nets = [(group.one(index), segment) for index, segment in enumerate(where)]
    lines = [pieces.count(net, *segment) for net, segment in nets]
    left = [index for index, line in enumerate(lines) if not line.is_certain]
    again = {k: pieces.count(nets[k][0], *nets[k][1], exact=True) for k in left[:_N_RECOUNTED]}
    differing = sum(
        (line.n_regions, line.n_pieces) != (lines[k].n_regions, lines[k].n_pieces)
        for k, line in again.items()
    )
    return Survey(
        [line.n_regions for line in lines],
        [line.n_pieces for line in lines],
        n_open=len(left),
        n_recounted=len(again),
        n_differing=differing,
        cells=[np.concatenate([[0.0], line.t, [1.0]]) for line in lines[:_N_SLOPED]],
    )


def bounded(
    group: Group, where: Sequence[Segment], survey: Survey, widths: Sequence[Floats] | None
) -> dict[str, Any]:
    """Slopes of the first networks, and the bound where biases carry noise.

    Args:
        group: Networks after the step with noise.
        where: Their segments.
        survey: What was counted.
        widths: For each hidden layer what theta was multiplied by, [nets, units]; None: no noise.

    Returns:
        ``slope``: the largest |dz/dx|; ``bound``: from that slope, mean over the networks;
        ``bound_variation``: from the variation of each unit. None without noise.
    """
    slope, sums = 0.0, np.zeros(2)
    seen: list[list[tuple[Floats, NDArray[np.int64]]]] = []
    for index, cells in enumerate(survey.cells):
        x0, x1 = where[index]
        length = float(x1 - x0)
        found = paths(group.one(index), x0, x1, cells)
        slope = max(slope, max(float(path.sup_slope.max()) for path in found) / length)
        seen.append([(path.variation, path.n_crossings) for path in found])
    if widths is None:
        return {"slope": slope, "bound": None, "bound_variation": None}
    for index, layers in enumerate(seen):
        length = float(where[index][1] - where[index][0])
        for width, (variation, crossings) in zip(widths, layers, strict=True):
            most = np.full_like(variation, slope * length)
            sums[0] += most_bends(most, width[index], crossings).sum()
            sums[1] += most_bends(variation, width[index], crossings).sum()
    mean = 1 + sums / len(seen)
    return {"slope": slope, "bound": float(mean[0]), "bound_variation": float(mean[1])}
