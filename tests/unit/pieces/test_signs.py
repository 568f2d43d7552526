"""Sides of units as bits, and rows read for products, against numpy."""

import numba as nb
import numpy as np
import pytest

from deephochuli.pieces import _signs, _sparse
from deephochuli.pieces._sparse import LANES

SLACK = 1 + 2.0**-40


@nb.njit
def written(z, bounds, most, order):
    """Sides of all rows in fresh memory full of ones, what `write` returns, and the changes."""
    n_words = _signs.words_of(z.shape[1]) + 1  # a wider layer would need one more
    sides = np.full((2, len(z), n_words), np.uint64(0xFFFFFFFFFFFFFFFF))
    found = np.empty((2, len(z)), np.int64)
    for p in range(len(z)):
        each = bounds[0][p], bounds[1], bounds[2]
        found[0, p], found[1, p] = _signs.write(z, each, most, SLACK, p, sides[0], sides[1])
    return sides, found, _signs.changes(order, sides[0], sides[1])


def bits(words, n):
    """One number a unit."""
    return np.unpackbits(words.view(np.uint8), axis=1, bitorder="little")[:, :n].astype(bool)


@pytest.mark.parametrize("width", [8, 56, 64, 72, 128, 200])
def test_sides_and_their_changes_are_those_of_the_numbers(width):
    generator = np.random.default_rng(width)
    z = generator.standard_normal((23, width)) * generator.integers(0, 2, (23, width))
    z[5] = -1.0
    z[6, 3], z[7, 3] = -0.0, 5e-324
    error, unit, floor = generator.random(23), generator.random(width), generator.random(width) / 9
    floor[-1] = -1.0  # what is no unit is never near
    error[11:] = 0.0
    order = generator.permutation(23)
    most = float(unit.max()), float(floor.max())
    sides, (is_on, n_near), cross = written(z, (error, unit, floor), most, order)
    for words, expected in zip(sides, (z > 0, z < 0), strict=True):
        np.testing.assert_array_equal(bits(words, width), expected)
        assert not bits(words, 64 * words.shape[1])[:, width:].any()
    np.testing.assert_array_equal(is_on, (z > 0).any(axis=1))
    bound = (error[:, None] * unit + floor) * SLACK
    np.testing.assert_array_equal(n_near, (np.abs(z) <= bound).sum(axis=1))
    signs = np.sign(z[order])
    np.testing.assert_array_equal(cross, np.nonzero(signs[:-1] * signs[1:] == -1))


def four_rows(n):
    """Rows of which some numbers are zero, and the addresses of each."""
    generator = np.random.default_rng(n)
    rows = generator.integers(-8, 9, (4, n)) * generator.integers(0, 2, (4, n)).astype(float)
    rows[:, ::5] = 0.0
    rows += 0.0  # no -0
    return rows, tuple(row.ctypes.data for row in rows)


@pytest.mark.parametrize("n_vectors", [1, 3, 9])
@pytest.mark.parametrize("is_raw", [False, True])
def test_values_are_copied_behind_their_relu(n_vectors, is_raw):
    rows, at = four_rows(n_vectors * LANES)
    before, copies = rows.copy(), np.full_like(rows, np.nan)
    live, facts = np.full(rows.shape[1] + LANES, -1), np.full(4, np.nan)
    to = tuple(row.ctypes.data for row in copies)
    n = _sparse.read_values(at, to, n_vectors, is_raw, live.ctypes.data, facts.ctypes.data)
    np.testing.assert_array_equal(rows, before)
    np.testing.assert_array_equal(copies, np.maximum(rows, 0) if is_raw else rows)
    assert not np.signbit(copies[copies == 0]).any()
    np.testing.assert_array_equal(live[:n], np.flatnonzero(copies.any(axis=0)))
    np.testing.assert_array_equal(facts, (copies**2).sum(axis=1))


@pytest.mark.parametrize("n_vectors", [1, 3, 9])
def test_numbers_stay_where_a_bit_is_set(n_vectors):
    rows, at = four_rows(n_vectors * LANES)
    copies, stays = np.full_like(rows, np.nan), rows % 3 != 0
    masks = np.packbits(stays, axis=1, bitorder="little")
    live, facts = np.full(rows.shape[1] + LANES, -1), np.full(4, np.nan)
    to, bytes_at = (tuple(row.ctypes.data for row in each) for each in (copies, masks))
    n = _sparse.read_masked(at, bytes_at, to, n_vectors, live.ctypes.data, facts.ctypes.data)
    np.testing.assert_array_equal(copies, np.where(stays, rows, 0))
    np.testing.assert_array_equal(live[:n], np.flatnonzero(copies.any(axis=0)))
    np.testing.assert_array_equal(facts, (copies**2).sum(axis=1))
