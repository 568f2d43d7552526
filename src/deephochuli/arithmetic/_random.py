"""Keys of stochastic rounding."""

from __future__ import annotations

from deephochuli.errors import ArithmeticSpecError
from deephochuli.formats import Rounding
from deephochuli.kernels.rounding import StochasticKey

__all__ = ["StochasticKey"]


def key_for(rounding: Rounding, key: StochasticKey | int | None) -> StochasticKey | None:
    """The key that a rounding needs; None for all modes but the stochastic one.

    Raises:
        ArithmeticSpecError: Stochastic rounding without a key.
    """
    if rounding is not Rounding.STOCHASTIC:
        return None
    if key is None:
        raise ArithmeticSpecError(
            "Stochastic rounding needs key=...: a seed, or StochasticKey(seed, stream, step) with "
            "another stream for each tensor and another step each time. It does not use the "
            "generators of torch."
        )
    return key if isinstance(key, StochasticKey) else StochasticKey(key)
