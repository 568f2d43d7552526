"""Stochastic roundings that turn on the last of the random bits, and loops for calm numbers.

Compiled code decides with fewer bits than there are where that is enough, and says where it is not.
Each number here is next to where its own random bits make rounding turn.
"""

import ctypes
from fractions import Fraction

import numpy as np
import pytest
import torch

from deephochuli.arithmetic import _blocks, round_blocks
from deephochuli.formats import E2M1, E4M3FN, Overflow, Rounding, get_format, round_scalar
from deephochuli.kernels.rounding import (
    StochasticKey,
    cpu_rounder,
    plan_for,
    reference_rounder,
)
from deephochuli.kernels.rounding import _cpu_entries as entries
from tests.reference.rounding.numbers import FORMATS, MODES, bits_of, key_for
from tests.reference.rounding.philox import philox4x32, random_bits

KEY = StochasticKey(3, 4, 5)
TWO32 = 2.0**32


def turning_points(values, bits, generator, *, steps=1.0, kind=np.float32):
    """For each element a number between two values at which its random bits turn the rounding.

    Some are such a number itself, some a few units in the last place away from it.
    """
    chosen = generator.integers(0, len(values) - 1, bits.shape)
    low, gap = values[chosen], np.diff(values)[chosen]
    with np.errstate(under="ignore"):
        x = ((low + gap * (1 - bits / TWO32)) * steps).astype(kind)
    whole = np.int32 if kind == np.float32 else np.int64
    off = generator.integers(-3, 4, bits.shape, dtype=whole)
    moved = (x.view(whole) + off * (x > 0)).view(kind)
    return torch.from_numpy(moved * generator.choice([-1, 1], bits.shape).astype(kind))


def magnitudes(fmt, n=9):
    """The smallest magnitudes of a format, with zero."""
    step = fmt.smallest_subnormal
    return np.array([i * step for i in range(n)])


@pytest.mark.parametrize("name", ["fp16", "fp8_e4m3fn", "fp8_e5m2fnuz", "fp6_e2m3", "fp4_e2m1"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_low_range_beside_where_it_turns(name, dtype):
    n = 20_000
    fmt = get_format(name)
    generator = np.random.default_rng(1)
    bits = random_bits(n, KEY)
    x = turning_points(magnitudes(fmt), bits, generator, kind=getattr(np, dtype))
    plan = plan_for(fmt, Rounding.STOCHASTIC, None, dtype)
    ours, expected = torch.empty_like(x), torch.empty_like(x)
    cpu_rounder().round(x, ours, plan, KEY)
    reference_rounder().round(x, expected, plan, KEY)
    assert torch.equal(bits_of(ours), bits_of(expected))


@pytest.mark.parametrize("name", ["mxfp8_e4m3", "mxfp6_e3m2", "mxfp4"])
def test_blocks_with_powers_of_two_beside_where_they_turn(name, monkeypatch):
    fmt = _blocks.get_block_format(name)
    generator = np.random.default_rng(2)
    bits = random_bits(4096, KEY).reshape(-1, 32)
    scale = np.ldexp(1.0, generator.integers(-40, 40, (128, 1)))
    x = turning_points(magnitudes(fmt.element), bits, generator, steps=scale)
    x[:, 0] = torch.from_numpy(scale[:, 0] * fmt.element.max_finite)
    for kind in (torch.float32, torch.bfloat16):
        assert_both_ways_agree(x.to(kind), name, None, monkeypatch)


@pytest.mark.parametrize("unit", [None, 0.37, "amax"])
def test_blocks_with_other_scales_beside_where_they_turn(unit, monkeypatch):
    generator = np.random.default_rng(3)
    bits = random_bits(4096, KEY).reshape(-1, 16)
    tops = np.float32(generator.uniform(1, 100, (256, 1)))
    tops[0] = 100
    t = {None: 1.0, "amax": float(np.float32(100) / np.float32(2688))}.get(unit, unit)
    t = float(np.float32(t)) if unit == "amax" else t
    steps = np.array(
        [
            [float(round_scalar(Fraction(float(top)) / Fraction(6 * t), E4M3FN)) * t]
            for (top,) in tops
        ]
    )
    values = np.array(sorted({abs(value) for value in E2M1.values()}))
    x = turning_points(values, bits, generator, steps=steps)
    x = torch.minimum(x.abs(), torch.from_numpy(tops)) * x.sign()
    x[:, 0] = torch.from_numpy(tops[:, 0])
    assert_both_ways_agree(x, "nvfp4", unit, monkeypatch)


def assert_both_ways_agree(x, name, unit, monkeypatch):
    """Round by compiled code and by the exact passes of torch."""
    arguments = {"rounding": "stochastic", "key": KEY, "tensor_scale": unit}
    with monkeypatch.context() as patch:
        for way in ("round_scaled_by_powers", "round_scaled_by_values"):
            patch.setattr(_blocks, way, None)
        quick = round_blocks(x, name, **arguments)
    with monkeypatch.context() as patch:
        for way in ("round_easy_blocks", "round_easy_blocks_by_values"):
            patch.setattr(_blocks, way, lambda *_: None)
        slow = round_blocks(x, name, **arguments)
    wrong = bits_of(quick) != bits_of(slow)
    assert not wrong.any(), (x[wrong][:3], quick[wrong][:3], slow[wrong][:3])


@pytest.mark.parametrize("mode", MODES)
def test_numbers_without_an_end_among_them(mode):
    """Blocks of ordinary numbers only, subnormal ones too, have loops of their own."""
    generator = np.random.default_rng(4)
    for spec in ("fp16", "fp8_e4m3fnuz", "e8m0", "e5m3:unsigned", "e8m0:bias=133"):
        fmt = FORMATS[spec]
        plan = plan_for(fmt, mode, Overflow.SATURATE, "float32")
        bits = generator.integers(0, plan.max_finite + 1, 700).astype(np.uint32)
        tiny = generator.integers(0, 1 << 24, 300).astype(np.uint32)
        patterns = np.concatenate([bits, tiny, [0, 1 << 22, (1 << 22) + 1, 1 << 23]])
        patterns = np.minimum(patterns, plan.max_finite).astype(np.uint32)
        patterns |= generator.integers(0, 2, patterns.size).astype(np.uint32) << np.uint32(31)
        x = torch.from_numpy(patterns.view(np.float32))
        ours, expected = torch.empty_like(x), torch.empty_like(x)
        cpu_rounder().round(x, ours, plan, key_for(mode))
        reference_rounder().round(x, expected, plan, key_for(mode))
        assert torch.equal(bits_of(ours), bits_of(expected)), fmt


def test_random_bits_where_the_counter_passes_2_to_the_32():
    """A tensor with so many elements does not fit here; the function that makes bits does."""
    n, group = 2048, (1 << 24) - 1
    keys, found = np.zeros(22, np.uint64), np.zeros(n, np.uint32)
    for i in range(10):
        keys[2 * i] = (KEY.words[0] + i * 0x9E3779B9) % (1 << 32)
        keys[2 * i + 1] = (KEY.words[1] + i * 0xBB67AE85) % (1 << 32)
    keys[20:] = KEY.words[2:]
    fill = ctypes.CFUNCTYPE(None, *[ctypes.c_uint64] * 6)(entries.fill_address())
    fill(found.ctypes.data, group, n, keys.ctypes.data, 0, 0)
    assert np.array_equal(found, random_bits(n, KEY, first=group * 1024))
    counter = [(group + 1) * 256 % (1 << 32), (group + 1) * 256 >> 32, *KEY.words[2:]]
    assert found[1024] == philox4x32(counter, KEY.words[:2])[0]
