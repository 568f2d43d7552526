"""How pre-activations vary along a segment of inputs: assumption (B), unit by unit."""

# torch's types for forward-mode differentiation are partial.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

import copy
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd import forward_ad

from deephochuli.analysis.assumptions._bends import Bend, bends_of
from deephochuli.errors import PiecesError

Floats = NDArray[np.float64]

_ROWS = 1 << 12
"""Points of the segment that go through the model at once."""


@dataclass(frozen=True, slots=True)
class Path:
    """The pre-activations of one activation along the segment x0 + t (x1 - x0), t from 0 to 1.

    Attributes:
        kind: Kind of the activation.
        bias: Name of the bias added last to it; None where there is none.
        n_kinks: Places at which the activation bends.
        channel: For each unit the element of the bias that it carries, int64 [units].
        sup_slope: For each unit sup |dz/dt|, float64 [units].
        variation: For each unit the integral of |dz/dt| over t, its total variation.
        n_crossings: For each unit how often z crosses a kink.
    """

    kind: str
    bias: str | None
    n_kinks: int
    channel: NDArray[np.int64]
    sup_slope: Floats
    variation: Floats
    n_crossings: NDArray[np.int64]


def paths(model: nn.Module, x0: Tensor, x1: Tensor, bounds: Floats) -> list[Path]:
    """Follow every pre-activation along a segment that is cut into cells.

    Args:
        model: Module; a copy of it in evaluation mode and in float64 is run.
        x0: First input, without a batch dimension.
        x1: Last input.
        bounds: Where the cells begin and end, rising from 0 to 1. If they are the activation
            regions, dz/dt is constant on each and the results are exact; otherwise suprema are
            lower bounds.

    Raises:
        PiecesError: An activation does not run on each row of a batch by itself.

    Numerics:
        dz/dt comes from forward-mode differentiation at the middle of each cell, in float64: no
        difference of neighbouring values is formed. Crossings are changes of the side of a kink
        between neighbouring middles.
    """
    model = copy.deepcopy(model).double().eval()
    middles, lengths = (bounds[1:] + bounds[:-1]) / 2, np.diff(bounds)
    found: list[Path] | None = None
    last: list[Floats] = []
    for begin in range(0, len(middles), _ROWS):
        part = slice(begin, begin + _ROWS)
        values = list(_values(model, x0, x1, middles[part]))
        made = [_path(bend, z, dz, lengths[part]) for bend, z, dz in values]
        if found is not None:
            joints = [
                _crossings(np.stack([before, z[0]]), bend.kinks)
                for before, (bend, z, _) in zip(last, values, strict=True)
            ]
            made = [_joined(*each) for each in zip(found, made, joints, strict=True)]
        found, last = made, [z[-1] for _, z, _ in values]
    return found or []


def _values(
    model: nn.Module, x0: Tensor, x1: Tensor, t: Floats
) -> Iterator[tuple[Bend, Floats, Floats]]:
    """Each activation with z and dz/dt at some t, both [len(t), units]."""
    start, direction = x0.double(), (x1.double() - x0.double())
    at = torch.from_numpy(t).to(start.device).reshape(-1, *[1] * start.dim())
    with torch.no_grad(), _dual_level():
        tangent = direction.expand(len(t), *direction.shape).clone()
        with bends_of(model) as bends:
            model(forward_ad.make_dual(start + at * direction, tangent))
        for bend in bends:
            z, dz = forward_ad.unpack_dual(bend.z)
            if len(z) != len(t):
                raise PiecesError(
                    f"An activation ({bend.kind}) saw {len(z)} rows for {len(t)} inputs, so its "
                    "units cannot be followed along the segment. Activations have to keep the "
                    "batch dimension first."
                )
            dz = torch.zeros_like(z) if dz is None else dz
            yield bend, z.flatten(1).cpu().numpy(), dz.flatten(1).cpu().numpy()


@contextmanager
def _dual_level() -> Generator[None]:
    """Forward-mode differentiation; torch compiles a few formulas with what it has deprecated."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", DeprecationWarning)
        with forward_ad.dual_level():
            yield


def _path(bend: Bend, z: Floats, dz: Floats, lengths: Floats) -> Path:
    slopes = np.abs(dz)
    return Path(
        kind=bend.kind,
        bias=bend.bias,
        n_kinks=len(bend.kinks),
        channel=_channels(bend),
        sup_slope=slopes.max(axis=0),
        variation=lengths @ slopes,
        n_crossings=_crossings(z, bend.kinks),
    )


def _channels(bend: Bend) -> NDArray[np.int64]:
    """The element of the bias for each unit, in the order of a flattened row."""
    shape = bend.z.shape[1:]
    if bend.bias is None or bend.channel_dim == 0:
        return np.zeros(int(np.prod(shape)), dtype=np.int64)
    return np.indices(tuple(shape), dtype=np.int64)[bend.channel_dim - 1].ravel()


def _crossings(z: Floats, kinks: tuple[float, ...]) -> NDArray[np.int64]:
    """How often each column changes sides of a kink from row to row."""
    changes = np.stack([(z[1:] > kink) != (z[:-1] > kink) for kink in kinks])
    return changes.sum(axis=(0, 1), dtype=np.int64)


def _joined(a: Path, b: Path, n_between: NDArray[np.int64]) -> Path:
    """Two neighbouring stretches of one activation as one."""
    return replace(
        a,
        sup_slope=np.maximum(a.sup_slope, b.sup_slope),
        variation=a.variation + b.variation,
        n_crossings=a.n_crossings + b.n_crossings + n_between,
    )
