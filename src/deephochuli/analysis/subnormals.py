"""Subnormal numbers: below the normal range, where every binade costs one bit.

Definition: the share of the nonzero finite elements of a tensor that are subnormal in the format
they are stored in, over all recorded steps; counted exactly. Gradients are left to ``underflow``.
"""

from __future__ import annotations

from deephochuli.analysis._finding import Finding, Number, PlaceEvidence, percent
from deephochuli.analysis._tables import TapSeries, series_of, share
from deephochuli.analysis.underflow import GRADIENTS
from deephochuli.store import RunReader

WARN_SHARE = 0.01


def subnormal_share(series: TapSeries) -> float:
    """Share of the nonzero finite elements of a tap that are subnormal, over all steps."""
    nonzero = series.total("n") - sum(series.total(c) for c in ("n_zero", "n_inf", "n_nan"))
    return share(series.total("n_subnormal"), nonzero)


def find(run: RunReader) -> list[Finding]:
    """Report tensors, other than gradients, that live below the normal range of their format."""
    shares = [
        (subnormal_share(series), series)
        for series in series_of(run, lambda tap: tap.quantity not in (*GRADIENTS, "dw"))
    ]
    hit = sorted((s for s in shares if s[0] >= WARN_SHARE), key=lambda s: -s[0])
    by_dtype: dict[str, list[tuple[float, TapSeries]]] = {}
    for value, series in hit:
        by_dtype.setdefault(series.info.dtype, []).append((value, series))
    return [_finding(dtype, group) for dtype, group in by_dtype.items()]


def _finding(dtype: str, group: list[tuple[float, TapSeries]]) -> Finding:
    value, worst = group[0]
    info = worst.info
    first, last = worst.span("n_subnormal")
    is_kept = info.quantity == "w" or info.quantity.startswith("state:")
    smallest = f" ({worst.format.smallest_normal:.3g})" if worst.format else ""
    return Finding(
        kind="subnormals",
        level="warning",
        score=value,
        title=f"{percent(value)} of {info.layer} ({info.quantity}) is subnormal in {dtype}",
        layer=info.layer,
        quantity=info.quantity,
        summary=(
            f"{len(group)} tensors have at least {percent(WARN_SHARE)} of their nonzero elements "
            f"below the smallest normal number of {dtype}{smallest}. Counted exactly."
        ),
        why=(
            "Each binade below the normal range costs one bit of precision, and what is smaller "
            "still becomes zero. Many processors are slow on subnormal numbers, or replace them "
            "by zero when a flush-to-zero flag is set."
        ),
        advice=(
            "Keep parameters and the optimizer's state in FP32, and compute by autocast."
            if is_kept
            else "Store this tensor in BF16 or FP32, or multiply it by a power of two."
        ),
        code="model.float()  # parameters and optimizer state in FP32"
        if is_kept
        else "x = x.to(torch.bfloat16)",
        numbers=(Number("subnormal, of nonzero", value, "share"),),
        places=tuple(
            PlaceEvidence(series.info.layer, series.info.quantity, part) for part, series in group
        ),
        step_first=first,
        step_last=last,
        evidence="subnormal",
    )
