"""Swamped updates: steps that the optimizer took and the stored weights did not.

Definition: an element of a parameter is *updatable* in a step when its gradient is nonzero and
finite and its learning rate is not zero; it is *unmoved* when the step left its stored bits as they
were. The share of unmoved among updatable elements is counted exactly in every recorded step.
A step that the optimizer itself rounded to zero before adding it (a product of learning rate and
gradient below the range of a narrow format) leaves the weight unmoved as well and is counted here.

With p significand bits, fl(w + dw) == w whenever |dw| < 2**-(p+1) |w|, and never when
|dw| > 2**-p |w| (round to nearest). In a model whose weights do move, the recorded histogram of
floor(log2|dw|) - floor(log2|w|) therefore says what share would be swamped in any other format.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deephochuli.analysis._finding import Finding, Level, Number, PlaceEvidence, percent
from deephochuli.analysis._tables import TapSeries, series_of, share
from deephochuli.formats import Format, get_format
from deephochuli.sketch import Share
from deephochuli.store import RunReader

WARN_SHARE = 0.25
CRITICAL_SHARE = 0.75


@dataclass(frozen=True, slots=True)
class Stagnation:
    """How many updates of one parameter were lost.

    Attributes:
        series: The parameter's update.
        updatable: Elements that should have moved, over all recorded steps.
        unmoved: Of those, how many did not.
        low_share: Smallest share in a recorded step.
        high_share: Largest share in a recorded step.
    """

    series: TapSeries
    updatable: int
    unmoved: int
    low_share: float
    high_share: float

    @property
    def share(self) -> float:
        """Share of the updates that were lost, over all recorded steps."""
        return share(self.unmoved, self.updatable)


def stagnations(run: RunReader) -> list[Stagnation]:
    """Measure every parameter of a run, worst first."""
    found = [_measure(series) for series in series_of(run, lambda tap: tap.quantity == "dw")]
    return sorted((s for s in found if s.updatable), key=lambda s: -s.share)


def swamped_in(fmt: Format | str, ratios: NDArray[np.int16], counts: NDArray[np.int64]) -> Share:
    """Say how many of the recorded updates would be swamped if the weights were of a format.

    Args:
        fmt: The format of the weights, or its name.
        ratios: floor(log2|dw|) - floor(log2|w|), as recorded.
        counts: How often each occurs.

    Returns:
        Bounds on the count: updates more than one binade below half an ulp are lost for certain,
        those at least half an ulp are kept unless they are an exact tie; what lies between
        depends on the side of a power of two.

    Example:
        >>> swamped_in("bf16", np.array([-12, -8, -3], np.int16), np.array([5, 1, 4]))
        Share(low=5, high=6, of=10)
    """
    p = get_format(fmt).precision
    low = int(counts[ratios <= -p - 2].sum())
    high = int(counts[ratios <= -p].sum())
    return Share(low, high, int(counts.sum()))


def find(run: RunReader) -> list[Finding]:
    """Report the parameters of which many updates were lost."""
    by_dtype: dict[str, list[Stagnation]] = {}
    for stagnation in stagnations(run):
        by_dtype.setdefault(stagnation.series.info.dtype, []).append(stagnation)
    return [finding for dtype, group in by_dtype.items() if (finding := _finding(dtype, group))]


def _measure(series: TapSeries) -> Stagnation:
    return Stagnation(
        series,
        series.total("n_updatable"),
        series.total("n_unmoved"),
        float(series.tally.low[series.index]),
        float(series.tally.high[series.index]),
    )


def _finding(dtype: str, group: list[Stagnation]) -> Finding | None:
    hit = [s for s in group if s.share >= WARN_SHARE]
    if not hit:
        return None
    overall = share(sum(s.unmoved for s in group), sum(s.updatable for s in group))
    worst = hit[0]
    layer = worst.series.info.layer
    first, last = worst.series.span("n_unmoved")
    return Finding(
        kind="swamped-updates",
        level=_level(overall),
        score=overall,
        title=(
            f"{percent(overall)} of all weight updates are swamped in {dtype}"
            if overall >= WARN_SHARE
            else f"{len(hit)} of {len(group)} parameters lose many of their updates in {dtype}"
        ),
        layer=layer,
        quantity="dw",
        summary=(
            f"{len(hit)} of {len(group)} {dtype} parameters lose at least {percent(WARN_SHARE)} of "
            f"their updates; the worst, {layer}, loses {percent(worst.share)} (from "
            f"{percent(worst.low_share)} to {percent(worst.high_share)} in a step, "
            f"{worst.series.n_steps} recorded steps). Counted exactly, element by element."
        ),
        why=_why(worst.series.format),
        advice=_NARROW_ADVICE.format(dtype) if dtype in _NARROW else _WIDE_ADVICE,
        code=_NARROW_CODE.format(dtype) if dtype in _NARROW else "model.double()",
        numbers=(
            Number("updates swamped, all parameters", overall, "share"),
            Number(
                f"updates swamped, {layer}",
                worst.share,
                "share",
                worst.low_share,
                worst.high_share,
            ),
            Number("updates that should have moved a weight", sum(s.updatable for s in group)),
        ),
        places=tuple(
            PlaceEvidence(s.series.info.layer, "dw", s.share, s.low_share, s.high_share)
            for s in hit
        ),
        step_first=first,
        step_last=last,
        evidence="unmoved",
    )


def _level(overall: float) -> Level:
    if overall < WARN_SHARE:
        return "note"
    return "critical" if overall >= CRITICAL_SHARE else "warning"


def _why(fmt: Format | None) -> str:
    limit = f"2^-{fmt.precision + 1}" if fmt else "half an ulp"
    return (
        f"An update smaller than {limit} of its weight leaves the stored weight as it was: the "
        "gradient was computed and then thrown away. Training slows down or stops without any "
        "warning, and weight decay stops acting."
    )


_NARROW = ("bfloat16", "float16")
_NARROW_ADVICE = (
    "Keep the weights that the optimizer changes in FP32 and compute in {} by autocast; or use an "
    "optimizer with stochastic rounding or Kahan summation; or raise the learning rate."
)
_NARROW_CODE = (
    "model.float()  # weights and optimizer in FP32\n"
    "with torch.autocast(device_type, dtype=torch.{}):\n"
    "    loss = criterion(model(x), y)"
)
_WIDE_ADVICE = (
    "Raise the learning rate, or keep the weights in a format with more bits. A bias in front of a "
    "normalisation layer has no effect: its gradient is rounding noise, and losing it does no harm "
    "(use bias=False)."
)
