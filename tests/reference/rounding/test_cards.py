"""Blocks whose scale has a significand: how scales are found, and what stands on their cards."""

from fractions import Fraction

import numba as nb
import numpy as np
import pytest
import torch
from numba import types
from numba.extending import intrinsic

from deephochuli.arithmetic import _block_fast
from deephochuli.arithmetic._block_formats import BlockFormat
from deephochuli.formats import E2M1, E4M3FN, Overflow, Rounding, get_format, round_scalar
from deephochuli.kernels import _cpu_emit as emit
from deephochuli.kernels.rounding import BlockScale, StochasticKey, cpu_rounder, plan_for
from deephochuli.kernels.rounding._constants import has_cards, has_lattice
from tests.reference.rounding.test_close_decisions import assert_both_ways_agree

SINGLE = float(np.float32(0.37))
UNITS = [1.0, SINGLE, 2.0**-20, 4095 * 2.0**-30]
MODES = ("nearest-even", "nearest-away", "toward-zero", "stochastic")
ELEMENTS = ("fp4_e2m1", "e2m1:bias=0", "e2m1:bias=-3", "e2m1:no-nan", "e2m1:no-inf")
SCALES = ("fp8_e4m3fn", "fp8_e5m2", "e5m2:unsigned", "e3m2")


@pytest.fixture
def only_compiled(monkeypatch):
    """Have the quick way fail where compiled code leaves it to passes of torch."""
    monkeypatch.setattr(_block_fast, "round_into", None)


def beside(tops):
    """Numbers, and some on both sides of each."""
    bits = np.float32(tops).view(np.int32)[:, None] + np.array([-9, -2, -1, 0, 1, 2, 9], np.int32)
    found = bits.ravel().view(np.float32)
    return found[np.isfinite(found) & (found > 0)]


def e4m3():
    values = np.abs(np.array(list(E4M3FN.values())))
    return np.unique(values[np.isfinite(values)])


@pytest.mark.usefixtures("only_compiled")
@pytest.mark.parametrize("unit", UNITS)
def test_scales_in_rational_numbers(unit):
    """The largest number of a block beside scales, middles and powers of two, times the span."""
    scales = e4m3()
    points = [*scales[1:], *(scales[1:] + scales[:-1]) / 2, *2.0 ** np.arange(-12, 10), 464.0]
    tops = beside(np.array(points) * 6 * unit)
    x = torch.zeros(tops.size, 16)
    x[:, 3] = torch.from_numpy(tops)
    fmt = BlockFormat(name="nv", element=E2M1, scale=E4M3FN, block=16)
    ours = _block_fast.round_easy_blocks_by_values(
        x, *plans(fmt, Rounding.NEAREST_EVEN), 16, -1, None, unit
    )
    assert ours is not None
    for top, mine in zip(tops.tolist(), ours[:, 3].tolist(), strict=True):
        scale = round_scalar(Fraction(top) / (6 * Fraction(unit)), E4M3FN, overflow="saturate")
        step = Fraction(scale) * Fraction(unit)
        element = step and round_scalar(Fraction(top) / step, E2M1, overflow="saturate")
        assert mine == np.float32(float(Fraction(element) * step)), (top, scale)


def plans(fmt, mode):
    """The plans of the elements and of the scales of a block format, in binary64."""
    even = Rounding.NEAREST_EVEN
    return (
        plan_for(fmt.element, mode, Overflow.SATURATE, "float64"),
        plan_for(fmt.scale, even, Overflow.SATURATE, "float64"),
    )


def test_what_has_cards_and_a_lattice():
    """Few bits, few values, and all of them near 1, with the unit and without it."""
    assert [has_lattice(get_format(name)) for name in (*ELEMENTS, *SCALES)] == [True] * 5 + [0] * 4
    assert not has_lattice(get_format("e2m1:no-subnormals"))
    assert all(has_cards(get_format(name), unit) for name in SCALES for unit in (1.0, 2.0**-20))
    assert has_cards(E4M3FN, 2.0**-51)
    assert not has_cards(E4M3FN, 2.0**-52)
    assert has_cards(E4M3FN, 2.0**51)
    assert not has_cards(E4M3FN, 2.0**52)
    for name in ("e8m0", "fp16", "e8m3", "e5m3", "e5m2:no-subnormals", "e5m2:bias=70"):
        assert not has_cards(get_format(name), 1.0)


@pytest.mark.usefixtures("only_compiled")
@pytest.mark.parametrize("element", ELEMENTS)
@pytest.mark.parametrize("scale", SCALES)
def test_other_formats(element, scale, monkeypatch):
    fmt = BlockFormat(
        name=f"{element}/{scale}", element=get_format(element), scale=get_format(scale), block=32
    )
    generator = np.random.default_rng(7)
    x = np.ldexp(generator.normal(size=(300, 32)), generator.integers(-9, 9, (300, 1)))
    x = torch.from_numpy(np.float32(x))
    for mode in MODES:
        assert_both_ways_agree(x, fmt, SINGLE, monkeypatch, mode)


