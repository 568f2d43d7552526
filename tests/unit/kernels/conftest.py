import os
import warnings

import numpy as np
import pytest
import torch

from deephochuli.kernels import cpu_backend, reference_backend


def _version(text):
    return tuple(int(part) for part in text.split(".")[:2])


def interpreted_backend():
    """The Triton back end on this CPU, where Triton interprets its kernels: slow, the same code."""
    triton = pytest.importorskip("triton", reason="Triton is not installed")
    if _version(triton.__version__) < (3, 7) and _version(np.__version__) >= (2, 4):
        pytest.skip("the interpreter of Triton 3.6 (torch 2.11) needs NumPy below 2.4")
    if os.environ.get("TRITON_INTERPRET") != "1":
        pytest.skip("Triton compiles for the GPU here; tests/cuda runs it there")
    from deephochuli.kernels._cuda import CudaBackend
    from deephochuli.kernels._triton_counter import TritonCounter

    return CudaBackend(torch.device("cpu"), TritonCounter())


BACKENDS = {"torch": reference_backend, "numba": cpu_backend, "triton": interpreted_backend}


@pytest.fixture(params=["torch", "numba", pytest.param("triton", marks=pytest.mark.slow)])
def backend(request):
    if request.param == "triton":  # NumPy, which stands for the GPU, complains of NaNs
        warnings.simplefilter("ignore", RuntimeWarning)
    return BACKENDS[request.param]()


@pytest.fixture
def interpreted():
    warnings.simplefilter("ignore", RuntimeWarning)
    return interpreted_backend()


@pytest.fixture(scope="session")
def compiled():
    return cpu_backend()


@pytest.fixture
def threads():
    """Set the number of threads of torch, and restore it."""
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
