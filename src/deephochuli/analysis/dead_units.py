"""Dead and dormant channels of ReLU layers, over time.

Definitions. A channel (output channel of a convolution, feature of a linear layer) is *silent* in a
window of recorded steps when none of its pre-activations in the window is positive: its activation
and its gradient are exactly zero on all data seen there. It is *dead* when it is silent in every
window from some point to the end of the run; its *birth of death* is the start of that stretch. It
is *revived* when it is active again after a silent window. It is *dormant* when it is not silent in
the last window, but fires less than 1/40 as often as the average channel of its layer (a definition
on how often a channel fires; the score of Sokar et al., 2023, is on how large it is, with the same
threshold 0.025). Windows are the chunks of the recording.

What this cannot see: data that were not in the recorded batches, and why a channel is silent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deephochuli.analysis._finding import Finding, Level, Number, PlaceEvidence, percent
from deephochuli.store import Rollups, RunReader, TapInfo, Windows

RECTIFIERS = ("relu", "relu6")
DORMANT = 0.025
WARN_SHARE = 0.10
CRITICAL_SHARE = 0.50


@dataclass(frozen=True, slots=True)
class ChannelLife:
    """The channels of one ReLU layer through the windows of a run.

    Attributes:
        tap: Its pre-activation.
        first_steps: First recorded step of each window.
        last_steps: Last recorded step of each window.
        firing: Share of positive pre-activations, float64 [windows, channels].
    """

    tap: TapInfo
    first_steps: NDArray[np.int64]
    last_steps: NDArray[np.int64]
    firing: NDArray[np.float64]

    @property
    def n_channels(self) -> int:
        """How many channels the layer has."""
        return self.firing.shape[1]

    @property
    def silent(self) -> NDArray[np.bool_]:
        """Which channel is silent in which window, [windows, channels]."""
        return self.firing == 0

    @property
    def dead(self) -> NDArray[np.bool_]:
        """Which channels are silent in the last window, and so until the end."""
        return self.silent[-1]

    @property
    def dormant(self) -> NDArray[np.bool_]:
        """Which channels fire far less than the average of their layer in the last window."""
        last = self.firing[-1]
        return (last > 0) & (last < DORMANT * last.mean())

    @property
    def death_step(self) -> NDArray[np.int64]:
        """For each dead channel the first step of its last silent stretch; -1 for the others."""
        stretch = np.logical_and.accumulate(self.silent[::-1], axis=0)[::-1]
        begins = np.argmax(stretch, axis=0)
        return np.where(self.dead, self.first_steps[begins], -1)

    @property
    def changes(self) -> list[tuple[int, int, bool]]:
        """Deaths and revivals: first step of the window that shows it, channel, whether it died.

        A channel that is silent in the first window dies there.
        """
        before = np.vstack([np.zeros_like(self.silent[:1]), self.silent[:-1]])
        return [
            (int(self.first_steps[window]), int(channel), bool(self.silent[window, channel]))
            for window, channel in np.argwhere(self.silent != before)
        ]

    @property
    def n_revived(self) -> int:
        """How many channels became active after a silent window."""
        return int((self.silent[:-1] & ~self.silent[1:]).any(axis=0).sum())


def lives(run: RunReader) -> list[ChannelLife]:
    """Follow the channels of every ReLU layer, in the order of the model."""
    rollups = run.fold(Windows).rows()
    order = np.argsort(rollups.tap, kind="stable")
    bounds = np.searchsorted(rollups.tap[order], np.arange(len(run.taps()) + 1))
    return [
        life
        for index, tap in enumerate(run.taps())
        if tap.quantity == "z" and tap.role in RECTIFIERS and tap.n_channels > 0
        for life in [_follow(tap, rollups, order[bounds[index] : bounds[index + 1]].tolist())]
        if life is not None
    ]


def find(run: RunReader) -> list[Finding]:
    """Report layers of which many channels are dead at the end of the run."""
    hit = [life for life in lives(run) if life.dead.mean() >= WARN_SHARE]
    if not hit:
        return []
    hit.sort(key=lambda life: -float(life.dead.mean()))
    worst = hit[0]
    value = float(worst.dead.mean())
    n_dead = sum(int(life.dead.sum()) for life in hit)
    level: Level = "critical" if value >= CRITICAL_SHARE else "warning"
    return [
        Finding(
            kind="dead-channels",
            level=level,
            score=value,
            title=f"{percent(value)} of the channels of {worst.tap.layer} are dead",
            layer=worst.tap.layer,
            quantity="z",
            summary=(
                f"{n_dead} {'channel' if n_dead == 1 else 'channels'} in {len(hit)} ReLU "
                f"{'layer' if len(hit) == 1 else 'layers'} had no positive pre-activation in "
                f"the last window (steps {worst.first_steps[-1]} to {worst.last_steps[-1]}). In "
                f"{worst.tap.layer}: {int(worst.dead.sum())} of {worst.n_channels} dead, "
                f"{int(worst.dormant.sum())} dormant, {worst.n_revived} revived during the run."
            ),
            why=(
                "A channel that is never positive outputs zero and gets no gradient of its own: "
                "only changes in the layers before it, or weight decay, can bring it back."
            ),
            advice=(
                "Lower the learning rate or warm it up, use He initialisation, add a "
                "normalisation layer before the ReLU, or use a leaky one."
            ),
            code="torch.nn.LeakyReLU(0.01)  # in place of torch.nn.ReLU()",
            numbers=(
                Number("dead channels, worst layer", value, "share"),
                Number("dead channels", n_dead, "channels"),
                Number("revived channels, worst layer", worst.n_revived, "channels"),
            ),
            places=tuple(
                PlaceEvidence(life.tap.layer, "z", float(life.dead.mean())) for life in hit
            ),
            step_first=int(worst.death_step[worst.dead].min()),
            step_last=int(worst.last_steps[-1]),
            evidence="silent_channels",
        )
    ]


def _follow(tap: TapInfo, rollups: Rollups, rows: list[int]) -> ChannelLife | None:
    positive, n = rollups.lists["positive"], rollups.numbers["n_per_channel"]
    windows = [
        (rollups.step_first[row], rollups.step_last[row], counts / n[row])
        for row in rows
        if (counts := positive[row]) is not None and len(counts) == tap.n_channels and n[row] > 0
    ]
    if not windows:
        return None
    firsts, lasts, firing = zip(*windows, strict=True)
    return ChannelLife(tap, np.array(firsts), np.array(lasts), np.stack(firing))
