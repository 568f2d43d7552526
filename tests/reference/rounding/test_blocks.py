"""Block formats beside the definition in rational numbers, and beside gfloat."""

import math
from fractions import Fraction

import gfloat
import numpy as np
import pytest
import torch
from gfloat.formats import (
    format_info_mxfp4_e2m1,
    format_info_mxfp6_e2m3,
    format_info_mxfp6_e3m2,
    format_info_mxfp8_e4m3,
    format_info_mxfp8_e5m2,
)

from deephochuli.arithmetic import _blocks, list_block_formats, round_blocks, round_to
from deephochuli.errors import ArithmeticSpecError
from deephochuli.formats import BINARY32, E2M1, E4M3FN, Overflow, Rounding, round_scalar
from tests.reference.rounding.numbers import DTYPES, bits_of, key_for, patterns, same_values
from tests.reference.rounding.philox import random_bits

MX = [fmt.name for fmt in list_block_formats() if fmt.block == 32]
GFLOAT = {
    "mxfp8_e4m3": format_info_mxfp8_e4m3,
    "mxfp8_e5m2": format_info_mxfp8_e5m2,
    "mxfp6_e2m3": format_info_mxfp6_e2m3,
    "mxfp6_e3m2": format_info_mxfp6_e3m2,
    "mxfp4": format_info_mxfp4_e2m1,
}
OWN = {"float64": "fp64", "float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}


def floor_log2(x):
    """Exponent of a rational number above zero."""
    e = math.frexp(float(x))[1] - 1 if Fraction(float(x)) == x else 0
    while Fraction(2) ** e > x:
        e -= 1
    while Fraction(2) ** (e + 1) <= x:
        e += 1
    return e


def mx_block(values, element, mode, bits):
    """OCP MX 1.0, 6.3, for the values of one block, in rational numbers."""
    if not all(map(math.isfinite, values)):
        return [math.nan] * len(values)
    largest = max(abs(Fraction(v)) for v in values)
    k = -127 if largest == 0 else min(max(floor_log2(largest) - element.emax, -127), 127)
    scale = Fraction(2) ** k
    found = []
    for value, r in zip(values, bits, strict=True):
        exact = Fraction(value) / scale
        more = {"random_bits": r} if mode is Rounding.STOCHASTIC else {}
        rounded = round_scalar(exact, element, mode, Overflow.SATURATE, **more)
        # A rational number has no -0.
        sign = math.copysign(1.0, value)
        found.append(math.copysign(float(Fraction(abs(rounded)) * scale), sign))
    return found


def rows(dtype, n_blocks, block, seed):
    """Blocks of ordinary numbers, wide ones, random patterns, zeros, and subnormal ones."""
    generator = np.random.default_rng(seed)
    e = generator.integers(-40, 40, (n_blocks, 1)) + generator.integers(-12, 2, (n_blocks, block))
    x = np.ldexp(generator.uniform(-2, 2, (n_blocks, block)), e)
    found = torch.from_numpy(x).to(DTYPES[dtype])
    found[::5] = patterns(dtype, found[::5].numel(), seed).reshape(-1, block)
    finfo = torch.finfo(found.dtype)
    found[1] = 0.0
    found[2] = torch.from_numpy(generator.integers(-9, 9, block)) * finfo.smallest_normal / 16
    found[3] = finfo.max
    found[4, ::2] = -0.0
    return found


@pytest.mark.parametrize("name", MX)
@pytest.mark.parametrize("dtype", list(DTYPES))
def test_mx_in_rational_numbers(name, dtype):
    (fmt,) = [fmt for fmt in list_block_formats() if fmt.name == name]
    x = rows(dtype, 14, 32, 3)
    modes = (Rounding.NEAREST_EVEN, Rounding.UP, Rounding.STOCHASTIC)
    for mode in modes:
        key = key_for(mode)
        ours = round_blocks(x, name, rounding=mode, key=key).double().numpy()
        bits = random_bits(x.numel(), key or key_for(Rounding.STOCHASTIC)).reshape(x.shape)
        for row, mine, r in zip(x.double().tolist(), ours, bits.tolist(), strict=True):
            expected = np.array(mx_block(row, fmt.element, mode, r))
            assert same_values(mine, expected).all(), (mode, row, mine, expected)


@pytest.mark.parametrize("name", MX)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_the_quick_way_is_the_exact_one(name, dtype, monkeypatch):
    """All blocks that it takes, with amax from its limit on, and tiny numbers beside large ones."""
    generator = np.random.default_rng(8)
    top = 15 if dtype == "float16" else 127
    e = generator.integers(-14 if dtype == "float16" else -60, top, (300, 1))
    spread = np.where(generator.random((300, 32)) < 0.3, generator.integers(-170, 0, (300, 32)), 0)
    x = torch.from_numpy(np.ldexp(generator.uniform(-2, 2, (300, 32)), e + spread))
    x[:, 0] = torch.from_numpy(np.ldexp(1.0, e[:, 0]))
    x = x.to(DTYPES[dtype])
    x[7] = 0.0
    x[8, 1:] = torch.finfo(x.dtype).smallest_normal / 8
    for mode in ("nearest-even", "nearest-away", "toward-zero", "stochastic"):
        arguments = {"rounding": mode, "key": 3 if mode == "stochastic" else None}
        with monkeypatch.context() as patch:
            patch.setattr(_blocks, "round_scaled_by_powers", None)
            quick = round_blocks(x, name, **arguments)
        with monkeypatch.context() as patch:
            patch.setattr(_blocks, "round_easy_blocks", lambda *_: None)
            assert torch.equal(bits_of(quick), bits_of(round_blocks(x, name, **arguments)))
        if torch.set_flush_denormal(True):
            try:
                flushed = round_blocks(x, name, **arguments)
            finally:
                torch.set_flush_denormal(False)
            assert torch.equal(bits_of(flushed), bits_of(quick))


def nv_block(values, unit):
    """NVFP4 for the values of one block of binary32 numbers or narrower, in rational numbers."""
    if not all(map(math.isfinite, values)):
        return [math.nan] * len(values)
    largest = max(abs(Fraction(v)) for v in values)
    scale = round_scalar(largest / (6 * unit), E4M3FN, overflow="saturate")
    found = []
    for value in values:
        if scale == 0:
            found.append(math.copysign(0.0, value))
            continue
        step = Fraction(scale) * unit
        element = round_scalar(Fraction(value) / step, E2M1, overflow="saturate")
        found.append(math.copysign(float(Fraction(abs(element)) * step), value))
    return found


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("unit", [None, 0.0123, "amax"])
def test_nvfp4_in_rational_numbers(dtype, unit):
    x = rows(dtype, 14, 16, 4)
    if unit == "amax":
        x = x[torch.isfinite(x).all(1)]
    x = torch.where(x.abs() > 1e5, x * 1e-4, x) if dtype == "float32" and unit is None else x
    ours = round_blocks(x, "nvfp4", tensor_scale=unit).double().numpy()
    exact = Fraction(1) if unit is None else None if unit == "amax" else Fraction(unit)
    if exact is None:
        exact = Fraction(round_scalar(Fraction(float(x.abs().max())) / 2688, BINARY32))
    for row, mine in zip(x.double().tolist(), ours, strict=True):
        expected = torch.tensor(nv_block(row, exact), dtype=torch.float64)
        assert same_values(mine, round_to(expected, OWN[dtype]).numpy()).all(), (row, mine)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_the_quick_way_with_scales_that_have_a_significand(dtype, monkeypatch):
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(200, 64, generator=generator)
    x *= torch.exp2(torch.randint(-6, 9, (200, 4), generator=generator).float()).repeat(1, 16)
    x[3], x[4, 1:9] = 0.0, 1e-40
    x = x.to(DTYPES[dtype])
    for mode in ("nearest-even", "nearest-away", "toward-zero", "stochastic"):
        arguments = {"rounding": mode, "key": 3 if mode == "stochastic" else None}
        for unit in (None, "amax", 0.37):
            with monkeypatch.context() as patch:
                patch.setattr(_blocks, "round_scaled_by_values", None)
                quick = round_blocks(x, "nvfp4", tensor_scale=unit, **arguments)
            with monkeypatch.context() as patch:
                patch.setattr(_blocks, "round_easy_blocks_by_values", lambda *_: None)
                slow = round_blocks(x, "nvfp4", tensor_scale=unit, **arguments)
            assert torch.equal(bits_of(quick), bits_of(slow)), (mode, unit)


@pytest.mark.parametrize("unit", [None, "amax"])
def test_nvfp4_beside_the_places_where_rounding_turns(unit, monkeypatch):
    """Quotients that are multiples of 1/4 or next to one, of scales with 4 and with 28 bits."""
    generator = np.random.default_rng(5)
    tops = np.float32(generator.uniform(0.5, 2000, (60, 1)))
    x = np.zeros((60, 16), np.float32)
    t = np.float32(tops.max()) / np.float32(2688) if unit else np.float32(1)
    step = round_to(torch.from_numpy(tops.astype(np.float64) / (6 * float(t))), E4M3FN).numpy() * t
    turns = generator.integers(1, 24, (60, 15)) / 4 * step
    x[:, :1] = tops
    x[:, 1:] = np.where(turns < tops, turns, 0)
    x[:, 1:5] = np.nextafter(x[:, 1:5], np.float32(np.inf))
    x[:, 5:9] = np.nextafter(x[:, 5:9], np.float32(-np.inf))
    x = torch.from_numpy(np.minimum(x, tops) * generator.choice([-1, 1], x.shape)).float()
    exact = Fraction(float(t))
    quick = round_blocks(x, "nvfp4", tensor_scale=unit)
    for row, mine in zip(x.double().tolist(), quick.double().numpy(), strict=True):
        expected = torch.tensor(nv_block(row, exact), dtype=torch.float64)
        assert same_values(mine, round_to(expected, "fp32").numpy()).all(), (row, mine)
    for mode in ("nearest-away", "toward-zero", "stochastic"):
        arguments = {"tensor_scale": unit, "rounding": mode}
        arguments |= {"key": 9} if mode == "stochastic" else {}
        quick = round_blocks(x, "nvfp4", **arguments)
        with monkeypatch.context() as patch:
            patch.setattr(_blocks, "round_easy_blocks_by_values", lambda *_: None)
            slow = round_blocks(x, "nvfp4", **arguments)
        assert torch.equal(bits_of(quick), bits_of(slow)), mode


@pytest.mark.parametrize("name", MX)
def test_mx_beside_gfloat(name):
    """Where both agree on what to do: finite blocks that are not all zero."""
    x = torch.randn(20, 32) * torch.exp2(torch.randint(-30, 30, (20, 1)).float())
    for row in x:
        theirs = gfloat.quantize_block(
            GFLOAT[name], row.double().numpy(), gfloat.compute_scale_amax
        )
        np.testing.assert_array_equal(round_blocks(row, name).double().numpy(), theirs)


@pytest.mark.parametrize("name", ["mxfp8_e4m3", "nvfp4"])
def test_dimensions_and_rests(name):
    x = torch.randn(3, 45, 7)
    for dim in (0, 1, -1):
        found = round_blocks(x, name, dim=dim)
        moved = x.movedim(dim, -1).contiguous()
        assert torch.equal(found.movedim(dim, -1), round_blocks(moved, name))
    padded = torch.nn.functional.pad(x.movedim(1, -1), (0, 19))
    expected = round_blocks(padded, name)[..., :45].movedim(-1, 1)
    assert torch.equal(round_blocks(x, name, dim=1), expected)
    empty = torch.empty(3, 0)
    assert round_blocks(empty, name).shape == empty.shape


def test_round_to_knows_block_formats():
    x = torch.randn(4, 64)
    assert torch.equal(round_to(x, "MXFP8-E4M3"), round_blocks(x, "mxfp8_e4m3"))
    y = x.clone()
    assert round_to(y, "nvfp4", out=y) is y
    assert torch.equal(y, round_blocks(x, "nvfp4"))


def test_straight_through():
    x = torch.randn(2, 32, requires_grad=True)
    round_blocks(x, "mxfp4", straight_through=True).sum().backward()
    assert torch.equal(x.grad, torch.ones(2, 32))
    assert not round_blocks(x, "mxfp4").requires_grad


def test_flush_to_zero_flags_do_not_matter():
    x = rows("float32", 14, 32, 5)
    expected = round_blocks(x, "mxfp8_e5m2", rounding="up")
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor has no flush-to-zero flag")
    try:
        found = round_blocks(x, "mxfp8_e5m2", rounding="up")
    finally:
        torch.set_flush_denormal(False)
    assert torch.equal(bits_of(found), bits_of(expected))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: round_blocks(torch.ones(3), "mxfp5"), "Did you mean"),
        (lambda: round_blocks(torch.tensor(1.0), "mxfp4"), "dimension"),
        (lambda: round_blocks(torch.ones(3, dtype=torch.int32), "mxfp4"), "int32"),
        (lambda: round_blocks(torch.ones(3), "mxfp4", tensor_scale=2.0), "no scale of the whole"),
        (lambda: round_blocks(torch.ones(3), "nvfp4", tensor_scale=-1.0), "positive"),
    ],
)
def test_mistakes_are_told(call, message):
    with pytest.raises(ArithmeticSpecError, match=message):
        call()
