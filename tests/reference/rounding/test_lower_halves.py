"""Stochastic roundings that the lower half of an element's own random bits decides.

Compiled code makes lower halves where the upper ones leave a doubt: of one element in 65,536, by
chance. Here such elements are planted: one in a block, anywhere in it, or as many as there are. The
truth is what docs/rounding.md says, in integers: f the place between neighbours, r the random bits,
the upper one where floor(f 2^32) + r >= 2^32.
"""

import numpy as np
import pytest
import torch

from deephochuli.arithmetic import BlockFormat, get_block_format, round_blocks
from deephochuli.formats import E2M1, E4M3FN, Rounding, decode_array, get_format
from deephochuli.kernels.rounding import StochasticKey, plan_for
from tests.reference.rounding.conftest import interpreted_rounder
from tests.reference.rounding.numbers import DTYPES
from tests.reference.rounding.philox import random_bits

KEY = StochasticKey(3, 4, 5)
TWO32 = 1 << 32
# One in a block of 2,048 or two, in any lane; every one.
SPREADS = {"few": 1021, "all": 1}
# Loops that ask for lower halves, in either carrier, also where less than 16 bits are cut off or
# more than 32; loops that always have them; and those that reach below the carrier's normal range.
SPECS = (
    *("fp8_e4m3fn", "fp8_e5m2fnuz", "fp4_e2m1", "fp16", "bf16", "fp32", "tf32", "e8m0"),
    *("e5m3:unsigned", "e8m0:bias=133", "fp16:no-subnormals", "e8m2:bias=140", "e4m0", "e5m23"),
)


def close_numbers(low, high, bits, generator, steps=1.0, kind=np.float32):
    """Numbers between neighbours that the upper halves of random bits take next to the turn."""
    other = bits // 65536 * 65536 + generator.integers(0, 65536, bits.shape)
    with np.errstate(under="ignore"):
        return ((low + (high - low) * (1 - other / TWO32)) * steps).astype(kind)


def decided(x, low, high, bits):
    """The neighbour that numbers become, and for how many of them a lower half may decide that."""
    with np.errstate(under="ignore"):
        place = np.floor((x - low) / (high - low) * TWO32).astype(np.int64)
    least, most = bits // 65536 * 65536, bits // 65536 * 65536 + 65535
    n_open = ((place + least < TWO32) & (place + most >= TWO32)).sum()
    return np.where(place + bits >= TWO32, high, low), n_open


def pairs_of(fmt, n, generator):
    """Neighbouring magnitudes of a format; half of them among the smallest ones."""
    codes = np.unique(np.linspace(0, fmt.max_finite_code, 200).astype(np.int64))
    codes = np.concatenate([np.arange(min(200, fmt.max_finite_code)), codes[:-1]])
    low, high = decode_array(codes, fmt), decode_array(codes + 1, fmt)
    chosen = generator.choice(np.flatnonzero(low < high), n)
    return low[chosen], high[chosen]


def check(rounder, spec, dtype, spread, n, end=None):
    """Round numbers among which are close ones, beside the truth."""
    fmt, generator, kind = get_format(spec), np.random.default_rng(8), getattr(np, dtype)
    at = slice(7 if spread > 1 else 0, None, spread)
    bits = random_bits(n, KEY)[at]
    low, high = pairs_of(fmt, bits.size, generator)
    x = np.full(n, 1.0, kind)
    x[at] = close_numbers(low, high, bits, generator, kind=kind)
    truth, n_open = decided(x[at].astype(np.float64), low, high, bits)
    signs = generator.choice([-1, 1] if fmt.is_signed else [1], bits.size)
    x[at] *= signs.astype(kind)
    if end is not None:
        x[::2048] = end
    source = torch.from_numpy(x)
    found = torch.empty_like(source)
    rounder.round(source, found, plan_for(fmt, Rounding.STOCHASTIC, None, dtype), KEY)
    wrong = (np.abs(found.numpy()[at]) != truth) & (x[at] != end)
    assert not wrong.any(), (spec, x[at][wrong][:3], found.numpy()[at][wrong][:3], truth[wrong][:3])
    return n_open / bits.size


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("spec", SPECS)
def test_numbers(rounder, spec, spread):
    n = (1 << 18) + 333 if spread == "few" else 5000
    share = check(rounder, spec, "float32", SPREADS[spread], n)
    if spec in ("fp8_e4m3fn", "fp8_e5m2fnuz", "fp4_e2m1", "e8m0", "e8m0:bias=133", "e4m0"):
        assert share > 0.8  # of what the others cut off, 16 bits are most or all


