"""The leading-bit key: sixteen bits that say almost everything about where a number lies.

The key of a number is the top 15 bits of its binary64 pattern (sign, 11 exponent bits, the first
3 significand bits after the leading one), followed by one *sticky* bit that is set when any lower
bit of the pattern is set::

    15     14 ........... 4   3 2 1   0
    sign   binary64 exponent  top 3   sticky

An even key therefore stands for exactly one number, its *edge*; an odd key stands for the open
interval between its edge and the next one. Among numbers of one sign the keys are in the order of
the magnitudes, with 8 edges in every binade. Every threshold of every number format is a power of
two times a few leading bits, so counting keys once answers, for any format and exactly wherever the
threshold is an edge, how many numbers lie on each side of it: also when they lie *on* it, which
decides the ties of rounding.

Numbers of all types share one key space: a subnormal binary16 or binary32 number is a normal
binary64 number. Zeros (``0x0000``, ``0x8000``) and infinities (``0x7FF0``, ``0xFFF0``) are edges of
their own; all NaNs share ``0x7FF8``.
"""

from __future__ import annotations

import struct
from typing import Final

import numpy as np
from numpy.typing import NDArray

N_KEYS: Final = 1 << 16
SIGN: Final = 0x8000
MAGNITUDE: Final = 0x7FFF
INFINITY: Final = 0x7FF0
NAN: Final = 0x7FF8
EXPONENT_BIAS: Final = 1023

_STICKY_MASK: Final = (1 << 49) - 1


def key_of(x: float) -> int:
    """Return the leading-bit key of one number.

    Args:
        x: Any binary64 number, NaN and infinities included.

    Returns:
        The key in [0, 65535].

    Example:
        >>> hex(key_of(1.0)), hex(key_of(1.0000001)), hex(key_of(-0.0))
        ('0x3ff0', '0x3ff1', '0x8000')
    """
    if x != x:
        return NAN
    (bits,) = struct.unpack("<Q", struct.pack("<d", x))
    return ((bits >> 49) << 1) | ((bits & _STICKY_MASK) != 0)


def edge_of(key: int) -> float:
    """Return the magnitude at the lower edge of a key; the sign bit is ignored.

    Args:
        key: A key whose magnitude part is finite or the infinity.

    Returns:
        The only magnitude of an even key; the excluded lower end of an odd key's interval.

    Example:
        >>> edge_of(key_of(1.3)), edge_of(key_of(1.3) + 1)
        (1.25, 1.375)
    """
    (value,) = struct.unpack("<d", struct.pack("<Q", ((key & MAGNITUDE) >> 1) << 49))
    return value


def edges_of(keys: NDArray[np.uint16]) -> NDArray[np.float64]:
    """Return the lower edges of many keys; the array form of :func:`edge_of`."""
    bits = ((keys.astype(np.uint64) & np.uint64(MAGNITUDE)) >> np.uint64(1)) << np.uint64(49)
    return bits.view(np.float64)


def binades_of(keys: NDArray[np.uint16]) -> NDArray[np.int64]:
    """Return floor(log2(magnitude)) for keys of normal binary64 magnitudes.

    Keys of zero and of binary64 subnormal numbers give -1023, those of infinities and NaN 1024.
    """
    return ((keys.astype(np.int64) & MAGNITUDE) >> 4) - EXPONENT_BIAS
