"""Random bits by Philox4x32-10, as vector code.

Salmon, Moraes, Dror, Shaw (2011), Parallel random numbers: as easy as 1, 2, 3. The state is kept in
words of 64 bits of which the lower half counts: so a product of two halves is one instruction, and
what is in the upper halves does no harm.
"""

# Compiled functions get their types from their callers; the type checker cannot follow.
# pyright: basic

from __future__ import annotations

import numpy as np

from deephochuli.kernels._cpu_memory import p32, p64
from deephochuli.kernels.rounding._contract import GROUP, LANES
from deephochuli.kernels.rounding._cpu_words import use_widest_vectors

u32, u64 = np.uint32, np.uint64
LOW = u64(0xFFFFFFFF)
ROUND_A, ROUND_B = u64(0xD2511F53), u64(0xCD9E8D57)
WEYL_A, WEYL_B = u64(0x9E3779B9), u64(0xBB67AE85)
N_ROUNDS, N_LANES, N_GROUP = 10, LANES, GROUP


def fill(random_at, first_group, n, key_at):
    """Write the random bits of `n` elements from the beginning of a group on.

    Up to the end of a group more may be written; the memory must have room for it.
    """
    key, group = p64(key_at), u64(first_group)
    use_widest_vectors()
    for start in range(0, n, N_GROUP):
        k0, k1, x2, x3 = key[0], key[1], key[2], key[3]
        out = p32(random_at + u64(4 * start))
        first = group * u64(N_LANES)
        for lane in range(min(n - start, N_LANES)):
            counter = u64(first + u64(lane))
            a, b, c, d, e, g = counter, counter >> u64(32), x2, x3, k0, k1
            for _ in range(N_ROUNDS):
                p, q = u64((a & LOW) * ROUND_A), u64((c & LOW) * ROUND_B)
                a, b, c, d = (q >> u64(32)) ^ b ^ e, q, (p >> u64(32)) ^ d ^ g, p
                e, g = e + WEYL_A, g + WEYL_B
            out[lane] = u32(a)
            out[N_LANES + lane] = u32(b)
            out[2 * N_LANES + lane] = u32(c)
            out[3 * N_LANES + lane] = u32(d)
        group += u64(1)
