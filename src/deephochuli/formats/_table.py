"""What a table of formats shows, as plain rows."""

from __future__ import annotations

from collections.abc import Iterable

from deephochuli.formats._catalogue import get_format, list_formats
from deephochuli.formats._format import Format

Row = dict[str, str | int | float | None]


def format_rows(formats: Iterable[str | Format] | None = None) -> list[Row]:
    """Give the facts of each format as one flat row, ready for a table or for JSON.

    Args:
        formats: Names, specifications or formats; the whole catalogue when not given.

    Returns:
        One row a format. `absorption_above_1` and `absorption_below_1` are the largest magnitudes
        that the accumulator 1.0 absorbs, added away from zero or toward it, ties included; None
        where 1.0 is no value of the format or has no neighbour to go to.
    """
    chosen = list_formats() if formats is None else [get_format(name) for name in formats]
    return [_row(fmt) for fmt in chosen]


def _row(fmt: Format) -> Row:
    return {
        "name": fmt.name,
        "bits": fmt.bits,
        "exponent_bits": fmt.exponent_bits,
        "precision": fmt.precision,
        "unit_roundoff": fmt.unit_roundoff,
        "emin": fmt.emin,
        "emax": fmt.emax,
        "smallest_subnormal": fmt.smallest_subnormal,
        "smallest_normal": fmt.smallest_normal,
        "max_finite": fmt.max_finite,
        "dynamic_range": fmt.dynamic_range,
        "absorption_above_1": _absorbed_at_one(fmt, away=True),
        "absorption_below_1": _absorbed_at_one(fmt, away=False),
        "overflow": fmt.overflow.value,
        "description": fmt.description,
    }


def _absorbed_at_one(fmt: Format, *, away: bool) -> float | None:
    if not fmt.is_representable(1.0):
        return None
    return float(fmt.absorption_threshold(1.0, "away" if away else "zero"))
