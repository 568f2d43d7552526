"""What a comparison says, in sentences: the page and the terminal say the same ones."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deephochuli.analysis.compare import Comparison, Decisions, Error, Kept, PairComparison, Row

HALVES = ("bf16", "fp16")
"""Arithmetics that an autocast region has a dtype for begin with these."""


def power(value: float) -> str:
    """A relative error as a power of two.

    Example:
        >>> power(2.0**-11), power(0.0), power(float("nan"))
        ('2^-11', '0', '–')
    """
    if math.isnan(value):
        return "–"
    if value == 0 or math.isinf(value):
        return "0" if value == 0 else "∞"
    return f"2^{f'{math.log2(value):.1f}'.removesuffix('.0')}"


def size(value: float) -> str:
    """A number with three significant digits.

    Example:
        >>> size(1234.5), size(0.25), size(float("inf"))
        ('1,230', '0.25', '∞')
    """
    if not math.isfinite(value):
        return "–" if math.isnan(value) else "∞"
    rounded = f"{value:.3g}"
    return f"{float(rounded):,.0f}" if "e" in rounded and 1 <= abs(value) < 1e6 else rounded


def relative(error: Error | None) -> float:
    """Norm of an error over the norm of the reference; where both are zero there is none."""
    if error is None:
        return math.nan
    value = error.rel_l2
    return 0.0 if math.isnan(value) and error.is_exact else value


def rank(row: Row) -> float:
    """Sort key of a row: how badly its call errs by itself."""
    if row.local.nonfinite:
        return math.inf
    value = relative(row.local)
    return -1.0 if math.isnan(value) else value


def worst(comparison: Comparison, executor: str) -> Row | None:
    """The call with the largest own error in the forward; None for an exact execution."""
    rows = [row for row in comparison.of(executor, "forward") if not row.local.is_exact]
    return max(rows, key=rank, default=None)


def output_error(comparison: Comparison, executor: str) -> Error | None:
    """How far the model's own output lies from the reference."""
    rows = comparison.of(executor, "forward")
    return next((row.total for row in rows if row.call == ("", 0)), None)


def executor_sentence(comparison: Comparison, executor: str) -> str:
    """Where one execution errs most, and what becomes of it."""
    row = worst(comparison, executor)
    if row is None:
        return f"{executor}: no difference from {comparison.reference} in any layer's forward."
    total = output_error(comparison, executor)
    end = "" if total is None else f"; the output {_off_by(total)}"
    if lost := row.local.nonfinite:
        return f"{executor}: {lost} of the numbers that {row.layer} makes are NaN or infinite{end}."
    where = f"the largest own error arises in {row.layer} ({power(relative(row.local))} of its size"
    times = "" if math.isnan(row.ratio) else f", {size(row.ratio)} times FP32's"
    return f"{executor}: {where}{times}){end}."


def _off_by(error: Error) -> str:
    if error.nonfinite:
        return f"has {error.nonfinite} that it should not have"
    return f"is off by {power(relative(error))} of its size"


def error_text(error: Error | None) -> str:
    """The size of an error; where numbers are NaN or infinite, how many of them are."""
    if error is None:
        return ""
    return f"{error.nonfinite} not finite" if error.nonfinite else power(relative(error))


def decisions_text(decisions: Decisions | None) -> str:
    """How often the largest output is another one, and how near the decisions are."""
    if decisions is None or not decisions.n:
        return "–"
    text = f"{decisions.argmax_flips} of {decisions.n}"
    return f"{text} (top {decisions.top_k}: {decisions.top_k_flips})"


def kept_sentence(kept: Kept) -> str:
    """What the search for layers to keep came to."""
    n, low = len(kept.layers), kept.low
    if not kept.layers and kept.is_within:
        return f"All {kept.n_candidates} layers may run in {low}: the budget holds."
    if not kept.is_within:
        return f"Even with all {n} layers kept out of {low} the errors exceed the budget."
    one = "1 layer" if n == 1 else f"{n} layers"
    return f"Keep {one} of {kept.n_candidates} out of {low}, and the budget holds."


def is_autocast(low: str) -> bool:
    """Whether an autocast region computes in something like this arithmetic."""
    return low.startswith(HALVES)


def snippet_of(kept: Kept) -> str:
    """Python that keeps the layers in binary32, for the dtype that fits the low arithmetic."""
    return kept.snippet("torch.float16" if kept.low.startswith("fp16") else "torch.bfloat16")


def pairs_sentence(pairs: PairComparison) -> str:
    """Where two executions begin to differ."""
    row = pairs.start
    if row is None and all(each.made.is_exact for each in pairs.rows):
        return f"{pairs.first} and {pairs.second} are equal to the last bit."
    if row is None:
        return (
            f"{pairs.first} and {pairs.second} differ, but no layer was given the same bits and "
            "made others: they were given different inputs, or differ between the layers."
        )
    size_of = f"{power(relative(row.made))} of its size, at most {size(row.made.max_ulps)} ulps"
    if row.made.nonfinite:
        size_of = f"{row.made.nonfinite} NaN or infinite on one side"
    return (
        f"The difference starts at {row.layer} ({row.kind}), {row.direction}: given the same bits "
        f"it made others ({size_of})."
    )


def weights_differ(pairs: PairComparison) -> bool:
    """Whether the environments say that the two executions had other weights or inputs."""
    return any(name in ("weights", "batch") for name, _, _ in pairs.environment)
