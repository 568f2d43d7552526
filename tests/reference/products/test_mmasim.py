"""The models against those of MMA-Sim 2.1.1, a public simulator of matrix units.

Its vectorised operations are given the parameters that it uses for each unit (`nv_ptx/sim.py`,
`amd/sim.py`). What is compared: values of random and adversarial sums with an initial value.
"""

import numpy as np
import pytest
import torch

from deephochuli.arithmetic import get_arithmetic
from deephochuli.arithmetic._plans import plan_of
from deephochuli.kernels.products import multiply
from tests.reference.products import draws

fdpa = pytest.importorskip("mmasim.arithmetic.fdpa", reason="mmasim is not installed")
flushing = pytest.importorskip("mmasim.arithmetic.ftz_mul_add", reason="mmasim is not installed")

DTYPES = {
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "tf32": torch.float32,
    "fp8_e4m3fn": torch.float8_e4m3fn,
    "fp8_e5m2": torch.float8_e5m2,
    "fp8_e4m3fnuz": torch.float8_e4m3fnuz,
    "fp8_e5m2fnuz": torch.float8_e5m2fnuz,
}


def tensor_core(bits, rounding, size, zero):
    return lambda: fdpa.MMA_T_FDPA(bits, rounding, size, zero, "", "")


def nvidia():
    """Name, and the operation with MMA-Sim's parameters."""
    half, single, short = "RNE-FP16", "RZ-FP32", "RZ-E8M13"
    units = {"v100": (23, 4, 4), "t4": (24, 8, 8), "a100": (24, 8, 4), "ada": (24, 8, 4)}
    units |= {"h100": (25, 16, 8), "b200": (25, 16, 8)}
    for unit, (bits, size, of_tf32) in units.items():
        yield f"{unit}-fp16", tensor_core(bits, single, size, -108 - bits)
        yield f"{unit}-fp16-accumulate-fp16", tensor_core(bits, half, size, 4 - bits)
        if unit not in ("v100", "t4"):
            yield f"{unit}-bf16", tensor_core(bits, single, size, -108 - bits)
            yield f"{unit}-tf32", tensor_core(bits, single, of_tf32, -108 - bits)
    for kind in ("fp8", "fp8-e5m2"):
        yield f"ada-{kind}", tensor_core(13, short, 16, -132)
        yield f"ada-{kind}-accumulate-fp16", tensor_core(13, half, 16, -20)
        yield f"h100-{kind}", tensor_core(13, short, 32, -133)
        yield f"h100-{kind}-accumulate-fp16", tensor_core(13, half, 32, -21)
        yield f"b200-{kind}", tensor_core(25, single, 32, -133)
        yield f"b200-{kind}-accumulate-fp16", tensor_core(25, half, 32, -21)


def amd():
    yield "mi100-fp16", lambda: fdpa.MMA_E_FDPA(4)
    yield "mi100-bf16", lambda: fdpa.MMA_E_FDPA(2)
    yield "mi250-fp16", lambda: flushing.MMA_FTZ_MUL_ADD(4)
    yield "mi250-bf16-1k", lambda: flushing.MMA_FTZ_MUL_ADD(4)
    yield "mi250-bf16", lambda: flushing.MMA_FTZ_MUL_ADD(2)
    for kind, size in {"fp16": 8, "bf16": 8, "xf32": 4}.items():
        yield f"mi300-{kind}", lambda size=size: fdpa.MMA_TR_FDPA(24, 31, "RNE-FP32", size)
    for kind in ("fp8", "bf8"):
        yield f"mi300-{kind}", lambda: fdpa.MMA_GTR_FDPA(24, 31, "RNE-FP32", 16)


CASES = dict([*nvidia(), *amd()])
# What MMA-Sim takes mma.sync for: one block of 32 products, where compilers make two of 16 and an
# addition. Recordings and the code that compilers make decide: docs/accumulation.md.
DISPUTED = {
    f"h100-{kind}-mma": tensor_core(25, "RZ-FP32", 32, -133) for kind in ("fp8", "fp8-e5m2")
}
# mi300-xf32 and mi300-bf16: what it does with products beyond binary32 depends on the block.
SIDE, DEPTH = 24, 64


def differences(name, kind, seed, make=None):
    """How many results differ, and of how many."""
    it, rng = get_arithmetic(name), np.random.default_rng(seed)
    a, b = draws.matrices(rng, kind, SIDE, DEPTH, SIDE, it.inputs)
    c = draws.starts(rng, kind, (SIDE, SIDE), it.sums.format)
    plan, dtype = plan_of(it), DTYPES[it.inputs.name]
    x, y, z = (torch.tensor(v, dtype=torch.float32) for v in (a, b, c))
    ours = multiply(plan, x[None], y[None], z[None])[0]
    out = torch.float16 if it.sums.format.name == "fp16" else torch.float32
    theirs = (make or CASES[name])()(x.to(dtype), y.to(dtype), z.to(out)).float()
    same = (ours == theirs) | (ours.isnan() & theirs.isnan())
    return int((~same).sum()), same.numel()


@pytest.mark.parametrize("name", CASES)
def test_the_models_agree(name):
    for kind in draws.KINDS:
        wrong, n = differences(name, kind, seed=8)
        assert wrong == 0, f"{kind}: {wrong} of {n}"


@pytest.mark.parametrize("name", DISPUTED)
def test_the_models_disagree_where_the_documents_say_so(name):
    found = [differences(name, kind, 8, DISPUTED[name])[0] for kind in draws.KINDS]
    assert sum(found) > 0
