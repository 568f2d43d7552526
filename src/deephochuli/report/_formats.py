"""Number formats as a page needs them: limits as binary64 numbers with their tie rules."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

from deephochuli.formats import Format, list_formats


def format_payload(fmt: Format) -> dict[str, Any]:
    """One format, with the three cuts that decide what it does to a magnitude."""
    half_step = Fraction(fmt.smallest_subnormal) / 2
    limit = fmt.overflow_limit
    return {
        "name": fmt.name,
        "label": label_of(fmt),
        "description": fmt.description,
        "precision": fmt.precision,
        "emin": fmt.emin,
        "emax": fmt.emax,
        "max_finite": fmt.max_finite,
        "smallest_normal": fmt.smallest_normal,
        "smallest_subnormal": fmt.smallest_subnormal,
        "has_subnormals": fmt.has_subnormals,
        "overflow": str(fmt.overflow.value),
        "cuts": {
            "zero": _cut(Fraction(fmt.zero_threshold), inclusive=True),
            "normal": _cut(Fraction(fmt.smallest_normal) - half_step, inclusive=False),
            "top": _cut(limit.value, inclusive=limit.inclusive),
        },
    }


def formats_payload() -> list[dict[str, Any]]:
    """Every format of the catalogue that holds signed numbers and a zero."""
    return [format_payload(fmt) for fmt in list_formats() if fmt.is_signed and fmt.has_zero]


def label_of(fmt: Format) -> str:
    """Name as people write it: FP16, FP8 E4M3FN."""
    return fmt.name.upper().replace("_", " ")


def _cut(bound: Fraction, *, inclusive: bool) -> dict[str, Any]:
    """A bound as the binary64 number that splits all binary64 numbers the same way.

    A bound beyond binary64 is null (nothing lies above it). One between two binary64 numbers
    becomes the lower of them, inclusive.
    """
    if bound >= Fraction(2) ** 1024 - Fraction(2) ** 970:
        return {"value": None, "inclusive": True}
    nearest = float(bound)
    if Fraction(nearest) == bound:
        return {"value": nearest, "inclusive": inclusive}
    below = nearest if Fraction(nearest) < bound else math.nextafter(nearest, 0.0)
    return {"value": below, "inclusive": True}
