"""Replay sampled sums of one reduction, and put what they show into a row."""

# torch's types of some operations on tensors are partial.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from deephochuli.analysis.swamping._growth import predicted_shares
from deephochuli.analysis.swamping._interval import ratio
from deephochuli.analysis.swamping._plan import Way
from deephochuli.analysis.swamping._reductions import Reduction
from deephochuli.analysis.swamping._result import SumRow
from deephochuli.formats import Format
from deephochuli.kernels.addends import Addends, Replay

Float64s = npt.NDArray[np.float64]

_MOST_AT_ONCE = 1 << 21
"""Addends that are gathered at once, which bounds the memory."""


@dataclass(slots=True)
class Tally:
    """What several replays of one reduction in one way show together; an entry for each sum."""

    n_addends: int = 0
    n_zero: int = 0
    replays: list[Replay] = field(default_factory=lambda: [])

    def add(self, addends: Addends, replay: Replay) -> None:
        """Take some more sums."""
        self.n_addends += addends.a.size
        self.n_zero += addends.a.size - int(replay.n_addends.sum())
        self.replays.append(replay)

    def all(self, name: str) -> npt.NDArray[np.float64]:
        """One number of every replayed sum."""
        return np.concatenate([getattr(each, name) for each in self.replays]).astype(np.float64)


def sampled(reduction: Reduction, n_sums: int, most_addends: int, seed: int) -> Tensor:
    """Flat indices of the sums that are replayed, without repetition."""
    wanted = min(n_sums, max(16, most_addends // reduction.n_addends), reduction.n_outputs)
    generator = torch.Generator().manual_seed(seed)
    if wanted == reduction.n_outputs:
        return torch.arange(wanted, device="cpu")
    if reduction.n_outputs <= 1 << 20:
        return (
            torch.randperm(reduction.n_outputs, generator=generator, device="cpu")[:wanted]
            .sort()
            .values
        )
    drawn = torch.randint(
        reduction.n_outputs, (2 * wanted,), generator=generator, device="cpu"
    ).unique()
    return (
        drawn[torch.randperm(len(drawn), generator=generator, device="cpu")[:wanted]].sort().values
    )


def measured(
    reduction: Reduction,
    index: Tensor,
    ways: tuple[Way, ...],
    names: tuple[str, str, str],
    confidence: float,
) -> list[SumRow]:
    """Replay some sums in every way; `names` are layer, operator and direction."""
    tallies = [Tally() for _ in ways]
    formats = [way.format_for(reduction.like.dtype, reduction.is_stored) for way in ways]
    shown: Float64s | None = None
    for part in index.split(max(1, _MOST_AT_ONCE // reduction.n_addends)):
        left, right = reduction.gather(part.to(reduction.like.device))
        factors = (_wide(left), None if right is None else _wide(right))
        if not all(np.isfinite(each).all() for each in factors if each is not None):
            return []  # an overflow before this sum: nothing here is rounding of sums
        for way, fmt, tally in zip(ways, formats, tallies, strict=True):
            addends, replay = way.replayed(*factors, fmt)
            tally.add(addends, replay)
            shown = addends.values() if shown is None else shown
    return [
        _row(reduction, index, names, way, fmt, tally, shown, confidence)
        for way, fmt, tally in zip(ways, formats, tallies, strict=True)
    ]


def _wide(x: Tensor) -> Float64s:
    return x.double().cpu().numpy()


def _row(
    reduction: Reduction,
    index: Tensor,
    names: tuple[str, str, str],
    way: Way,
    fmt: Format,
    tally: Tally,
    shown: Float64s | None,
    confidence: float,
) -> SumRow:
    layer, operator, direction = names
    mass, error, exact = tally.all("mass"), np.abs(tally.all("error")), tally.all("exact")
    wrong = wrong_bits(error, exact, fmt)
    growth: tuple[tuple[int, float], ...] = ()
    if way.order == "sequential" and shown is not None and reduction.n_addends > 2:
        growth = predicted_shares(shown, fmt)
    return SumRow(
        layer=layer,
        operator=operator,
        sum=reduction.name,
        direction=direction,
        order=way.order,
        format=fmt.name,
        n_addends=reduction.n_addends,
        n_sums=reduction.n_outputs,
        n_sampled=len(index),
        zero_share=tally.n_zero / max(1, tally.n_addends),
        absorbed=ratio(
            tally.all("n_absorbed"), tally.all("n_additions"), reduction.n_outputs, confidence
        ),
        lost_mass=ratio(tally.all("lost"), mass, reduction.n_outputs, confidence),
        bits_lost=float(np.median(wrong)),
        bits_lost_high=float(np.quantile(wrong, 0.95, method="higher")),
        error=float(np.mean(error[mass > 0] / mass[mass > 0])) if (mass > 0).any() else 0.0,
        n_underflowed=int(tally.all("n_underflowed").sum()),
        n_overflowed=int(tally.all("n_overflowed").sum()),
        growth=growth,
    )


def wrong_bits(error: Float64s, exact: Float64s, fmt: Format) -> Float64s:
    """Bits of each sum that are wrong beyond half an ulp, p + log2(error / |exact|), from 0 to p.

    All p are wrong where the result overflowed (a nan error), or where the exact sum is zero and
    the result is not.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        bits = fmt.precision + np.log2(error / np.abs(exact))
    bits = np.where(error == 0, 0.0, bits)
    return np.clip(np.where(np.isnan(bits), fmt.precision, bits), 0, fmt.precision)
