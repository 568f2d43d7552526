"""What every back end of the kernels must deliver, and nothing of how.

A *summary* is what one pass over one tensor leaves behind. The rules of the contract:

- One read of the data. Dense tensors of any memory order are read in place, never copied.
- Counts are integers and exact; they do not depend on threads, chunking, device or flush-to-zero
  flags, because they are made from bit patterns.
- A back end takes all tensors of a call at once: one launch serves every parameter of a model.
- Results live in *rows* that the back end owns. ``add`` accumulates into rows and may return before
  the work is done (a GPU must not be waited for); ``read`` waits, hands the summaries over and
  empties the rows for reuse.
- The input is never written, and no random number generator is touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class ChannelCounts:
    """How many elements of each channel are positive, zero, or not finite (int64, one per channel).

    Negative elements are the rest: ``n_per_channel - positive - zero - nonfinite``. Infinities are
    counted as not finite whatever their sign.
    """

    n_per_channel: int
    positive: NDArray[np.int64]
    zero: NDArray[np.int64]
    nonfinite: NDArray[np.int64]

    @property
    def negative(self) -> NDArray[np.int64]:
        """Finite elements below zero, per channel."""
        return self.n_per_channel - self.positive - self.zero - self.nonfinite

    def merge(self, other: ChannelCounts) -> ChannelCounts:
        """Add the counts of another tensor with the same channels."""
        return ChannelCounts(
            self.n_per_channel + other.n_per_channel,
            self.positive + other.positive,
            self.zero + other.zero,
            self.nonfinite + other.nonfinite,
        )


@dataclass(frozen=True, slots=True)
class Summary:
    """The leading-bit counts and the moments of one tensor.

    Attributes:
        keys: Leading-bit keys that occur, uint16, strictly increasing.
        counts: How often each occurs, int64, all positive.
        sum: Sum of the finite elements, accumulated in binary64.
        sum_sq: Sum of their squares, accumulated in binary64.
        min_abs: Smallest nonzero finite magnitude; NaN when there is none.
        max_abs: Largest finite magnitude (zero counts); NaN when there is no finite element.
        channels: Counts per channel, when asked for.
    """

    keys: NDArray[np.uint16]
    counts: NDArray[np.int64]
    sum: float
    sum_sq: float
    min_abs: float
    max_abs: float
    channels: ChannelCounts | None = None


@dataclass(frozen=True, slots=True)
class UpdateSummary:
    """What one optimizer step did to one parameter tensor.

    Attributes:
        weight: Summary of the weights after the step.
        gradient: Summary of the gradients that the step used; None when there was no gradient.
        update: Summary of ``after - before``, the update that was really added, formed in binary32
            (binary64 for binary64 weights).
        n_updatable: Elements with a nonzero finite gradient; 0 when there was no gradient.
        n_unmoved: Of those, how many kept their stored bits.
        ratios: floor(log2|update|) - floor(log2|before|) where both are nonzero and finite, int16.
        ratio_counts: How often each ratio occurs, int64.
    """

    weight: Summary
    gradient: Summary | None
    update: Summary
    n_updatable: int
    n_unmoved: int
    ratios: NDArray[np.int16]
    ratio_counts: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TensorJob:
    """One tensor to summarise, and the dimension whose channels are counted apart."""

    tensor: torch.Tensor
    channel_dim: int | None = None


@dataclass(frozen=True, slots=True)
class UpdateJob:
    """One parameter around an optimizer step: same shape, dtype and memory order throughout."""

    before: torch.Tensor
    after: torch.Tensor
    gradient: torch.Tensor | None


class Rows(Protocol):
    """Preallocated places where the summaries of one recorded step gather."""

    def add(self, row: int, job: TensorJob) -> None:
        """Count one more tensor into a row; may return before the work is done."""
        ...

    def read(self) -> dict[int, Summary]:
        """Wait for the work, return the rows that were added to, and empty all rows."""
        ...


Result_co = TypeVar("Result_co", covariant=True)


class Later(Protocol[Result_co]):
    """What has begun on a device, and is asked for when it should be done."""

    def get(self) -> Result_co:
        """Wait for the result; once."""
        ...


@runtime_checkable
class RowsOfDevice(Rows, Protocol):
    """Rows that can be handed over before a device has counted into them."""

    def begin_read(self) -> Later[dict[int, Summary]]:
        """Begin what `read` does; the rows are empty at once for whoever adds next."""
        ...


class Backend(Protocol):
    """One way of computing summaries."""

    name: str

    def rows(self) -> Rows:
        """Make an empty set of rows."""
        ...

    def summarise(self, jobs: Sequence[TensorJob]) -> list[Summary]:
        """Summarise tensors in one call, one result per job, in order."""
        ...

    def summarise_updates(self, jobs: Sequence[UpdateJob]) -> list[UpdateSummary]:
        """Summarise optimizer steps in one call, one result per job, in order."""
        ...


@runtime_checkable
class BackendOfDevice(Backend, Protocol):
    """A back end whose results can be waited for later."""

    def begin(self, jobs: Sequence[TensorJob]) -> Later[list[Summary]]:
        """Begin what `summarise` does; the tensors may change afterwards."""
        ...

    def begin_updates(self, jobs: Sequence[UpdateJob]) -> Later[list[UpdateSummary]]:
        """Begin what `summarise_updates` does."""
        ...
