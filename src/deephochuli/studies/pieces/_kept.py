"""A parametrisation that keeps its pieces: the control of the study.

Tents with a free peak, composed d times, have 2^d pieces wherever the peaks are. If the peaks are
the parameters and the weights follow from them, gradient descent cannot lose a piece. The idea is
that of Milkert, Hyde and Laine ("Compelling ReLU networks to exhibit exponentially many linear
regions at initialization and during training", 2023); the form here is the project's own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from deephochuli.studies.pieces._nets import Layers


@dataclass(frozen=True, slots=True)
class _Tents:
    """Heights and slopes of all tents, each [nets, depth] or [nets, depth + 1].

    The k-th tent maps [0, h_(k-1)] to [0, h_k], with slope `rise` up to `peak` and -`fall` after.
    Heights are chosen so that the steeper slope is 1, which is assumption (B).
    """

    height: Tensor
    peak: Tensor
    rise: Tensor
    fall: Tensor


class Kept(nn.Module):
    """Networks f(x) = c + sum of s_k G_k(x), trained by the peaks of the tents, s and c."""

    def __init__(self, depth: int, n_nets: int, seed: int) -> None:
        """Draw peaks at shares of the width of a tent, between 0.3 and 0.7."""
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        share = torch.rand(n_nets, depth, generator=generator, dtype=torch.float64) * 0.4 + 0.3
        self.raw = nn.Parameter(torch.logit(share))
        self.scale = nn.Parameter(torch.ones(n_nets, depth, dtype=torch.float64))
        self.shift = nn.Parameter(torch.zeros(n_nets, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        """Outputs [nets, points, 1] for inputs [nets, points, 1] in [0, 1]."""
        tents = self._tents()
        g, y = x[..., 0], self.shift[:, None]
        for k in range(self.raw.shape[1]):
            peak, rise, fall = (each[:, k, None] for each in (tents.peak, tents.rise, tents.fall))
            g = rise * g - (rise + fall) * torch.relu(g - peak)
            y = y + self.scale[:, k, None] * g
        return y.unsqueeze(-1)

    def _tents(self) -> _Tents:
        share = torch.sigmoid(self.raw)
        factor = torch.minimum(share, 1 - share)
        height = torch.cat([torch.ones_like(factor[:, :1]), factor.cumprod(1)], 1)
        below = height[:, :-1]
        return _Tents(height, share * below, factor / share, factor / (1 - share))

    @torch.no_grad()
    def layers(self) -> Layers:
        """The same functions as plain networks: three units a layer, of which one bends.

        The units are relu(g + h), relu(g - peak) and relu(y + room). The first and the last are
        lifted so that they never reach zero on [0, 1]: bends that belong to no peak would come and
        go with rounding.
        """
        tents = self._tents()
        n_nets, depth = self.raw.shape
        zero, one = torch.zeros(n_nets).double(), torch.ones(n_nets).double()
        room = 1 + self.shift.abs() + self.scale.abs().sum(1)
        # g and y - c over the units of the layer before, and their constant parts
        g_row, g_free, y_row, y_free = one[:, None], zero, zero[:, None], self.shift
        layers: list[tuple[Tensor, Tensor]] = []
        for k in range(depth):
            lift, peak = tents.height[:, k], tents.peak[:, k]
            rise, fall, scale = tents.rise[:, k], tents.fall[:, k], self.scale[:, k]
            bias = torch.stack([g_free + lift, g_free - peak, y_free + room], 1)
            layers.append((torch.stack([g_row, g_row, y_row], 1), bias))
            g_row, g_free = torch.stack([rise, -(rise + fall), zero], 1), -rise * lift
            y_row = torch.stack([zero, zero, one], 1) + scale[:, None] * g_row
            y_free = -room + scale * g_free
        return [*layers, (y_row[:, None], y_free[:, None])]
