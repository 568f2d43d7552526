"""Philox4x32-10 once more, in Python's integers and NumPy's 64-bit ones, from the paper."""

import numpy as np

LOW = (1 << 32) - 1


def philox4x32(counter, key):
    """Four words from four words and two, with any integers of arrays of uint64."""
    x, k = list(counter), list(key)
    for _ in range(10):
        p, q = x[0] * 0xD2511F53, x[2] * 0xCD9E8D57
        x = [(q >> 32) ^ x[1] ^ k[0], q & LOW, (p >> 32) ^ x[3] ^ k[1], p & LOW]
        k = [(k[0] + 0x9E3779B9) & LOW, (k[1] + 0xBB67AE85) & LOW]
    return x


def random_bits(n, key, first=0):
    """The random bits of elements from an index on, as docs/rounding.md defines them."""
    index = np.arange(first, first + n, dtype=np.uint64)
    counter = index // np.uint64(1024) * np.uint64(128) + index % np.uint64(128)
    place = (index // np.uint64(128) % np.uint64(8)).astype(np.int64)
    upper = half_words(counter, place, key)
    return upper * 65536 + half_words(counter + np.uint64(2**63), place, key)


def half_words(counter, place, key):
    """Of the eight halves of the words of each counter the one at a place, the lowest first."""
    low, high = key.seed & LOW, key.seed >> 32
    start = counter & np.uint64(LOW), counter >> np.uint64(32), key.stream, key.step
    start = [np.full(counter.size, part, np.uint64) for part in start]
    words = philox4x32(start, [np.uint64(low), np.uint64(high)])
    word = np.stack(words)[place // 2, np.arange(counter.size)].astype(np.int64)
    return np.where(place % 2 == 1, word // 65536, word % 65536)
