"""Stochastic roundings that turn on the last of the random bits, and loops for calm numbers.

Compiled code decides with fewer bits than there are where that is enough, and says where it is not;
then it rounds the whole block of 2,048 elements in another way. So only a few numbers of each block
here are next to where their own random bits make rounding turn. The cases of lower halves, which
are made where upper ones leave a doubt, are in `test_lower_halves`.
"""

import ctypes

import numpy as np
import pytest
import torch

from deephochuli.arithmetic import (
    _block_fast,
    _blocks,
    list_block_formats,
    round_blocks,
    round_to,
)
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
MX = [fmt.name for fmt in list_block_formats() if fmt.block == 32]
TWO32 = 2.0**32
EVERY = 1021
"""One number in so many is close to where it turns: one or two in a block, in any lane."""


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


@pytest.mark.parametrize("name", ["fp16", "fp8_e4m3fn", "fp8_e5m2fnuz", "fp4_e2m1"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_low_range_beside_where_it_turns(name, dtype):
    n, fmt = 1 << 19, get_format(name)
    generator, at = np.random.default_rng(1), slice(None, None, EVERY)
    x = torch.ones(n, dtype=getattr(torch, dtype))
    bits = random_bits(n, KEY)[at]
    x[at] = turning_points(magnitudes(fmt), bits, generator, kind=getattr(np, dtype))
    plan = plan_for(fmt, Rounding.STOCHASTIC, None, dtype)
    ours, expected = torch.empty_like(x), x[at].clone()
    cpu_rounder().round(x, ours, plan, KEY)
    for i, value in enumerate(x[at].tolist()):
        more = {"random_bits": int(bits[i])}
        expected[i] = float(round_scalar(value, fmt, Rounding.STOCHASTIC, **more))
    assert torch.equal(ours[at], expected)


@pytest.mark.parametrize("name", ["mxfp8_e4m3", "mxfp6_e3m2", "mxfp4"])
def test_blocks_with_powers_of_two_beside_where_they_turn(name, monkeypatch):
    fmt = _blocks.get_block_format(name)
    n, generator = 1 << 19, np.random.default_rng(2)
    at = slice(5, None, EVERY)
    scale = np.ldexp(1.0, generator.integers(-40, 40, n // 32)).repeat(32)
    x = torch.from_numpy(np.float32(scale * fmt.element.max_finite))
    bits = random_bits(n, KEY)[at]
    x[at] = turning_points(magnitudes(fmt.element), bits, generator, steps=scale[at])
    assert_both_ways_agree(x, name, None, monkeypatch)
    few = x[at].bfloat16()
    assert_both_ways_agree(few[: few.numel() // 32 * 32], name, None, monkeypatch)


@pytest.mark.parametrize("unit", [None, float(np.float32(0.37)), "amax"])
def test_blocks_with_other_scales_beside_where_they_turn(unit, monkeypatch):
    n, generator = 1 << 19, np.random.default_rng(3)
    at = slice(5, None, EVERY)
    tops = np.float32(generator.uniform(1, 100, n // 16))
    tops[0] = 100
    t = float(np.float32(tops[0]) / np.float32(2688)) if unit == "amax" else unit or 1.0
    scales = round_to(torch.from_numpy(tops.astype(np.float64) / (6 * t)), E4M3FN)
    steps = (scales.numpy() * t).repeat(16)
    x = torch.from_numpy(tops.repeat(16))
    values = np.array(sorted({abs(value) for value in E2M1.values()}))
    close = turning_points(values, random_bits(n, KEY)[at], generator, steps=steps[at])
    x[at] = torch.minimum(close.abs(), x[at]) * close.sign()
    assert_both_ways_agree(x, "nvfp4", unit, monkeypatch)


@pytest.mark.parametrize("unit", [1.0, 0.75, 2.0**-20, float(np.float32(0.37))])
def test_scales_beside_where_rounding_turns(unit, monkeypatch):
    """Blocks whose largest number is the product of the span and a number between two scales."""
    values = np.array(list(E4M3FN.values()))
    scales = np.unique(np.abs(values[np.isfinite(values)]))
    middles = np.concatenate([(scales[1:] + scales[:-1]) / 2, [464, 480, 10000]])
    tops = np.float32(middles * 6 * unit)
    beside = [np.nextafter(tops, np.float32(end)) for end in (0, np.inf)]
    tops = np.concatenate([tops, *beside, np.float32([0, 1e-30])])
    x = torch.from_numpy(tops[:, None] * np.linspace(-1, 1, 16, dtype=np.float32))
    monkeypatch.setattr(_block_fast, "round_into", None)
    for mode in ("nearest-even", "nearest-away", "toward-zero", "stochastic"):
        assert_both_ways_agree(x, "nvfp4", unit, monkeypatch, mode)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", MX)
def test_compiled_code_rounds_all_blocks_of_usual_size(name, kind, monkeypatch):
    """From the least to the largest block that it takes; half of the numbers have eight bits."""
    generator = np.random.default_rng(6)
    e = generator.integers(-60, 104, (300, 1))
    spread = np.where(generator.random((300, 32)) < 0.3, generator.integers(-170, 0, (300, 32)), 0)
    x = torch.from_numpy(np.ldexp(generator.uniform(-2, 2, (300, 32)), e + spread)).float()
    x[::2] = x[::2].bfloat16().float()
    x[:, 0] = torch.from_numpy(np.ldexp(1.0, e[:, 0]))
    x[3], x[4, 1:], x[5, 2:] = 0.0, 1e-41, -0.0
    x[6], x[7, 1:] = 2.0**-60, (2 - 2.0**-7) * 2.0**103
    monkeypatch.setattr(_block_fast, "round_into", None)
    for mode in ("nearest-even", "nearest-away", "toward-zero", "stochastic"):
        assert_both_ways_agree(x.to(kind), name, None, monkeypatch, mode)


def assert_both_ways_agree(x, name, unit, monkeypatch, mode="stochastic"):
    """Round by compiled code and by the exact passes of torch."""
    key = KEY if mode == "stochastic" else None
    arguments = {"rounding": mode, "key": key, "tensor_scale": unit}
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
    """A tensor with so many elements does not fit here; the functions that make bits do."""
    n, group = 2048, (1 << 25) - 1
    keys, found = np.zeros(22, np.uint64), np.zeros(n, np.uint32)
    for i in range(10):
        keys[2 * i] = (KEY.words[0] + i * 0x9E3779B9) % (1 << 32)
        keys[2 * i + 1] = (KEY.words[1] + i * 0xBB67AE85) % (1 << 32)
    keys[20:] = KEY.words[2:]
    bits = random_bits(n, KEY, first=group * 1024)
    for are_lower, number in ((False, group), (True, group + (1 << 56))):
        address = entries.fill_address(are_lower=are_lower)
        fill = ctypes.CFUNCTYPE(None, *[ctypes.c_uint64] * 6)(address)
        fill(found.ctypes.data, number, n, keys.ctypes.data, 0, 0)
        assert np.array_equal(found, bits if are_lower else bits >> 16 << 16)
    for series, half in ((0, bits >> 16), (1 << 31, bits & 0xFFFF)):
        counter = [(group + 1) * 128 % (1 << 32), (group + 1) * 128 >> 32, *KEY.words[2:]]
        counter[1] += series
        first, second, *_ = philox4x32(counter, KEY.words[:2])
        assert half[1024::128][:4].tolist() == [
            first & 0xFFFF,
            first >> 16,
            second & 0xFFFF,
            second >> 16,
        ]