@pytest.mark.parametrize("mode", MODES)
def test_elements_without_subnormal_numbers(mode, monkeypatch):
    """They have a gap above zero that a lattice has not."""
    element = get_format("e2m1:no-subnormals")
    fmt = BlockFormat(name="gap", element=element, scale=E4M3FN, block=16)
    x = torch.randn(1 << 14, generator=torch.Generator().manual_seed(2))
    assert_both_ways_agree(x, fmt, None, monkeypatch, mode)


@pytest.mark.usefixtures("only_compiled")
@pytest.mark.parametrize("mode", MODES)
def test_numbers_whose_scale_is_zero(mode, monkeypatch):
    """Blocks below half of the smallest scale become zeros, whatever their random bits."""
    x = torch.rand(1 << 16, generator=torch.Generator().manual_seed(1)) * 0.02 - 0.01
    x = x * torch.tensor([1.0, 0.5, 0.1, 1e-30]).repeat_interleave(16).repeat(1 << 10)
    assert_both_ways_agree(x, "nvfp4", None, monkeypatch, mode)


@pytest.mark.usefixtures("only_compiled")
@pytest.mark.parametrize("mode", MODES)
def test_numbers_far_beyond_the_largest_scale(mode, monkeypatch):
    generator = np.random.default_rng(8)
    tops = np.ldexp(generator.uniform(1, 2, (256, 1)), generator.integers(8, 127, (256, 1)))
    x = tops * np.exp2(generator.uniform(-40, 0, (256, 16))) * generator.choice([-1, 1], (256, 16))
    # Beside four times the largest element: so far stochastic rounding looks quotients up.
    x[:128, 0] = beside(np.float32([4 * 6 * 448]))[:4].repeat(32)
    for rows in (x, x[:128], x[128:]):
        assert_both_ways_agree(torch.from_numpy(np.float32(rows)), "nvfp4", None, monkeypatch, mode)


@pytest.mark.usefixtures("only_compiled")
@pytest.mark.parametrize("name", ["nvfp4", "mxfp4"])
def test_any_number_of_vectors(name, monkeypatch):
    generator = torch.Generator().manual_seed(3)
    for n in (*range(32, 321, 32), 16 * 129, 16 * 131, 16 * 257):
        n -= n % (32 if name == "mxfp4" else 16)
        for mode in MODES:
            x = torch.randn(n, generator=generator)
            assert_both_ways_agree(x, name, None, monkeypatch, mode)


def test_nothing_is_written_behind_the_target():
    mode, even = Rounding.STOCHASTIC, Rounding.NEAREST_EVEN
    scale = BlockScale(plan_for(E4M3FN, even, Overflow.SATURATE, "float64"), 1.0)
    plan = plan_for(E2M1, mode, Overflow.SATURATE, "float32")
    for n in (16, 48, 80, 112, 2048 + 16):
        x, space = torch.ones(n), torch.full((n + 128,), 7.0)
        assert cpu_rounder().round_blocks(x, space[64:-64], plan, 16, StochasticKey(1), scale)
        assert (space[:64] == 7).all()
        assert (space[-64:] == 7).all()
        assert (abs(space[64:-64] - 1) < 0.5).all()


@pytest.mark.usefixtures("only_compiled")
def test_flags_of_the_processor_do_not_matter(flushing, monkeypatch):
    x = torch.randn(4096, generator=torch.Generator().manual_seed(4))
    x[::3] *= 1e-38
    x[16:32] = 1e-40
    for mode in MODES:
        assert_both_ways_agree(x, "nvfp4", None, monkeypatch, mode)
        assert_both_ways_agree(x, "nvfp4", SINGLE, monkeypatch, mode)


@pytest.mark.parametrize("features", [("avx512f", "avx2"), ("avx2",), ()])
def test_lookups(features, monkeypatch):
    """Sixteen words at a time, eight, or one; only the last four bits count."""
    for name in features:
        if not emit.has_feature(name):
            pytest.skip(f"this processor has no {name}")
    monkeypatch.setattr(emit, "has_feature", features.__contains__)

    @intrinsic
    def look_up(typing_context, table, places, found):
        def generate(context, builder, signature, arguments):
            entries = emit.load(builder, arguments[0], emit.VF, 0)
            where = emit.load(builder, arguments[1], emit.V32, 0)
            emit.store(builder, emit.looked_up(builder, entries, where), arguments[2], 0)
            return context.get_dummy_value()

        return types.void(*[types.uint64] * 3), generate

    @nb.njit
    def run(table, places, found):
        look_up(np.uint64(table), np.uint64(places), np.uint64(found))

    generator = np.random.default_rng(9)
    table = generator.normal(size=16).astype(np.float32)
    for _ in range(20):
        places = generator.integers(0, 1 << 32, 16, dtype=np.uint32)
        found = np.zeros(16, np.float32)
        run(table.ctypes.data, places.ctypes.data, found.ctypes.data)
        assert np.array_equal(found, table[places % 16])
