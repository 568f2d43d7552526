"""The arithmetics of the catalogue, found by name."""

from __future__ import annotations

import functools

from deephochuli.arithmetic._arithmetic import Arithmetic
from deephochuli.arithmetic._catalogue import ALIASES, CATALOGUE, SAME_UNIT
from deephochuli.errors import ArithmeticSpecError, near_matches


def get_arithmetic(name: str | Arithmetic) -> Arithmetic:
    """Find an arithmetic of the catalogue by name; one that is given comes back as it is.

    Raises:
        ArithmeticSpecError: The name is unknown; the message names those that resemble it.

    Example:
        >>> get_arithmetic("a100-fp16").sums.block
        8
    """
    if isinstance(name, Arithmetic):
        return name
    known = _by_name()
    found = known.get(str(name).strip().lower().replace("_", "-"))
    if found is None:
        raise ArithmeticSpecError(
            f"Unknown arithmetic {name!r}. {near_matches(str(name).lower(), known)} "
            "list_arithmetics() gives them all; deephochuli.arithmetic.Arithmetic makes new ones."
        )
    return found


def list_arithmetics() -> tuple[Arithmetic, ...]:
    """All arithmetics of the catalogue."""
    return CATALOGUE


@functools.cache
def _by_name() -> dict[str, Arithmetic]:
    """The catalogue by all names; units that are built alike answer to the names of each."""
    named = {it.name: it for it in CATALOGUE}
    same = {"h200": "h100", **SAME_UNIT}
    for other, known in same.items():
        for name in [name for name in named if name.startswith(f"{known}-")]:
            named[other + name.removeprefix(known)] = named[name]
    return named | {alias: named[name] for alias, name in ALIASES.items()}
