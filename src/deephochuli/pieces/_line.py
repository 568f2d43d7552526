"""Count the regions and the affine pieces of a module along a segment or a path."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import nn

from deephochuli.errors import PiecesError
from deephochuli.pieces._affine import Rows
from deephochuli.pieces._assembly import Found, joined, parts
from deephochuli.pieces._chain import chains
from deephochuli.pieces._exact import decided
from deephochuli.pieces._functions import HANDLERS
from deephochuli.pieces._moves import prepare
from deephochuli.pieces._program import Program
from deephochuli.pieces._result import LineCount
from deephochuli.pieces._tally import Tally, tallied
from deephochuli.pieces._trace import trace
from deephochuli.pieces._walk import Report, walk, walks

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
    counter = Counter(model, *_samples(ends), layer=layer)
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
    ends = [_checked(a, b) for a, b in pairwise(points)]
    counter = Counter(
        model, *_samples(torch.cat([ends[0][:1], *(e[1:] for e in ends)])), layer=layer
    )
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
    counter = Counter(model, *_samples(_checked(x0, x1)), layer=layer)
    return counter.tally(x0, x1, most_bytes=most_bytes, report=report)


class Counter:
    """A module written down once, to be counted on many segments.

    What does not depend on the segment is done when the counter is made: the module is followed,
    and the norms of its layers are found. For a small module that takes longer than a count. The
    weights are those of that moment: after the module has changed, make another counter.
    """

    def __init__(self, model: nn.Module, *examples: torch.Tensor, layer: str | None = None) -> None:
        """Write a module down.

        Args:
            model: A module of affine and piecewise linear operations; see `count`. It is copied.
            examples: One or more inputs, without a batch dimension; for all of them what was
                written down is compared with the module.
            layer: Path of an inner module to count alone.

        Raises:
            PiecesError: The module cannot be counted, or no example was given.

        Example:
            >>> import torch
            >>> counter = Counter(torch.nn.ReLU(), torch.zeros(1))
            >>> [counter.count(torch.tensor([-1.0]), torch.tensor([x])).n_pieces for x in (-2.0, 2)]
            [1, 2]
        """
        if not examples:
            raise PiecesError("A counter needs an input to follow the model with; got none.")
        samples = torch.stack([each.detach().double().cpu() for each in examples])
        self._program = trace(model, samples, layer, HANDLERS)
        self._prepared = prepare(self._program)
        self._chains = chains(self._program, self._prepared)

    def count(
        self,
        x0: torch.Tensor,
        x1: torch.Tensor,
        *,
        exact: bool = False,
        most_bytes: int = MOST_BYTES,
        report: Report | None = None,
    ) -> LineCount:
        """Count between two inputs; see the function `count`."""
        segment = self._ends(x0, x1)[None]
        return next(self._counted(segment, exact, most_bytes, report))

    def count_many(
        self,
        starts: Sequence[torch.Tensor],
        ends: Sequence[torch.Tensor],
        *,
        exact: bool = False,
        most_bytes: int = MOST_BYTES,
        report: Report | None = None,
    ) -> tuple[LineCount, ...]:
        """Count on many segments, one result for each: the same as one by one, and faster.

        Args:
            starts: Where each segment begins; single inputs, or one tensor of them.
            ends: Where it ends.
            exact: Decide open places in exact arithmetic.
            most_bytes: About how much memory a count may take.
            report: Called with the finished share of each segment, and the bends so far.

        Raises:
            PiecesError: See `count`; also for more starts than ends, or fewer.

        Numerics:
            See `count`; the numbers are the same to the last bit.

        Example:
            >>> import torch
            >>> counter = Counter(torch.nn.ReLU(), torch.zeros(1))
            >>> starts, ends = torch.tensor([[-1.0], [1.0]]), torch.tensor([[2.0], [3.0]])
            >>> [each.n_regions for each in counter.count_many(starts, ends)]
            [2, 1]
        """
        if len(starts) != len(ends):
            raise PiecesError(
                f"A segment has a start and an end; got {len(starts)} starts, {len(ends)} ends."
            )
        if not len(starts):
            return ()
        segments = np.stack([self._ends(a, b) for a, b in zip(starts, ends, strict=True)])
        return tuple(self._counted(segments, exact, most_bytes, report))

    def count_path(
        self,
        points: Sequence[torch.Tensor],
        *,
        exact: bool = False,
        most_bytes: int = MOST_BYTES,
        report: Report | None = None,
    ) -> tuple[LineCount, ...]:
        """Count along a path of segments; see the function `count_path`, and `count_many`."""
        if len(points) < 2:
            raise PiecesError(f"A path needs two points or more; got {len(points)}.")
        limits = {"exact": exact, "most_bytes": most_bytes}
        return self.count_many(points[:-1], points[1:], **limits, report=report)

    def tally(
        self,
        x0: torch.Tensor,
        x1: torch.Tensor,
        *,
        most_bytes: int = MOST_BYTES,
        report: Report | None = None,
    ) -> Tally:
        """Count between two inputs, and keep no bend; see the function `tally`."""
        ends = self._ends(x0, x1)
        return tallied(self._program, ends, self._parts(ends, most_bytes, report))

    def _counted(
        self, segments: Rows, exact: bool, most_bytes: int, report: Report | None
    ) -> Iterator[LineCount]:
        known, linked = (self._program, self._prepared, segments), self._chains
        trails = walks(*known, linked=linked, most_bytes=most_bytes, report=report)
        for ends, each in zip(segments, trails, strict=True):
            found = joined(parts(each))
            if exact:
                found = decided(self._program, ends, found, report)
            yield _result(self._program, ends, found)

    def _parts(self, ends: Rows, most_bytes: int, report: Report | None) -> Iterator[Found]:
        known, linked = (self._program, self._prepared, ends), self._chains
        return parts(walk(*known, linked=linked, most_bytes=most_bytes, report=report))

    def _ends(self, x0: torch.Tensor, x1: torch.Tensor) -> Rows:
        ends = _checked(x0, x1)
        if tuple(ends.shape[1:]) != self._program.shape:
            raise PiecesError(
                f"The counter was made for inputs of shape {self._program.shape}; got "
                f"{tuple(ends.shape[1:])}. Give single inputs, without a batch dimension."
            )
        return ends.reshape(2, -1).numpy()


def _checked(x0: torch.Tensor, x1: torch.Tensor) -> torch.Tensor:
    """Both ends in float64, shape (2, *input)."""
    if x0.shape != x1.shape:
        raise PiecesError(
            f"The ends of the segment have different shapes: {tuple(x0.shape)} and "
            f"{tuple(x1.shape)}. Give two single inputs, without a batch dimension."
        )
    ends = torch.stack([each.detach().to("cpu", torch.float64) for each in (x0, x1)])
    flat = ends.numpy()
    if not np.isfinite(flat).all():
        raise PiecesError("An end of the segment holds NaN or infinity; both must be finite.")
    if (flat[0] == flat[1]).all():
        raise PiecesError("Both ends of the segment are the same point; give two different ones.")
    return ends


def _samples(ends: torch.Tensor) -> torch.Tensor:
    """Inputs on which a program is checked: the ends, and one between them."""
    return torch.cat([ends, (0.375 * ends[0] + 0.625 * ends[1])[None]])


def _result(program: Program, ends: Rows, found: Found) -> LineCount:
    length = float(np.linalg.norm(ends[1] - ends[0]))
    return LineCount(
        n_regions=found.regions.nearest(len(found.t) + 1),
        n_pieces=found.pieces.nearest(int(found.is_bend.sum()) + 1),
        regions=found.regions,
        pieces=found.pieces,
        t=found.t,
        jump=found.jump / length,
        layer=program.numbers[found.step],
        unit=found.unit,
        layers=program.bending_layers,
        is_bend=found.is_bend,
        n_ambiguous=len(found.open_low),
        n_exact=found.n_exact,
        length=length,
        n_units=program.n_units,
        max_error=found.max_error,
        _program=program,
        _ends=ends,
    )
