"""A module written down once, and counted on many segments."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import nn

from deephochuli.errors import PiecesError, check_kind
from deephochuli.pieces._affine import Rows
from deephochuli.pieces._assembly import Found, joined, parts
from deephochuli.pieces._chain import Judged, chains
from deephochuli.pieces._exact import decided
from deephochuli.pieces._functions import HANDLERS
from deephochuli.pieces._inputs import samples, segments
from deephochuli.pieces._moves import prepare
from deephochuli.pieces._program import Program
from deephochuli.pieces._result import Interval, LineCount
from deephochuli.pieces._stack import stacked
from deephochuli.pieces._tally import Tally, tallied
from deephochuli.pieces._trace import evaluated, inner, trace
from deephochuli.pieces._walk import Report, walk, walks

MOST_BYTES = 1 << 28
_MOST_NUMBERS = 1 << 20
"""So many numbers of inputs are made float64 at a time."""
_MOST_SEGMENTS = 256
"""So many segments are begun at a time."""


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
            examples: One or more inputs, without a batch dimension. For all of them what was
                written down is compared with the module, if it had to be run: stacks of linear
                layers and ReLUs are written down as they are.
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
        self._program = _program(model, examples, layer)
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
        segment = segments([x0], [x1], self._program.shape)
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
        found: list[LineCount] = []
        size = min(_MOST_SEGMENTS, max(1, _MOST_NUMBERS // max(1, math.prod(self._program.shape))))
        for i in range(0, len(starts), size):
            some = segments(starts[i : i + size], ends[i : i + size], self._program.shape)
            found += self._counted(some, exact, most_bytes, report)
        return tuple(found)

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
        return self.count_many(
            points[:-1], points[1:], exact=exact, most_bytes=most_bytes, report=report
        )

    def tally(
        self,
        x0: torch.Tensor,
        x1: torch.Tensor,
        *,
        most_bytes: int = MOST_BYTES,
        report: Report | None = None,
    ) -> Tally:
        """Count between two inputs, and keep no bend; see the function `tally`."""
        (ends,) = segments([x0], [x1], self._program.shape)
        trails = walk(
            self._program,
            self._prepared,
            ends,
            linked=self._chains,
            most_bytes=most_bytes,
            report=report,
        )
        return tallied(self._program, ends, parts(trails))

    def _counted(
        self, segments: Rows, exact: bool, most_bytes: int, report: Report | None
    ) -> Iterator[LineCount]:
        known = walks(
            self._program,
            self._prepared,
            segments,
            linked=self._chains,
            takes_open=not exact,
            most_bytes=most_bytes,
            report=report,
        )
        for ends, found in zip(segments, known, strict=True):
            if isinstance(found, Judged):
                yield _judged(self._program, ends, found)
                continue
            whole = joined(parts(found))
            if exact:
                whole = decided(self._program, ends, whole, report)
            yield _decided(self._program, ends, whole)


def _program(model: nn.Module, examples: Sequence[torch.Tensor], layer: str | None) -> Program:
    """A module as a program: as it is written where that can be seen, otherwise as it runs."""
    check_kind(model, nn.Module, "a torch.nn.Module", PiecesError, "Cannot count the pieces of")
    whole = getattr(model, "_orig_mod", model)  # behind torch.compile
    part, known = whole if layer is None else inner(whole, layer), samples(examples)
    found = stacked(part, tuple(known.shape[1:]))
    if found is None:
        return trace(model, known, layer, HANDLERS)
    evaluated(found, known)
    return found


def _decided(program: Program, ends: Rows, found: Found) -> LineCount:
    return _line(
        program,
        ends,
        found,
        (found.regions, found.pieces),
        n_bends=int(found.is_bend.sum()),
        n_ambiguous=len(found.open_low),
        n_exact=found.n_exact,
        max_error=found.max_error,
    )


def _judged(program: Program, ends: Rows, found: Judged) -> LineCount:
    n, least = len(found.t) + 1, found.n_bends + 1
    return _line(
        program,
        ends,
        found,
        (Interval(n, n), Interval(least, least + found.n_open)),
        n_bends=found.n_bends,
        n_ambiguous=found.n_open,
        n_exact=0,
        max_error=found.error,
    )


def _line(
    program: Program,
    ends: Rows,
    found: Found | Judged,
    counts: tuple[Interval, Interval],
    *,
    n_bends: int,
    n_ambiguous: int,
    n_exact: int,
    max_error: float,
) -> LineCount:
    """What is kept of a count: columns of its own, not parts of larger ones."""
    regions, pieces = counts
    along = ends[1] - ends[0]
    length = math.sqrt(float(along @ along))
    return LineCount(
        n_regions=regions.nearest(len(found.t) + 1),
        n_pieces=pieces.nearest(n_bends + 1),
        regions=regions,
        pieces=pieces,
        t=found.t.copy(),
        jump=found.jump / length,
        layer=program.numbers[found.step],
        unit=found.unit.copy(),
        layers=program.bending_layers,
        is_bend=found.is_bend,
        n_ambiguous=n_ambiguous,
        n_exact=n_exact,
        length=length,
        n_units=program.n_units,
        max_error=max_error,
        _program=program,
        _ends=ends,
    )
