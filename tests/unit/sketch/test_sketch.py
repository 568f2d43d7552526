import math
import struct
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
import torch

from deephochuli.errors import SketchError
from deephochuli.sketch import Sketch, merge_sketches


def test_what_it_says_of_a_few_numbers():
    x = torch.tensor([0.0, -0.0, 1.0, -3.0, math.inf, -math.inf, math.nan, 0.25, 2.0**-149])
    sketch = Sketch.of(x)
    assert (sketch.n, sketch.n_finite, sketch.n_zero) == (9, 6, 2)
    assert (sketch.n_inf, sketch.n_nan, sketch.n_nonfinite) == (2, 1, 3)
    assert (sketch.min_abs, sketch.max_abs) == (2.0**-149, 3.0)
    assert sketch.sum == -1.75
    assert sketch.sum_sq == 10.0625
    assert sketch.mean == -1.75 / 6
    assert sketch.rms == math.sqrt(10.0625 / 6)
    assert sketch.binades() == {-149: 1, -2: 1, 0: 1, 1: 1}


def test_of_nothing():
    for sketch in (Sketch.empty(), Sketch.of(torch.zeros(0)), merge_sketches([])):
        assert sketch == Sketch.empty()
        assert (sketch.n, sketch.n_zero, sketch.sum) == (0, 0, 0.0)
        assert math.isnan(sketch.mean)
        assert math.isnan(sketch.rms)
        assert math.isnan(sketch.max_abs)
        assert sketch.binades() == {}


def test_sums_beyond_binary64_are_infinite_not_wrong():
    sketch = Sketch.of(torch.full((4,), 1e308, dtype=torch.float64))
    assert sketch.sum == math.inf
    assert sketch.sum_sq == math.inf
    assert (sketch + Sketch.of(torch.ones(1))).sum == math.inf


def test_merging_counts_past_2_to_the_31():
    one = Sketch.of(torch.ones(1000))
    many = one
    for _ in range(22):
        many = many + many
    assert many.n == many.count_key(0x3FF0) == 1000 * 2**22
    assert many.exact_sum == 1000 * 2**22


def test_sums_of_a_merge_round_once():
    parts = [Sketch.of(torch.tensor([value])) for value in (1e30, 1.0, -1e30)]
    assert merge_sketches(parts).exact_sum == Fraction(1)


@pytest.mark.parametrize(
    ("keys", "counts", "message"),
    [
        ([1, 1], [1, 1], "strictly increasing"),
        ([1], [0], "positive counts"),
        ([1], [1, 2], "1 keys"),
    ],
)
def test_damaged_columns_are_refused(keys, counts, message):
    with pytest.raises(SketchError, match=message):
        Sketch.from_counts(
            np.array(keys, np.uint16), np.array(counts, np.int64), 0.0, 0.0, math.nan, math.nan
        )


def test_equal_only_to_what_holds_the_same():
    a, b = Sketch.of(torch.tensor([1.0, 2.0])), Sketch.of(torch.tensor([2.0, 1.0]))
    assert a == b
    assert hash(a) == hash(b)
    assert a != Sketch.of(torch.tensor([1.0, -2.0]))
    assert a != Sketch.of(torch.tensor([1.01, 1.99]))
    assert a != "a sketch"


def relu_cases():
    generator = torch.Generator().manual_seed(3)
    randn = torch.randn(4000, generator=generator)
    special = torch.tensor([math.nan, -math.nan, math.inf, -math.inf, -0.0, 0.0, -1.0])
    patterns = torch.randint(-(2**31), 2**31 - 1, (4000,), generator=generator).int()
    yield from (randn, randn.double() * 1e-310, special, torch.cat([randn, special]))
    yield from (-randn.abs(), randn.abs(), torch.zeros(0), torch.tensor([-5.0, 1.03, 1.1]))
    yield from (patterns.view(torch.float32), randn.bfloat16(), randn.half())


@pytest.mark.parametrize("x", list(relu_cases()), ids=lambda x: f"{x.dtype}{len(x)}")
def test_relu_of_a_sketch_is_the_sketch_of_relu(x):
    derived, true = Sketch.of(x).relu(), Sketch.of(torch.relu(x) + 0.0)  # no -0
    assert true.n_nan == derived.n_nan
    assert np.array_equal(derived.keys, true.keys)
    assert np.array_equal(derived.counts, true.counts)
    # Bounds on the extremes are on the safe side, and close.
    np.testing.assert_equal(math.isnan(true.max_abs), math.isnan(derived.max_abs))
    np.testing.assert_equal(math.isnan(true.min_abs), math.isnan(derived.min_abs))
    if true.max_abs > 0:
        assert true.max_abs <= derived.max_abs <= true.max_abs * 1.125
        assert true.min_abs / 1.125 <= derived.min_abs <= true.min_abs
    if true.exact_sum is not None and derived.exact_sum is not None and true.sum > 1e-300:
        assert derived.sum == pytest.approx(true.sum, rel=1 / 16)


def test_relu_bounds_answers_where_the_largest_was_negative():
    x = torch.tensor([-9.0, 1.1, 1.0])
    assert Sketch.of(x).relu().count_below(Fraction(1.05), inclusive=False) == (1, 2)
    assert Sketch.of(x).relu().count_below(Fraction(1.125), inclusive=False) == (2, 2)


def test_relu_of_nonnegative_numbers_keeps_everything():
    x = torch.tensor([0.0, -0.0, 1.3, math.inf])
    assert Sketch.of(x).relu() == Sketch.of(torch.relu(x) + 0.0)


def test_reading_needs_neither_torch_nor_numba():
    code = (
        "import sys, deephochuli.kernels, deephochuli.sketch as s;"
        "s.Sketch.empty().relu().ask('fp16');"
        "print([m for m in ('torch', 'numba') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_edge_is_told_from_the_interval_above_it():
    next_up = struct.unpack("<f", struct.pack("<I", 0x3F800001))[0]
    sketch = Sketch.of(torch.tensor([1.0, next_up]))
    assert sketch.keys.tolist() == [0x3FF0, 0x3FF1]
    assert sketch.count_below(Fraction(1), inclusive=True) == (1, 1)
    assert sketch.count_below(Fraction(1), inclusive=False) == (0, 0)
