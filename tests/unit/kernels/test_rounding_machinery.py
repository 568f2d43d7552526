"""What lies under the rounding on CPUs: the cache, a missing Numba, a missing Triton."""

import subprocess
import sys

import pytest
import torch

from deephochuli.errors import DeepHochuliWarning
from deephochuli.formats import Rounding, get_format
from deephochuli.kernels import rounding
from deephochuli.kernels.rounding import cpu_rounder, cuda_rounder, plan_for, reference_rounder

CODE = """
from deephochuli.kernels.rounding import _cpu_entries as entries
from deephochuli.kernels.rounding._constants import Mode, Variant
from deephochuli.kernels.rounding._cpu_block_loops import Way
entries.loop_address(32, Mode.NEAREST, Variant.PLAIN)
entries.loop_address(64, Mode.NEAREST, Variant.PLAIN)
entries.block_loop_address(Way.MOVED_EVEN)
entries.work_address()
entries.fill_address(are_lower=False)
entries.fill_address(are_lower=True)
print(*(function.cache_hits for function in entries._code._compiled))
"""


@pytest.mark.slow
def test_machine_code_is_found_again_by_the_next_process():
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", CODE], capture_output=True, text=True, check=False
        )
    assert done.stdout.split() == ["1"] * 6, done.stderr


@pytest.mark.parametrize(("package", "rounder"), [("numba", cpu_rounder), ("triton", cuda_rounder)])
def test_without_the_compiler_the_reference_serves_and_says_so(monkeypatch, package, rounder):
    monkeypatch.setitem(sys.modules, package, None)
    rounder.cache_clear()
    try:
        with pytest.warns(DeepHochuliWarning, match=f"pip install {package}"):
            assert rounder().name == reference_rounder().name
    finally:
        rounder.cache_clear()


def test_a_device_without_a_back_end_of_its_own_has_the_reference():
    assert rounding.rounder_for(torch.device("meta")).name == "torch"
    assert rounding.rounder_for(torch.device("cpu")).name == "numba"


def test_a_block_of_calm_numbers_and_one_of_others_are_rounded_alike():
    """The loop for blocks without large numbers gives what the other one gives."""
    x = torch.randn(8192)
    x[5000] = torch.inf
    plan = plan_for(get_format("fp16"), Rounding.NEAREST_EVEN, None, "float32")
    found, expected = torch.empty_like(x), torch.empty_like(x)
    cpu_rounder().round(x, found, plan, None)
    reference_rounder().round(x, expected, plan, None)
    assert torch.equal(found, expected)
