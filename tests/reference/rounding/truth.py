"""What rounding must give, by the exact scalar and array functions of deephochuli.formats."""

import numpy as np

from deephochuli.formats import Rounding, round_array
from deephochuli.kernels.rounding import N_RANDOM_BITS
from tests.reference.rounding.philox import random_bits


def truth(x, fmt, mode, policy, key=None):
    """The rounded numbers as binary64; NaN stays NaN where the format has none."""
    lost = np.isnan(x)
    if not fmt.is_signed:
        lost |= x < 0
    safe = x if fmt.has_nan else np.where(lost, 1.0, x)
    arguments = {}
    if mode is Rounding.STOCHASTIC:
        bits = random_bits(x.size, key)
        arguments = {"random_bits": bits, "n_random_bits": N_RANDOM_BITS}
    rounded = round_array(safe, fmt, mode, policy, **arguments)
    return rounded if fmt.has_nan else np.where(lost, np.nan, rounded)
