import pytest
import torch

from deephochuli.kernels import cpu_backend, reference_backend


@pytest.fixture(params=["torch", "numba"])
def backend(request):
    return reference_backend() if request.param == "torch" else cpu_backend()


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
