"""The choices a rounding has to be told: which neighbour, and what beyond the largest value."""

from __future__ import annotations

from enum import StrEnum

from deephochuli.errors import FormatError, near_matches


class _Choice(StrEnum):
    """Names that are looked up with a message which says what would have been right."""

    @classmethod
    def _missing_(cls, value: object) -> _Choice:
        names = [member.value for member in cls]
        raise FormatError(
            f"Unknown {cls.__name__.lower()} {value!r}. {near_matches(str(value), names)}"
        )


class Rounding(_Choice):
    """Which of its two neighbours a number between them becomes.

    Modes are given by member or by name: `Rounding.UP` and `"up"` are the same.
    """

    NEAREST_EVEN = "nearest-even"
    """The nearer one; in the middle the one with the even significand (roundTiesToEven)."""

    NEAREST_AWAY = "nearest-away"
    """The nearer one; in the middle the one farther from zero (roundTiesToAway)."""

    TOWARD_ZERO = "toward-zero"
    """The one nearer to zero (truncation)."""

    UP = "up"
    """The larger one."""

    DOWN = "down"
    """The smaller one."""

    ODD = "odd"
    """The one with the odd significand: safe before a second rounding (Boldo, Melquiond 2008)."""

    STOCHASTIC = "stochastic"
    """The one farther from zero with the probability of its nearness, from given random bits."""


class Overflow(_Choice):
    """What stands for a result that rounds to more than the largest finite magnitude.

    Rounding that stays below it by its own direction (toward zero, down for a positive number, up
    for a negative one, odd) gives `max_finite` under every policy, as IEEE 754-2019, 7.4 has it.
    """

    INFINITY = "infinity"
    """The infinity of the same sign. An infinite input stays infinite."""

    SATURATE = "saturate"
    """The largest finite value of the same sign, for an infinite input too (OCP OFP8, table 3)."""

    NAN = "nan"
    """NaN. An infinite input stays infinite where the format has infinities."""
