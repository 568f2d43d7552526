"""Which format fits which tensor: what each would lose, and the scale that would help.

For every recorded tensor and every candidate format, its sketch over the whole run is asked what
would become zero, subnormal or out of range, at scale 1 and at the best power of two. For weights,
the recorded updates say in addition what share would be swamped if the weights were stored so.

Gradients dz and da are taken as the network held them: under a gradient scaler, times the scale.

Verdicts, for the losses at the top and the bottom of the range only:

- "fits": nothing leaves the range, and at most ``TOLERANCE`` of the numbers become zero;
- "fits scaled": the same after multiplication by a power of two;
- "loses": no power of two achieves it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from deephochuli.analysis._whole import wholes
from deephochuli.analysis.updates import swamped_in
from deephochuli.formats import Format, get_format
from deephochuli.sketch import Answer, ScaleChoice, Share, ask, best_scale
from deephochuli.store import RunReader, TapInfo

Verdict = Literal["fits", "fits scaled", "loses"]

TOLERANCE = 1e-4
CANDIDATES = ("bf16", "fp16", "fp8_e4m3fn", "fp8_e5m2")


@dataclass(frozen=True, slots=True)
class Fit:
    """What one format would do to one tensor of a run.

    Attributes:
        tap: The tensor.
        format: The format.
        plain: What it does at scale 1.
        scaled: The best power of two, and what the format does there.
        swamped: For a weight, how many of its recorded updates would be swamped; else None.
    """

    tap: TapInfo
    format: Format
    plain: Answer
    scaled: ScaleChoice
    swamped: Share | None

    @property
    def verdict(self) -> Verdict:
        """Whether the tensor's range fits."""
        if _is_fine(self.plain):
            return "fits"
        if self.scaled.answer is not None and _is_fine(self.scaled.answer):
            return "fits scaled"
        return "loses"


def fit(
    run: RunReader,
    formats: Sequence[Format | str] = CANDIDATES,
    *,
    quantities: Iterable[str] | None = None,
) -> list[Fit]:
    """Ask the sketches of a run what each of some formats would do.

    Args:
        run: The run.
        formats: Formats, or their names.
        quantities: Only these quantities; all when None.

    Returns:
        One entry per tensor and format, in the order of the run.

    Raises:
        FormatError: No such format.
    """
    chosen = [get_format(fmt) for fmt in formats]
    wanted = None if quantities is None else set(quantities)
    return [
        entry
        for tap in run.taps()
        if wanted is None or tap.quantity.partition(":")[0] in wanted
        for entry in _fits(run, tap, chosen)
    ]


def _fits(run: RunReader, tap: TapInfo, formats: list[Format]) -> list[Fit]:
    sketch = wholes(run)[tap.layer, tap.quantity].sketch
    return [
        Fit(tap, fmt, ask(sketch, fmt, source=_source(tap)), best_scale(sketch, fmt), swamped)
        for fmt in formats
        for swamped in [_swamped(run, tap, fmt)]
    ]


def _source(tap: TapInfo) -> str | None:
    return None if tap.dtype == "mixed" else tap.dtype


def _swamped(run: RunReader, tap: TapInfo, fmt: Format) -> Share | None:
    if tap.quantity != "w":
        return None
    place = (tap.layer, "dw")
    if place not in wholes(run):
        return None
    update = wholes(run)[place]
    return swamped_in(fmt, update.ratios, update.ratio_counts) if len(update.ratios) else None


def _is_fine(answer: Answer) -> bool:
    return answer.out_of_range.high == 0 and answer.to_zero.high_share <= TOLERANCE
