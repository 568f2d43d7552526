"""Rows that get no product of their own, and steps that are compiled as a whole."""

from itertools import pairwise

import numpy as np
import pytest

from deephochuli.pieces import _bend as bend
from deephochuli.pieces import _crossings as crossings
from deephochuli.pieces import _strides as strides
from deephochuli.pieces._affine import Dense
from deephochuli.pieces._bends import Elementwise
from deephochuli.pieces._exactness import Grain
from deephochuli.pieces._insert import inserted, put
from deephochuli.pieces._moves import Prepared, moved
from deephochuli.pieces._norms import norms_of
from deephochuli.pieces._program import Step
from deephochuli.pieces._state import State, Value

N_ROWS, WIDTH = 300, 160
RELU = np.array([[0.0], [1.0]])


def curve(seed):
    """Values on a piecewise linear curve, rounded, and the jumps of its slope."""
    generator = np.random.default_rng(seed)
    t = np.sort(generator.random(N_ROWS))
    t[100] = np.nextafter(t[101], 0.0)  # two rows that are as close as can be
    jump = generator.standard_normal((N_ROWS, WIDTH)) / N_ROWS**0.5
    jump[generator.random((N_ROWS, WIDTH)) < 0.5] = 0.0
    slope = generator.standard_normal(WIDTH).astype(np.longdouble)
    rows = [generator.standard_normal(WIDTH).astype(np.longdouble)]
    for r in range(1, N_ROWS):
        rows.append(rows[-1] + slope * np.longdouble(t[r] - t[r - 1]))
        slope = slope + jump[r]
    return t, np.array(rows).astype(np.float64), jump


def layer(seed):
    """A linear layer and what is known of it."""
    generator = np.random.default_rng(seed)
    weight = generator.standard_normal((WIDTH, WIDTH)) / WIDTH**0.5
    op = Dense(weight, generator.standard_normal(WIDTH))
    return op, Prepared(Step("layer", op, (0,), 1), norms_of(op), Grain(op))


def behind(t, rows, jump):
    """The layer's output with products for some rows; the true one; the kinds of the rows."""
    op, prepared = layer(7)
    value = Value(rows, np.full(N_ROWS, 1e-300), None, False, jump, np.full(N_ROWS, 1e-300))
    out = moved(prepared, op, [value], t)
    extended = rows.astype(np.longdouble) @ op.weight.T.astype(np.longdouble) + op.bias
    sizes = np.linalg.norm(rows, axis=1), np.linalg.norm(jump, axis=1)
    losses = tuple(160 * 2.0**-53 * size for size in sizes)
    kind = strides.planned(t, rows, value.error, jump, sizes, losses)[0]
    return out, extended, kind


def check(out, true):
    """The errors are within their bounds, and these are not much more than rounding."""
    off = np.abs(out.rows - true).astype(np.float64)
    r, j = np.indices(off.shape).reshape(2, -1)
    assert (off.reshape(-1) <= out.error_at(r, j)).all()
    assert (np.linalg.norm(off, axis=1) <= out.error).all()


def test_rows_between_products_are_within_their_bounds():
    out, true, kind = behind(*curve(1))
    assert (kind == strides.BETWEEN).mean() > 0.8
    check(out, true)
    op, prepared = layer(7)
    rows = curve(1)[1]
    direct = moved(prepared, op, [Value(rows, np.full(N_ROWS, 1e-300))])
    # No more than a little is lost beside a product for each row.
    assert (out.error <= 1.5 * direct.error).all()


def test_a_row_with_a_wrong_jump_gets_its_product():
    t, rows, jump = curve(2)
    wrong = jump.copy()
    wrong[30:60] += 1e-3
    wrong[200] *= -5
    out, true, kind = behind(t, rows, wrong)
    assert (kind[30:60] == strides.LONE).sum() > 20
    check(out, true)


def test_a_row_that_is_off_the_curve_gets_its_product():
    t, rows, jump = curve(3)
    rows = rows.copy()
    rows[::7] *= 1 + 1e-9
    out, true, kind = behind(t, rows, jump)
    assert (kind == strides.LONE).any()
    check(out, true)


