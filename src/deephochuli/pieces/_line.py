"""Count the regions and the affine pieces of a module along a segment or a path."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import nn

from deephochuli.errors import PiecesError
from deephochuli.pieces._affine import Rows
from deephochuli.pieces._assembly import Found, assembled
from deephochuli.pieces._certificate import clusters
from deephochuli.pieces._exact import decided
from deephochuli.pieces._functions import HANDLERS
from deephochuli.pieces._program import Program, is_bend
from deephochuli.pieces._result import Interval, LineCount
from deephochuli.pieces._trace import trace
from deephochuli.pieces._walk import Report, walk

MOST_BYTES = 1 << 28


def count(
    model: nn.Module,
    x0: torch.Tensor,
    x1: torch.Tensor,
    *,
    exact: bool = False,
    layer: str | None = None,
    most_bytes: int = MOST_BYTES,
    report: Report | None = None,
) -> LineCount:
    """Count activation regions and affine pieces of a module on the segment from x0 to x1.

    Every bend is found, however close to the next one: nothing is sampled and no step is taken.

    Args:
        model: A module of affine and piecewise linear operations: linear and convolution layers,
            batch norm in evaluation, average pooling, residual sums, reshaping, concatenation;
            ReLU, LeakyReLU, PReLU, Hardtanh, ReLU6, Hardsigmoid, abs, clamp, max-pooling, maxout.
            It is copied, and left as it is. Its weights are taken as they are stored, whatever
            their dtype; all arithmetic is float64.
        x0: One input, without a batch dimension.
        x1: Another one.
        exact: Decide places that rounding errors leave open in exact rational arithmetic. The time
            grows with their number, and with the size of the module.
        layer: Path of an inner module to count alone; x0 and x1 are inputs of that module.
        most_bytes: About how much memory the count may take; it changes the time, not the result.
        report: Called now and then with the finished share of the segment and the bends so far.

    Raises:
        PiecesError: The module holds what is neither affine nor piecewise linear, or weights that
            are not finite, or is training with batch norm or dropout; the inputs do not fit it, are
            not finite, or are the same point.

    Numerics:
        float64 with a bound on the error of every number (norms of the layers, Higham 2002, section
        3.1, for the sums); `regions` and `pieces` contain the true counts of the function with the
        stored weights in real arithmetic, the factors of batch norm being rounded to float64 once.
        With `exact=True` they are single numbers. The result repeats on one machine with one number
        of threads.

    Example:
        >>> import torch
        >>> layer = torch.nn.Linear(1, 2)
        >>> _ = layer.load_state_dict(
        ...     {"weight": torch.tensor([[1.0], [1.0]]), "bias": torch.tensor([-0.25, -0.5])}
        ... )
        >>> net = torch.nn.Sequential(layer, torch.nn.ReLU())
        >>> found = count(net, torch.tensor([0.0]), torch.tensor([1.0]))
        >>> found.n_regions, found.n_pieces, found.t.tolist()
        (3, 3, [0.25, 0.5])
    """
    ends = _checked(x0, x1)
    program = trace(model, _samples(ends), layer, HANDLERS)
    return _count(program, _rows(ends), exact=exact, most_bytes=most_bytes, report=report)


def count_path(
    model: nn.Module,
    points: Sequence[torch.Tensor],
    *,
    exact: bool = False,
    layer: str | None = None,
    most_bytes: int = MOST_BYTES,
    report: Report | None = None,
) -> tuple[LineCount, ...]:
    """Count along a path of segments, one result for each; see `count`.

    Args:
        model: A module of affine and piecewise linear operations.
        points: Two or more inputs.
        exact: Decide open places in exact arithmetic.
        layer: Path of an inner module to count alone.
        most_bytes: About how much memory a count may take.
        report: Called with the finished share of each segment, and the bends so far.

    Raises:
        PiecesError: See `count`; also for less than two points.

    Numerics:
        See `count`. The path turns at its points, which are not counted as bends.

    Example:
        >>> import torch
        >>> corners = [torch.tensor([-1.0]), torch.tensor([1.0]), torch.tensor([-2.0])]
        >>> [each.n_pieces for each in count_path(torch.nn.ReLU(), corners)]
        [2, 2]
    """
    if len(points) < 2:
        raise PiecesError(f"A path needs two points or more; got {len(points)}.")
    pairs = [_checked(a, b) for a, b in pairwise(points)]
    program = trace(model, _samples(torch.stack([p[0] for p in pairs])), layer, HANDLERS)
    return tuple(
        _count(program, _rows(pair), exact=exact, most_bytes=most_bytes, report=report)
        for pair in pairs
    )


def _checked(x0: torch.Tensor, x1: torch.Tensor) -> torch.Tensor:
    """Both ends in float64, shape (2, *input)."""
    if x0.shape != x1.shape:
        raise PiecesError(
            f"The ends of the segment have different shapes: {tuple(x0.shape)} and "
            f"{tuple(x1.shape)}. Give two single inputs, without a batch dimension."
        )
    ends = torch.stack([x0.detach().double().cpu(), x1.detach().double().cpu()])
    if not bool(torch.isfinite(ends).all()):
        raise PiecesError("An end of the segment holds NaN or infinity; both must be finite.")
    if bool((ends[0] == ends[1]).all()):
        raise PiecesError("Both ends of the segment are the same point; give two different ones.")
    return ends


def _samples(ends: torch.Tensor) -> torch.Tensor:
    """Inputs on which a program is checked: the ends, and one between them."""
    return torch.cat([ends, (0.375 * ends[0] + 0.625 * ends[1])[None]])


def _rows(ends: torch.Tensor) -> Rows:
    return ends.reshape(2, -1).numpy()


def _count(
    program: Program, ends: Rows, *, exact: bool, most_bytes: int, report: Report | None
) -> LineCount:
    trail = walk(program, ends, most_bytes=most_bytes, report=report)
    found = assembled(trail, clusters(trail.events))
    if exact:
        found = decided(program, ends, found, report)
    return _result(program, ends, found)


def _result(program: Program, ends: Rows, found: Found) -> LineCount:
    bending = [i for i, step in enumerate(program.steps) if is_bend(step)]
    number = np.zeros(len(program.steps), dtype=np.int32)
    number[bending] = np.arange(len(bending))
    length = float(np.linalg.norm(ends[1] - ends[0]))
    return LineCount(
        n_regions=_within(len(found.t) + 1, found.regions),
        n_pieces=_within(int(found.is_bend.sum()) + 1, found.pieces),
        regions=found.regions,
        pieces=found.pieces,
        t=found.t,
        jump=found.jump / length,
        layer=number[found.step],
        unit=found.unit,
        layers=tuple(program.steps[i].layer for i in bending),
        is_bend=found.is_bend,
        n_ambiguous=len(found.open_low),
        n_exact=found.n_exact,
        length=length,
        n_units=program.n_units,
        max_error=found.max_error,
        _program=program,
        _ends=ends,
    )


def _within(n: int, interval: Interval) -> int:
    """The model's count, where it is one of those that are possible."""
    return int(min(max(n, interval.low), interval.high))
