"""The exponents of packed operands, as the tiles of aligned sums read them."""

# Compiled functions get their types from their callers; the type checker cannot follow.
# pyright: basic

from __future__ import annotations

import numba as nb
import numpy as np

from deephochuli.kernels._cpu_memory import p16, p32, pi32
from deephochuli.kernels.products import _cpu_blocks as blocks
from deephochuli.kernels.products import _cpu_steady as steady
from deephochuli.kernels.products._cpu_chains import ROWS
from deephochuli.kernels.products._cpu_scalar import OPTIONS

i64, u32, u16 = np.int64, np.uint32, np.uint16
# An exponent that is out of any range.
FAR = 10000


@nb.njit(**OPTIONS)
def word_of(pattern, emin, bias, of_zero):
    """The exponent of a number in bits 7 to 14."""
    magnitude = u32(pattern & u32(0x7FFFFFFF))
    exponent = max(i64(magnitude >> u32(23)) - blocks.BIAS, emin) + bias
    exponent = exponent if magnitude != u32(0) else i64(of_zero)
    return u32((exponent << steady.PLACE) & 0xFFFF)


def least32(source_at, target_at, n):
    """The pattern of the smallest binary32 number that is not zero, without its sign, less one.

    All ones where there are only zeros.
    """
    source, least = p32(source_at), u32(0xFFFFFFFF)
    for i in range(n):
        least = min(least, u32(u32(source[i] & u32(0x7FFFFFFF)) - u32(1)))
    p32(target_at)[0] = least


def exponents32(source_at, target_at, n, emin, bias, doubled):
    """Exponents of binary32 numbers as aligned sums count them, 16 bits each, or twice that."""
    source, narrow, wide = p32(source_at), p16(target_at), p32(target_at)
    for i in range(n):
        magnitude = u32(source[i] & u32(0x7FFFFFFF))
        field = i64(magnitude >> u32(23)) - 127
        e = max(field, emin)
        e = i64(blocks.OF_SPECIAL) if field == 128 else e
        e = i64(blocks.OF_ZERO) if magnitude == u32(0) else e
        word = u32((e + bias) & 0xFFFF)
        if doubled:
            wide[i] = word | (word << u32(16))
        else:
            narrow[i] = u16(word)


def words32(source_at, target_at, bounds_at, n_tiles, n, width, emin, bias):
    """Exponents of packed binary32 numbers as steady blocks read them, and their bounds.

    Of A, 4 wide, each twice in 32 bits, biased; of B the columns of the two vectors alternate.
    """
    source, narrow, wide = p32(source_at), p16(target_at), p32(target_at)
    bounds, half = pi32(bounds_at), width // 2
    for tile in range(n_tiles):
        least, most = u32(0x7FFFFFFF), u32(0)
        for i in range(tile * n * width, (tile + 1) * n * width):
            size = u32(source[i] & u32(0x7FFFFFFF))
            most = max(most, size)
            least = min(least, u32(size - u32(1)) & u32(0x7FFFFFFF))
        for k in range(tile * n, (tile + 1) * n):
            if width == ROWS:
                for i in range(k * ROWS, (k + 1) * ROWS):
                    word = word_of(source[i], emin, bias, steady.OF_ZERO_A)
                    wide[i] = word | (word << u32(16))
            else:
                for j in range(half):
                    at = k * width + j
                    for i in range(2):
                        word = word_of(source[at + i * half], emin, 0, steady.OF_ZERO_B)
                        narrow[k * width + 2 * j + i] = u16(word)
        lowest, highest = (i64(least) >> 23) - blocks.BIAS, (i64(most) >> 23) - blocks.BIAS
        bounds[2 * tile] = max(lowest, emin)
        bounds[2 * tile + 1] = max(highest, emin) if highest <= steady.HIGHEST else FAR


def bounds32(source_at, bounds_at, n_tiles, n, width, depth):
    """Smallest and largest exponents of packed binary32 numbers, of each piece of k of each tile.

    Zeros have none; a piece with something that is not finite ends `FAR` away.
    """
    source, bounds, piece = p32(source_at), pi32(bounds_at), 0
    for tile in range(n_tiles):
        for first in range(0, n, depth):
            least, most = u32(0x7FFFFFFF), u32(0)
            begin, stop = tile * n + first, tile * n + min(first + depth, n)
            for i in range(begin * width, stop * width):
                size = u32(source[i] & u32(0x7FFFFFFF))
                most = max(most, size)
                least = min(least, u32(size - u32(1)) & u32(0x7FFFFFFF))
            highest = i64(most) >> 23
            bounds[2 * piece] = (i64(least + u32(1)) >> 23) - blocks.BIAS
            bounds[2 * piece + 1] = highest - blocks.BIAS if highest < 255 else FAR
            piece += 1
