"""Rounding by looking at all values of a format: slow, simple, and nothing shared with the code.

The table of values comes from another library; the middle of two of them is a binary64 number.
"""

import numpy as np

from .judges import CASTS_OF_NUMPY


def finite_magnitudes(name: str) -> np.ndarray:
    """All finite values without sign, ascending, zero first where there is one; float64.

    The place in this array is the magnitude code.
    """
    dtype = np.dtype(CASTS_OF_NUMPY[name])
    bits = {"fp6_e2m3": 6, "fp6_e3m2": 6, "fp4_e2m1": 4}.get(name, 8 * dtype.itemsize)
    n = 2**bits if name == "e8m0" else 2 ** (bits - 1)
    with np.errstate(all="ignore"):
        values = np.arange(n, dtype=f"u{dtype.itemsize}").view(dtype).astype(np.float64)
    return values[np.isfinite(values)]


def extended_magnitudes(name: str) -> np.ndarray:
    """The same with one more value, that which would follow if exponents went on."""
    values = finite_magnitudes(name)
    if name == "e8m0":
        return np.append(values, 2 * values[-1])
    return np.append(values, values[-1] + (values[-1] - values[-2]))


def nearest_index(x: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Place of the nearest of the values for each magnitude, ties to the even place."""
    upper = np.clip(np.searchsorted(values, x), 1, len(values) - 1)
    below, above = x - values[upper - 1], values[upper] - x
    goes_up = (above < below) | ((above == below) & (upper % 2 == 0))
    return np.where(goes_up, upper, upper - 1)


def truncated_index(x: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Place of the largest of the values that is not above each magnitude."""
    return np.searchsorted(values, x, side="right") - 1


def edges(values: np.ndarray, dtype: type = np.float64) -> np.ndarray:
    """Values, middles, and the neighbours of both in a dtype, with both signs, and specials."""
    middles = (values[1:] + values[:-1]) / 2
    with np.errstate(all="ignore"):
        centre = np.concatenate([values, middles]).astype(dtype)
        around = [np.nextafter(centre, dtype(side)) for side in (-np.inf, np.inf)]
    finfo = np.finfo(dtype)
    extreme = np.array([0, np.inf, np.nan, finfo.max, finfo.tiny, finfo.smallest_subnormal], dtype)
    positive = np.concatenate([centre, *around, extreme])
    return np.concatenate([positive, -positive])