def test_the_difference_from_the_curve_is_bounded_and_hardly_more():
    t, rows, jump = curve(5)
    rows[::7] *= 1 + 2e-14
    sizes = np.linalg.norm(rows, axis=1), np.linalg.norm(jump, axis=1)
    losses = tuple(2.0**-40 * size for size in sizes)
    kind, extra, _ = strides.planned(t, rows, np.ones(N_ROWS), jump, sizes, losses)
    anchors = np.flatnonzero(kind == strides.ANCHOR)
    assert not (kind == strides.LONE).any()
    y, exact_t, turns = (x.astype(np.longdouble) for x in (rows, t, jump))
    for a, b in pairwise(anchors.tolist()):
        inner = np.arange(a + 1, b)
        # The curve through both ends with these jumps, as one sum for each place.
        ramps = np.maximum(exact_t[:, None] - exact_t[inner], 0)[a : b + 1] @ turns[inner]
        share = ((exact_t[a : b + 1] - exact_t[a]) / (exact_t[b] - exact_t[a]))[:, None]
        g = y[a] + share * (y[b] - y[a] - ramps[-1]) + ramps
        off = np.sqrt(((y[a : b + 1] - g) ** 2).sum(axis=1))[1:-1].astype(np.float64)
        assert (extra[inner] >= off).all()
        assert (extra[inner] <= off + 64 * 2.0**-53 * sizes[0][inner]).all()


def test_exact_rows_always_get_their_product():
    t, rows, jump = curve(4)
    error = np.full(N_ROWS, 1e-300)
    error[50:70] = 0.0
    sizes = np.linalg.norm(rows, axis=1), np.linalg.norm(jump, axis=1)
    kind = strides.planned(t, rows, error, jump, sizes, sizes)[0]
    assert (kind[50:70] == strides.ANCHOR).all()


@pytest.mark.parametrize("is_exact", [False, True])
def test_the_compiled_step_is_the_step_array_by_array(is_exact):
    generator = np.random.default_rng(11)
    n, width = 60, 24
    rows = np.cumsum(generator.standard_normal((n, width)) * 0.2, axis=0)
    if is_exact:
        rows = np.round(rows * 64) / 64 + 1 / 128  # few bits, and none on the knot
    jump = generator.standard_normal((n, width)) * (generator.random((n, 1)) < 0.5)
    error = np.zeros(n) if is_exact else np.full(n, 1e-13)
    value = Value(rows, error, None, False, jump, np.abs(jump).max(axis=1) * 1e-14)
    t = np.sort(np.append(generator.random(n - 2), [0.0, 1.0]))
    origin = np.full(n, -1, np.int32)
    state = State(t, np.arange(n) > 1, origin, origin, {0: value})
    op = Elementwise(np.zeros(1), RELU, 0.0, width)
    after, out, known = bend.bent(state, op, 3, 0, 10**6)

    sides = crossings.look(value, op, 3)
    assert not sides[0].near.shape[1]
    assert len(after) > n + 50
    expected = crossings.events(state, value, sides)
    found = crossings.crossings(value, sides)
    grown, row = inserted(state, found, 3, 10**6)
    z = put(grown.values[0], row, found.unit, found.target)
    slow = bend._rectified(grown.t, z, op)
    for name in ("low", "high", "step", "unit", "left", "right", "weight"):
        assert np.array_equal(getattr(known, name), getattr(expected, name)), name
    for name in ("t", "is_own", "step", "unit"):
        assert np.array_equal(getattr(after, name), getattr(grown, name)), name
    for mine, theirs in ((out, slow), (after.values[0], z)):
        for name in ("rows", "jump"):
            assert np.array_equal(getattr(mine, name), getattr(theirs, name)), name
        for name in ("error", "jump_error"):
            # Squares may be added in another order.
            assert np.allclose(getattr(mine, name), getattr(theirs, name), rtol=1e-12), name
            assert np.array_equal(getattr(mine, name) == 0, getattr(theirs, name) == 0), name
