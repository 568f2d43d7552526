"""Names and numbers as plain text: nothing in a run can steer a terminal."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Final

from deephochuli.analysis import Number, percent

BLOCKS: Final = "▁▂▃▄▅▆▇█"
_WORD: Final = re.compile(r"([^\W\d_])[^\W\d_]*_?")


def plain(name: str) -> str:
    """Text with everything unprintable escaped: control codes, direction marks, odd spaces."""
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii")
        for sign in name
    )


def shortened(name: str, most: int) -> str:
    """A name that fits.

    Of a layer's path initials from the left, as many as needed: neighbours often differ in a number
    in the middle only. Whatever is still too long is cut in the middle.

    >>> shortened("model.decoder.layers.17.self_attn.q_proj.weight", 32)
    'm.d.l.17.self_attn.q_proj.weight'
    """
    parts = plain(name).split(".")
    is_path = len(parts) > 2 and " " not in name
    for i, part in enumerate(parts):
        if is_path and sum(map(len, parts)) + len(parts) - 1 > most:
            parts[i] = _WORD.sub(r"\1", part)
    text = ".".join(parts)
    if len(text) <= most:
        return text
    tail = (most - 1) * 3 // 5
    return f"{text[: most - 1 - tail]}…{text[-tail:]}"


def number_text(number: Number) -> str:
    """One measured number with its unit and its bounds."""
    value = _in_unit(number.value, number.unit)
    if number.low is None or number.high is None or number.low == number.high == number.value:
        return value
    return f"{value} ({_in_unit(number.low, number.unit)} to {_in_unit(number.high, number.unit)})"


def _in_unit(value: float, unit: str) -> str:
    if unit == "share":
        return percent(value) if math.isfinite(value) else "–"
    whole = abs(value) < 1e15 and value == int(value)
    size = f"{value:,.0f}" if whole else f"{value:.3g}"
    return f"{size} {plain(unit)}".strip()


def sparkline(values: Sequence[float]) -> str:
    """Heights as block characters; nothing above zero is drawn as nothing.

    Example:
        >>> sparkline([0, 1, 4, 8, 4, 0])
        ' ▁▄█▄ '
    """
    top = max(values, default=0)
    if not top > 0:
        return " " * len(values)
    return "".join(
        BLOCKS[min(len(BLOCKS), math.ceil(len(BLOCKS) * value / top)) - 1] if value > 0 else " "
        for value in values
    )


def finite_or_none(value: float | None) -> float | None:
    """A number that JSON can hold."""
    return None if value is None or not math.isfinite(value) else float(value)
