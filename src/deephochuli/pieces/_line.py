"""Count the regions and the affine pieces of a module along a segment or a path."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from deephochuli.errors import PiecesError
from deephochuli.pieces._counter import MOST_BYTES, Counter
from deephochuli.pieces._inputs import check
from deephochuli.pieces._result import LineCount
from deephochuli.pieces._tally import Tally
from deephochuli.pieces._walk import Report


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
    check(x0, x1)
    counter = Counter(model, x0, x1, layer=layer)
    return counter.count(x0, x1, exact=exact, most_bytes=most_bytes, report=report)


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
    for a, b in pairwise(points):
        check(a, b)
    counter = Counter(model, *points, layer=layer)
    return counter.count_path(points, exact=exact, most_bytes=most_bytes, report=report)


def tally(
    model: nn.Module,
    x0: torch.Tensor,
    x1: torch.Tensor,
    *,
    layer: str | None = None,
    most_bytes: int = MOST_BYTES,
    report: Report | None = None,
) -> Tally:
    """Count as `count` does and keep no bend, in memory that does not grow with the count.

    Args:
        model: A module of affine and piecewise linear operations; see `count`.
        x0: One input, without a batch dimension.
        x1: Another one.
        layer: Path of an inner module to count alone; x0 and x1 are inputs of that module.
        most_bytes: About how much memory the count may take.
        report: Called now and then with the finished share of the segment and the bends so far.

    Raises:
        PiecesError: See `count`.

    Numerics:
        See `count`; the numbers are the same.

    Example:
        >>> import torch
        >>> found = tally(torch.nn.ReLU(), torch.tensor([-1.0]), torch.tensor([1.0]))
        >>> found.n_pieces, found.pieces.is_certain
        (2, True)
    """
    check(x0, x1)
    counter = Counter(model, x0, x1, layer=layer)
    return counter.tally(x0, x1, most_bytes=most_bytes, report=report)
