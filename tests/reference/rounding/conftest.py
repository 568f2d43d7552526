"""The back ends of the rounding, and the switches of the processor."""

import os
import warnings

import pytest
import torch

from deephochuli.kernels.rounding import cpu_rounder, cuda_rounder, reference_rounder


def interpreted_rounder():
    """The Triton back end on this CPU, where Triton interprets its kernel: slow, the same code."""
    pytest.importorskip("triton", reason="Triton is not installed")
    if os.environ.get("TRITON_INTERPRET") != "1":
        pytest.skip("Triton compiles for the GPU here; tests/cuda runs it there")
    warnings.simplefilter("ignore", RuntimeWarning)  # NumPy, which stands for the GPU
    return cuda_rounder()


@pytest.fixture(params=["torch", "numba"])
def rounder(request):
    return {"torch": reference_rounder, "numba": cpu_rounder}[request.param]()


@pytest.fixture
def interpreted():
    return interpreted_rounder()


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture
def flushing():
    """Flush subnormal results and operands to zero, if this processor can."""
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor has no flush-to-zero flag")
    yield
    torch.set_flush_denormal(False)
