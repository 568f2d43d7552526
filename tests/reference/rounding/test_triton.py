"""The kernel for GPUs, interpreted on this CPU: the same bits as the reference."""

import subprocess
import sys

import pytest
import torch

from deephochuli.formats import Rounding
from deephochuli.kernels.rounding import plan_for, reference_rounder
from tests.reference.rounding.numbers import (
    FORMATS,
    MODES,
    around,
    bits_of,
    held,
    key_for,
    patterns,
    policies,
)

FEW = (
    ("float32", "fp16", Rounding.STOCHASTIC),
    ("float32", "e8m0", Rounding.NEAREST_EVEN),
    ("float32", "fp8_e4m3fnuz", Rounding.DOWN),
    ("float64", "bf16:no-subnormals", Rounding.STOCHASTIC),
    ("bfloat16", "fp8_e4m3fn", Rounding.NEAREST_AWAY),
    ("float16", "fp8_e5m2", Rounding.ODD),
)


def check(interpreted, x, fmt, mode, policy, dtype):
    plan, key = plan_for(fmt, mode, policy, dtype), key_for(mode, seed=2**45 + 3)
    ours, theirs = torch.empty_like(x), torch.empty_like(x)
    interpreted.round(x, ours, plan, key)
    reference_rounder().round(x, theirs, plan, key)
    wrong = bits_of(ours) != bits_of(theirs)
    assert not wrong.any(), (fmt.name, mode, x[wrong][:3], ours[wrong][:3], theirs[wrong][:3])


@pytest.mark.parametrize(("dtype", "spec", "mode"), FEW)
def test_some_formats(interpreted, dtype, spec, mode):
    fmt = FORMATS[spec]
    x = torch.cat([around(fmt, dtype, 100, 6), patterns(dtype, 500, 6)])
    check(interpreted, x, fmt, mode, fmt.overflow, dtype)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_all_formats(interpreted, dtype, mode):
    for fmt in held(dtype):
        x = torch.cat([around(fmt, dtype, 150, 6), patterns(dtype, 600, 6)])
        for policy in policies(fmt):
            check(interpreted, x, fmt, mode, policy, dtype)


@pytest.mark.slow
def test_the_kernel_compiles_for_a_gpu():
    """The interpreter takes things that the compiler does not."""
    pytest.importorskip("triton")
    code = "from tests.unit.kernels.compile_rounding_for_gpu import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PATH": "", "TRITON_INTERPRET": "0", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "STOCHASTIC" in done.stdout