@pytest.mark.parametrize("spec", ["fp8_e4m3fn", "bf16", "fp32", "fp16:no-subnormals", "e8m0"])
def test_numbers_of_64_bits(rounder, spec):
    for spread, n in ((1021, 1 << 17), (1, 5000)):
        assert check(rounder, spec, "float64", spread, n) > 0.9


@pytest.mark.parametrize("spec", ["fp8_e4m3fn", "e8m0", "fp16"])
def test_blocks_with_an_end_among_them(rounder, spec):
    """Which the first loop is not for: the next one has all bits."""
    check(rounder, spec, "float32", 1, 5000, end=np.float32(np.inf))


@pytest.mark.parametrize("n", [1, 31, 1025, 2047, 2049])
def test_tensors_of_any_length(rounder, n):
    check(rounder, "fp8_e4m3fn", "float32", 1, n)


@pytest.mark.parametrize(("spec", "dtype"), [("fp8_e4m3fn", "float32"), ("bf16", "float64")])
def test_the_kernel_for_gpus(spec, dtype):
    assert check(interpreted_rounder(), spec, dtype, 1, 3000) > 0.8


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_narrow_tensors(rounder, dtype):
    """Their few bits leave a doubt too, where upper halves end in ones; it never comes true."""
    n, generator = 1 << 17, np.random.default_rng(9)
    bits = random_bits(n, KEY)
    place = (65536 - bits // 65536) % 65536 >> 12 << 12  # 4 bits
    x = torch.from_numpy((8 + place / 65536) * generator.choice([-1, 1], n)).to(DTYPES[dtype])
    truth, _ = decided(x.double().abs().numpy(), 8.0, 9.0, bits)
    found = torch.empty_like(x)
    plan = plan_for(get_format("fp8_e4m3fn"), Rounding.STOCHASTIC, None, dtype)
    rounder.round(x, found, plan, KEY)
    assert np.array_equal(found.double().abs().numpy(), truth)


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("name", ["mxfp8_e4m3", "mxfp8_e5m2", "mxfp6_e2m3", "mxfp4"])
def test_blocks_with_powers_of_two(name, spread):
    fmt, generator = get_block_format(name), np.random.default_rng(2)
    scale = np.ldexp(1.0, generator.integers(-40, 40, (8192 if spread == "few" else 160, 1)))
    check_blocks(fmt, scale, SPREADS[spread], generator)


@pytest.mark.parametrize("spread", SPREADS)
def test_blocks_with_other_scales(spread):
    generator = np.random.default_rng(3)
    values = np.array([value for value in E4M3FN.values() if 0.1 < value < 400])
    scale = generator.choice(values, (16384 if spread == "few" else 320, 1))
    check_blocks(get_block_format("nvfp4"), scale, SPREADS[spread], generator)
    assert E2M1.max_finite == 6.0


def check_blocks(fmt: BlockFormat, scale, spread, generator):
    """Round blocks of given scales, whose first element says so and others are close numbers."""
    top, block = fmt.element.max_finite, fmt.block
    x = np.broadcast_to(np.float32(scale * top), (len(scale), block)).ravel().copy()
    at = np.arange(5 if spread > 1 else 0, x.size, spread)
    at = at[at % block != 0]
    bits, steps = random_bits(x.size, KEY)[at], scale[at // block, 0]
    low, high = pairs_of(fmt.element, at.size, generator)
    x[at] = close_numbers(low, high, bits, generator, steps)
    truth, n_open = decided(x[at].astype(np.float64) / steps, low, high, bits)
    assert n_open > 0.8 * at.size
    found = round_blocks(torch.from_numpy(x), fmt, rounding="stochastic", key=KEY).numpy()
    wrong = found[at] != np.float32(truth * steps)
    assert not wrong.any(), (at[wrong][:3], x[at][wrong][:3], found[at][wrong][:3])
