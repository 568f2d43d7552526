"""A recorded run beside the reference, as data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from deephochuli.analysis.parting._align import Unaligned
from deephochuli.analysis.parting._environment import Change
from deephochuli.analysis.parting._judge import TapParting
from deephochuli.analysis.parting._training import FindingChange, Losses, SettingChange

Verdict = Literal["equal", "bits", "beyond"]


@dataclass(frozen=True, slots=True)
class RunPair:
    """A run beside the reference.

    Attributes:
        reference: Name of the reference.
        other: Name of the run.
        steps: Steps that both recorded.
        n_alone: How many steps only the reference recorded, and only the other run.
        taps: Every place that both recorded, those that part first before the others.
        parameters: Parameters by their place in the order of execution.
        unaligned: Layers that only one of them has.
        changes: What differs in how the two were made.
        settings: What differs in the columns of their steps.
        losses: Their losses; None where there is no common one.
        findings: What became of the findings of the reference.
        replicates: Names of the runs that say what is ordinary; empty where the steps of the
            reference do.
        with_sums: Whether recorded sums could be compared, and not only counts and extremes.
    """

    reference: str
    other: str
    steps: tuple[int, ...]
    n_alone: tuple[int, int]
    taps: tuple[TapParting, ...]
    parameters: tuple[tuple[int, str], ...]
    unaligned: tuple[Unaligned, ...]
    changes: tuple[Change, ...]
    settings: tuple[SettingChange, ...]
    losses: Losses | None
    findings: tuple[FindingChange, ...]
    replicates: tuple[str, ...]
    with_sums: bool

    @property
    def first(self) -> TapParting | None:
        """The place that is computed first in the first step at which anything differs."""
        parted = [tap for tap in self.taps if tap.first_step is not None]
        return min(parted, key=lambda tap: (tap.first_step or 0, tap.place_in_step), default=None)

    @property
    def first_places(self) -> tuple[TapParting, ...]:
        """The first place, and those that part in the same pass of the same step, in its order.

        In an optimizer step that is computed differently, they are all of its parameters; in a
        forward or a backward pass, what follows the first place.
        """
        first = self.first
        if first is None:
            return ()
        when = first.first_step, first.direction
        return tuple(tap for tap in self.taps if (tap.first_step, tap.direction) == when)

    @property
    def beyond(self) -> TapParting | None:
        """The place that is computed first in the first step that is beyond the ordinary."""
        parted = [tap for tap in self.taps if tap.beyond_step is not None]
        return min(parted, key=lambda tap: (tap.beyond_step or 0, tap.place_in_step), default=None)

    @property
    def verdict(self) -> Verdict:
        """Whether nothing differs, only bits, or more than is ordinary."""
        if self.beyond is not None:
            return "beyond"
        loss_differs = self.losses is not None and self.losses.first_step is not None
        return "bits" if self.first is not None or loss_differs or self.settings else "equal"

    @property
    def between(self) -> tuple[str, ...]:
        """Parameters that act between the last place that is still equal and the first that is not.

        Whatever made the runs part acted there, on one of these or on the inputs of the model.
        Empty for a parting that begins in the parameters themselves.
        """
        first = self.first
        if first is None or first.direction == "parameters":
            return ()
        at = [tap for tap in self.taps if first.first_step in tap.steps]
        before = [tap for tap in at if tap.place_in_step < first.place_in_step]
        last = max(before, key=lambda tap: tap.place_in_step, default=None)
        if first.direction == "forward":
            low, high = -1 if last is None else last.order, first.order
            return _names((low < order <= high, name) for order, name in self.parameters)
        if last is not None and last.direction == "backward":
            low, high = first.order, last.order
            return _names((low <= order <= high, name) for order, name in self.parameters)
        low = -1 if last is None else last.order
        return _names((order > low, name) for order, name in self.parameters)


def _names(parameters: Iterable[tuple[bool, str]]) -> tuple[str, ...]:
    return tuple(name for is_between, name in parameters if is_between)
