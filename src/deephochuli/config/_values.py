"""Texts that stand for something else, and what makes one of them wrong; nothing here is heavy."""

from __future__ import annotations

import re
from typing import Final

AUTO: Final = "auto"
QUANTITIES: Final = ("z", "a", "dz", "da", "w", "g", "dw", "state")
_DEVICE: Final = re.compile(r"(cpu|cuda|mps|xpu|hpu):\d+")


def is_schedule(text: str) -> bool:
    """Say whether a text chooses steps; `deephochuli.taps.parse_schedule` would load torch.

    Example:
        >>> [is_schedule(text) for text in ("10", "auto", "0:100,1000:2000:10", "0", "often")]
        [True, True, True, False, False]
    """
    text = text.strip()
    if text in (AUTO, "log"):
        return True
    if re.fullmatch(r"[0-9]+", text):
        return int(text) > 0
    return all(_is_range(part.strip()) for part in text.split(","))


def as_schedule(steps: int | str | list[int]) -> str:
    """A schedule as the command line writes it.

    Example:
        >>> as_schedule(10), as_schedule([0, 5])
        ('10', '0:1,5:6')
    """
    if isinstance(steps, list):
        return ",".join(f"{step}:{step + 1}" for step in steps)
    return str(steps)


def _is_range(part: str) -> bool:
    fields = re.fullmatch(r"([0-9]*):([0-9]*)(?::([0-9]*))?", part)
    if fields is None or (fields[3] and int(fields[3]) == 0):
        return False
    return not fields[2] or int(fields[2]) > int(fields[1] or 0)


def is_quantity(name: str) -> bool:
    """Say whether there is such a quantity; ``state:NAME`` is one part of the state.

    Example:
        >>> [is_quantity(name) for name in ("dw", "state:exp_avg", "weight")]
        [True, True, False]
    """
    return name in QUANTITIES or bool(re.fullmatch(r"state:.+", name))


def pattern_fault(pattern: str) -> str:
    """What is wrong with a pattern for layers, or "".

    Example:
        >>> pattern_fault("layer1.*"), bool(pattern_fault("re:("))
        ('', True)
    """
    if not pattern.startswith("re:"):
        return ""
    try:
        re.compile(pattern.removeprefix("re:"))
    except re.error as error:
        return f"{pattern!r} is no regular expression: {error}"
    return ""


def names_code(value: str) -> bool:
    """Say whether a name would be imported and called, or leads to another machine.

    Example:
        >>> [names_code(name) for name in ("bf16", "cuda:0", "train.py:make", "ray://host:1")]
        [False, False, True, True]
    """
    return ":" in value and not _DEVICE.fullmatch(value)
