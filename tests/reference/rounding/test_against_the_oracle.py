"""Every back end against the exact functions of deephochuli.formats: 0 mismatches.

The full claim, 10^6 numbers for each format, mode, policy and carrier:

    python -m pytest -m slow -s tests/reference/rounding/test_against_the_oracle.py
"""

import os
import random

import numpy as np
import pytest
import torch

from deephochuli.errors import NotRepresentableError
from deephochuli.formats import Rounding, round_scalar
from deephochuli.kernels.rounding import cpu_rounder, plan_for, reference_rounder
from tests.reference.rounding.numbers import (
    DTYPES,
    FORMATS,
    MODES,
    SPECS,
    all_patterns,
    around,
    as_float64,
    bits_of,
    held,
    key_for,
    patterns,
    policies,
    same_values,
)
from tests.reference.rounding.philox import random_bits
from tests.reference.rounding.truth import truth

N_SLOW = int(os.environ.get("ROUNDING_NUMBERS", "1000000"))
# One of each kind of loop; all formats with `-m slow`.
FEW = ("fp16", "bf16", "fp8_e4m3fnuz", "e8m0", "bf16:no-subnormals", "e8m2:bias=140", "e4m0")


def mismatches(rounder, x, fmt, mode, policy, dtype):
    """Elements that a back end rounds to something else than the oracle, as messages."""
    key = key_for(mode)
    target = torch.empty_like(x)
    rounder.round(x, target, plan_for(fmt, mode, policy, dtype), key)
    ours, numbers = as_float64(target), as_float64(x)
    expected = truth(numbers, fmt, mode, policy, key)
    wrong = np.flatnonzero(~same_values(ours, expected))
    where = f"{rounder.name} {dtype} -> {fmt.name}, {mode.value}, overflow {policy.value}"
    return [f"{where}: {numbers[i]!r} -> {ours[i]!r}, not {expected[i]!r}" for i in wrong]


def check(rounder, x, fmt, dtype, modes=MODES):
    for mode in modes:
        for policy in policies(fmt):
            wrong = mismatches(rounder, x, fmt, mode, policy, dtype)
            assert not wrong, f"{len(wrong)} of {len(x)}:\n" + "\n".join(wrong[:5])


def numbers_for(fmt, dtype, n, seed=1):
    return torch.cat([around(fmt, dtype, n // 8, seed), patterns(dtype, n, seed)])


@pytest.mark.parametrize("spec", FEW)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_random_patterns_and_edges(rounder, spec, dtype):
    n = 3000 if rounder.name == "numba" else 700
    check(rounder, numbers_for(FORMATS[spec], dtype, n), FORMATS[spec], dtype)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("spec", ["fp8_e5m2", "fp8_e4m3fn"])
def test_every_pattern_of_sixteen_bits(spec, dtype):
    x = all_patterns(dtype)
    for mode in (Rounding.NEAREST_EVEN, Rounding.UP, Rounding.STOCHASTIC):
        policy = FORMATS[spec].overflow
        assert not mismatches(cpu_rounder(), x, FORMATS[spec], mode, policy, dtype)


def test_a_type_holds_its_own_values():
    """Rounding to what the tensor is in changes nothing but the payload of NaN."""
    for dtype in DTYPES:
        x = patterns(dtype, 5000, 3)
        (own,) = [FORMATS[spec] for spec in SPECS if FORMATS[spec].name == names()[dtype]]
        for rounder in (cpu_rounder(), reference_rounder()):
            y = torch.empty_like(x)
            rounder.round(x, y, plan_for(own, Rounding.UP, None, dtype), None)
            kept = ~torch.isnan(x)
            assert torch.equal(bits_of(y)[kept], bits_of(x)[kept])


def names():
    return {"float64": "fp64", "float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}


def test_the_oracle_of_the_oracle():
    """Single elements against the scalar function, in rational numbers."""
    picks = random.Random(1)
    for spec in ("fp16", "fp8_e4m3fn", "fp6_e3m2", "e8m0", "tf32"):
        fmt = FORMATS[spec]
        x = numbers_for(fmt, "float32", 400)
        bits = random_bits(len(x), key_for(Rounding.STOCHASTIC))
        for mode in MODES:
            y = torch.empty_like(x)
            cpu_rounder().round(x, y, plan_for(fmt, mode, None, "float32"), key_for(mode))
            for i in picks.sample(range(len(x)), 40):
                r = {"random_bits": int(bits[i])} if mode is Rounding.STOCHASTIC else {}
                try:
                    expected = round_scalar(float(x[i]), fmt, mode, **r)
                except NotRepresentableError:
                    expected = np.nan
                np.testing.assert_equal(float(y[i]), expected)


def test_no_double_rounding_from_binary64():
    x = torch.tensor([1 + 2**-11 + 2**-40, 1 + 2**-8 + 2**-40], dtype=torch.float64)
    for rounder in (cpu_rounder(), reference_rounder()):
        for spec, i, expected in (("fp16", 0, 1 + 2**-10), ("bf16", 1, 1 + 2**-7)):
            y = torch.empty_like(x)
            rounder.round(x, y, plan_for(FORMATS[spec], MODES[0], None, "float64"), None)
            assert y[i].item() == expected


def test_nan_becomes_the_quiet_one_everywhere():
    for dtype, quiet in (("float32", 0x7FC00000), ("bfloat16", 0x7FC0), ("float16", 0x7E00)):
        x = patterns(dtype, 20000, 4)
        x = x[torch.isnan(x)]
        for rounder in (cpu_rounder(), reference_rounder()):
            for spec in ("fp8_e5m2", "fp4_e2m1"):
                y = torch.empty_like(x)
                rounder.round(x, y, plan_for(FORMATS[spec], MODES[0], None, dtype), None)
                assert (bits_of(y) == quiet).all()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", list(DTYPES))
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_all_formats_and_policies_on_many_numbers(mode, dtype):
    """10^6 numbers for each format, mode and policy on each carrier."""
    total = 0
    for fmt in held(dtype):
        x = numbers_for(fmt, dtype, N_SLOW)
        for policy in policies(fmt):
            wrong = mismatches(cpu_rounder(), x, fmt, mode, policy, dtype)
            assert not wrong, f"{len(wrong)} of {len(x)}:\n" + "\n".join(wrong[:5])
            total += len(x)
    print(f"\n{dtype}, {mode.value}: {len(held(dtype))} formats, {total} roundings, 0 mismatches")


@pytest.mark.slow
@pytest.mark.parametrize("dtype", list(DTYPES))
def test_the_reference_gives_the_same_bits(dtype):
    for fmt in held(dtype):
        x = numbers_for(fmt, dtype, 20000, 9)
        for mode in MODES:
            for policy in policies(fmt):
                plan, key = plan_for(fmt, mode, policy, dtype), key_for(mode)
                ours, theirs = torch.empty_like(x), torch.empty_like(x)
                cpu_rounder().round(x, ours, plan, key)
                reference_rounder().round(x, theirs, plan, key)
                assert torch.equal(bits_of(ours), bits_of(theirs)), (fmt.name, mode, policy)
