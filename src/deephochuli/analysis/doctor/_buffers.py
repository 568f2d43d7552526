"""Tables that a model carries along: positions, frequencies, masks and counters."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import torch
from torch import Tensor

from deephochuli.analysis._finding import Finding, Number, PlaceEvidence, percent
from deephochuli.analysis.doctor._patient import (
    Held,
    Patient,
    format_name,
    format_of,
    n_distinct,
    sample,
)
from deephochuli.analysis.doctor._report import finding, named, place, worst_first

_INTEGERS: Final = re.compile(
    r"(?:^|_)(?:ids?|idx|index|indices|positions?|arange|offsets?)(?:_|$)"
)
_POSITIONS: Final = re.compile(r"(?:^|_)(?:pos|pe|position\w*|positional\w*)(?:_|$)")
_COUNTER: Final = re.compile(
    r"^(?:(?:n|num)_)?(?:steps?|counts?|counter|batches_tracked|updates|calls|iterations?|epochs?"
    r"|averaged|samples)(?:_tracked|_seen)?$"
)
_FREQUENCIES: Final = re.compile(r"inv_freq|^freqs?$")
_DEFAULT_POSITIONS: Final = 2048
_WORST_PHASE: Final = 0.1
"""Radians; below, the angle of no position is wrong by more than a twentieth of a right angle."""
_MOST_ROWS: Final = 1 << 22


def colliding_integers(patient: Patient) -> Iterator[Finding]:
    """Whole numbers that were different and are equal after rounding to their dtype."""
    found = [
        place(held.name, held.kind, share)
        for held in patient.of_kind("buffer", "tensor")
        if (share := collided_share(held)) > 0
    ]
    if found:
        formats = {format_name(h.tensor.dtype) for h in patient.tensors if _is_in(h, found)}
        yield finding(
            "colliding-integers",
            "critical",
            f"Whole numbers have become equal in {', '.join(sorted(formats))}: {named(found)}",
            places=worst_first(found),
            summary=f"Up to {percent(max(p.value for p in found))} of the entries are no longer "
            "told apart from a neighbour.",
            why="A format with p significand bits holds every whole number only up to 2^p: 256 in "
            "BF16, 2,048 in FP16. Beyond, neighbouring positions or indices share one value.",
            advice="Keep tables of whole numbers in an integer dtype, which casts of a model leave "
            "alone.",
            code="self.register_buffer('position_ids', torch.arange(n))  # int64, not a float",
            numbers=[Number("colliding entries", max(p.value for p in found), "share")],
        )


def collided_share(held: Held) -> float:
    """Share of the entries of a table of whole numbers that are equal to a neighbour."""
    fmt = held.format
    table = _table(held)
    if fmt is None or table is None or table.numel() <= 2 or fmt.precision > 24:
        return 0.0
    values = table.double()
    limit = 2.0**fmt.precision
    is_whole = bool((values == values.round()).all()) and bool(torch.isfinite(values).all())
    if not is_whole or float(values.abs().max()) <= limit:
        return 0.0
    if table.ndim == 1 and _is_rounded_arange(values, fmt.precision):
        return 1 - n_distinct(values) / len(values)
    if _INTEGERS.search(held.role) and fmt.precision <= 11:
        return int((values.abs() > limit).sum()) / values.numel()
    return 0.0


def _is_rounded_arange(values: Tensor, precision: int) -> bool:
    """Whether values are first, first + d, first + 2 d, ... up to rounding, and some are equal."""
    n = len(values)
    step = round(float(values[-1] - values[0]) / (n - 1))
    ideal = values[0] + step * torch.arange(n, dtype=torch.float64, device=values.device)
    near = (values - ideal).abs() <= ideal.abs() * 2.0**-precision * 1.01 + step * 0.5
    return step != 0 and bool(near.all()) and n_distinct(values) < n


def wrapped_integers(patient: Patient) -> Iterator[Finding]:
    """Tables of indices that ran over the end of a short integer dtype."""
    found = [
        place(held.name, held.kind, float((values < 0).double().mean()))
        for held in patient.of_kind("buffer", "tensor")
        if (values := _table(held)) is not None and _has_wrapped(values)
    ]
    if found:
        yield finding(
            "wrapped-integers",
            "critical",
            f"Indices have run over the end of their integer dtype: {named(found)}",
            places=found,
            summary=f"{percent(max(p.value for p in found))} of the entries are negative, although "
            "each is one more than the one before.",
            why="int8 ends at 127 and int16 at 32,767; the next number is negative. As an index it "
            "counts from the end, without an error.",
            advice="Keep indices in int64.",
            code="buffer = torch.arange(n, dtype=torch.int64)",
        )


def _has_wrapped(values: Tensor) -> bool:
    is_short = values.dtype in (torch.int8, torch.int16, torch.int32)
    if not is_short or values.ndim != 1 or len(values) < 3:
        return False
    steps = values.long().diff()
    return bool((steps == 1).sum() >= len(steps) - 1 - len(steps) // 256) and bool(
        (steps < -1).any()
    )


def coarse_frequencies(patient: Patient) -> Iterator[Finding]:
    """Frequencies of rotary embeddings that were rounded to a narrow format."""
    n_positions = positions_of(patient)
    found = [
        place(held.name, held.kind, error)
        for held in patient.of_kind("buffer", "tensor")
        if (error := phase_error(held, n_positions)) > _WORST_PHASE
    ]
    if found:
        worst = worst_first(found)
        yield finding(
            "coarse-frequencies",
            "warning",
            f"Rotary frequencies are rounded: {named(worst)}",
            places=worst,
            summary=f"At position {n_positions:,} an angle is wrong by up to "
            f"{worst[0].value:.2g} rad.",
            why="The angle is position times frequency, so the relative error of a frequency is "
            "multiplied by the position: far positions are turned by a wrong angle, and differ "
            "from those that the model was trained with.",
            advice="Cast the weights, not the frequencies; they belong in FP32.",
            code="model = AutoModelForCausalLM.from_pretrained(name, dtype=torch.bfloat16)\n"
            "# and not model.to(torch.bfloat16), which casts buffers too",
            numbers=[Number("largest error of an angle", worst[0].value, "rad")],
            score=min(1.0, worst[0].value),
        )


def phase_error(held: Held, n_positions: int) -> float:
    """Largest error of an angle at the last position, if a buffer holds rotary frequencies."""
    fmt, table = held.format, _table(held)
    if fmt is None or table is None or table.ndim != 1 or len(table) < 2 or fmt.precision > 11:
        return 0.0
    values = table.double()
    if not _FREQUENCIES.search(held.role) or not bool((values >= 0).all()):
        return 0.0
    is_inexact = values.log2().frac() != 0
    bound = values * fmt.unit_roundoff * n_positions
    return float(bound[is_inexact].max()) if bool(is_inexact.any()) else 0.0


def positions_of(patient: Patient) -> int:
    """The longest sequence that a model says it is for."""
    config: Any = getattr(patient.model, "config", None)
    n: Any = getattr(config, "max_position_embeddings", None)
    return n if isinstance(n, int) and n > 0 else _DEFAULT_POSITIONS


def equal_positions(patient: Patient) -> Iterator[Finding]:
    """Rows of a table of positions that became equal in a narrow format."""
    found = [
        place(held.name, held.kind, share)
        for held in patient.of_kind("buffer", "tensor")
        if (share := _equal_rows(held)) > 0
    ]
    if found:
        yield finding(
            "equal-positions",
            "warning",
            f"Positions can no longer be told apart: {named(found)}",
            places=worst_first(found),
            summary=f"Up to {percent(max(p.value for p in found))} of the rows equal another row.",
            why="The table was computed or stored in a format with too few bits for so many "
            "positions.",
            advice="Compute the table in FP32 and keep it there.",
            code="self.register_buffer('pe', table.float())",
        )


def _equal_rows(held: Held) -> float:
    fmt = held.format
    table = _table(held)
    if fmt is None or table is None or fmt.precision > 11 or table.ndim != 2:
        return 0.0
    if not _POSITIONS.search(held.role) or table.numel() > _MOST_ROWS or len(table) < 3:
        return 0.0
    n_rows = n_distinct(table.float(), dim=0)
    return 0.0 if n_rows == 1 else 1 - n_rows / len(table)


def mask_constants(patient: Patient) -> Iterator[Finding]:
    """Mask constants that are infinite in their dtype, or will be in that of the weights."""
    infinite = [place(h.name, h.kind) for h in patient.of_kind("buffer") if _is_infinite_mask(h)]
    if infinite:
        yield _mask(
            f"Mask values are infinite: {named(infinite)}",
            infinite,
            "A finite constant such as -1e9 has overflowed, or every entry of a row is -inf.",
        )
    narrow = _narrowest_weights(patient)
    late = [
        place(held.name, held.kind)
        for held in patient.of_kind("buffer")
        if narrow is not None and _overflows(held, narrow)
    ]
    if late and narrow is not None:
        yield _mask(
            f"Constants are beyond the range of the weights' {format_name(narrow)}: {named(late)}",
            late,
            "They become infinite as soon as they are cast to the dtype of the weights.",
        )


def _mask(title: str, places: list[PlaceEvidence], summary: str) -> Finding:
    return finding(
        "infinite-mask",
        "warning",
        title,
        places=places,
        summary=summary,
        why="A softmax over a row that is -inf throughout is 0/0 = NaN, and so is -inf minus -inf; "
        "a finite constant would have given a harmless average.",
        advice="Take the smallest finite number of the dtype that scores are computed in.",
        code="mask = scores.new_full(shape, torch.finfo(scores.dtype).min)",
    )


def _is_infinite_mask(held: Held) -> bool:
    """A constant of -inf in a narrow format, or a table with a row of nothing else."""
    fmt, table = held.format, _table(held)
    if fmt is None or table is None:
        return False
    if table.numel() == 1:
        return fmt.emax < 127 and bool((table == -torch.inf).all())
    return table.ndim >= 1 and table.shape[-1] > 1 and bool((table == -torch.inf).all(-1).any())


def _narrowest_weights(patient: Patient) -> torch.dtype | None:
    """The dtype of the weights, if they are kept in one that ends before FP32 does."""
    dtypes = {held.tensor.dtype for held in patient.of_kind("weight")}
    narrow = [d for d in dtypes if (fmt := format_of(d)) is not None and fmt.emax < 127]
    return narrow[0] if len(narrow) == 1 else None


def _overflows(held: Held, dtype: torch.dtype) -> bool:
    """Whether a wide buffer holds finite negative numbers beyond the end of another dtype."""
    fmt = format_of(dtype)
    table = _table(held)
    if fmt is None or table is None or held.format is None or held.format.emax <= fmt.emax:
        return False
    values = sample(table).double()
    return bool(((values < -fmt.max_finite) & torch.isfinite(values)).any())


def stuck_counters(patient: Patient) -> Iterator[Finding]:
    """Counters that stop counting because adding one no longer changes them."""
    found = [
        place(held.name, f"state:{held.role}" if held.kind == "state" else held.kind)
        for held in patient.of_kind("buffer", "state", "tensor")
        if _is_stuck_counter(held)
    ]
    if found:
        limits = sorted(
            {
                f"{2**fmt.precision:,} in {format_name(held.tensor.dtype)}"
                for held in patient.tensors
                if (fmt := held.format) is not None and _is_stuck_counter(held)
            }
        )
        yield finding(
            "stuck-counter",
            "critical",
            f"Counters stop early: {named(found)}",
            places=found,
            summary=f"A counter that grows by one stops at {' and '.join(limits)}.",
            why="At 2^p the next number is 2^p + 2; adding one rounds back. Bias corrections, "
            "schedules and averages that depend on the count go wrong without a word.",
            advice="Count in an integer dtype, or at least in FP32.",
            code="self.register_buffer('n_steps', torch.zeros((), dtype=torch.int64))",
        )


def _is_stuck_counter(held: Held) -> bool:
    fmt, table = held.format, _table(held)
    if fmt is None or table is None or table.numel() != 1 or not _COUNTER.match(held.role):
        return False
    value = float(table.reshape(-1)[0])
    return value == int(value) if fmt.precision <= 11 and abs(value) < 1e30 else value >= 2**24 > 0


def _table(held: Held) -> Tensor | None:
    """Values of a readable tensor without dimensions of length one."""
    return held.tensor.squeeze() if held.is_readable else None


def _is_in(held: Held, places: list[PlaceEvidence]) -> bool:
    return any(held.name == p.layer for p in places)
