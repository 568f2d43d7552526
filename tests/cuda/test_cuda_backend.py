"""The GPU back end on a GPU: the same counts as on a CPU, and nobody waits for it."""

import numpy as np
import pytest
import torch

from deephochuli.kernels import TensorJob, UpdateJob, backend_for, reference_backend
from deephochuli.kernels._cuda import CudaBackend
from deephochuli.kernels._nvrtc_counter import NvrtcCounter
from deephochuli.kernels._triton_counter import TritonCounter
from tests.unit.kernels.brute_force import KINDS, sample

pytestmark = pytest.mark.cuda

DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float8_e4m3fn, torch.float64)


@pytest.fixture(params=["nvrtc", "triton"])
def backend(request):
    device = torch.device("cuda")
    return CudaBackend(
        device, NvrtcCounter(device) if request.param == "nvrtc" else TritonCounter()
    )


def test_kernels_in_cuda_are_the_first_choice():
    assert backend_for(torch.device("cuda")).name == "nvrtc"


def alike(ours, theirs):
    """Equal counts and extremes; sums but for the order of the additions."""
    assert np.array_equal(ours.keys, theirs.keys)
    assert np.array_equal(ours.counts, theirs.counts)
    np.testing.assert_equal((ours.min_abs, ours.max_abs), (theirs.min_abs, theirs.max_abs))
    np.testing.assert_allclose((ours.sum, ours.sum_sq), (theirs.sum, theirs.sum_sq), rtol=1e-9)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_counts_as_the_reference(backend, dtype, kind):
    tensors = [sample(dtype, n, n, kind) for n in (0, 1, 1023, 70_001)]
    ours = backend.summarise([TensorJob(x.cuda()) for x in tensors])
    theirs = reference_backend().summarise([TensorJob(x) for x in tensors])
    for one, other in zip(ours, theirs, strict=True):
        alike(one, other)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_same_updates_as_the_reference(backend, dtype):
    before, after, gradient = (sample(dtype, 50_001, seed, "randn") for seed in range(3))
    after[::3] = before[::3]
    (ours,) = backend.summarise_updates([UpdateJob(before.cuda(), after.cuda(), gradient.cuda())])
    (theirs,) = reference_backend().summarise_updates([UpdateJob(before, after, gradient)])
    for name in ("weight", "gradient", "update"):
        alike(getattr(ours, name), getattr(theirs, name))
    assert (ours.n_updatable, ours.n_unmoved) == (theirs.n_updatable, theirs.n_unmoved)
    assert np.array_equal(ours.ratios, theirs.ratios)
    assert np.array_equal(ours.ratio_counts, theirs.ratio_counts)


# Words of 16 bytes, elements one by one, channels that shared memory holds and more of them.
SHAPES = [
    (8, 70, 9, 9),
    (3, 64, 8, 8),
    (2, 1, 5, 7),
    (9, 2500, 1, 1),
    (40, 1200, 4, 4),
    (5, 8, 1, 3),
]


@pytest.mark.parametrize("dtype", DTYPES[:4], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_the_same_channels_as_the_reference(backend, memory_format, shape, dtype):
    kind = "patterns" if dtype.itemsize > 1 else "relu"
    x = sample(dtype, int(np.prod(shape)), 1, kind).reshape(shape)
    y = x.cuda().to(memory_format=memory_format)
    (ours,) = backend.summarise([TensorJob(y, 1)])
    (theirs,) = reference_backend().summarise([TensorJob(x, 1)])
    alike(ours, theirs)
    for name in ("positive", "zero", "nonfinite"):
        assert np.array_equal(getattr(ours.channels, name), getattr(theirs.channels, name))


@pytest.mark.parametrize("dtype", DTYPES[:4], ids=str)
def test_tensors_that_begin_between_two_words(backend, dtype):
    tensors = [sample(dtype, 3001, seed, "randn").cuda()[seed:] for seed in range(5)]
    ours = backend.summarise([TensorJob(x) for x in tensors])
    for one, x in zip(ours, tensors, strict=True):
        rows = backend.rows()
        rows.add(0, TensorJob(x))
        (expected,) = reference_backend().summarise([TensorJob(x.cpu())])
        alike(one, expected)
        alike(rows.read()[0], expected)


def test_more_elements_of_a_channel_than_a_register_counts(backend):
    x = torch.ones(1 << 21, 8, dtype=torch.bfloat16, device="cuda")
    x[:, 1], x[:, 2], x[:, 3] = 0.0, torch.inf, -1.0
    (found,) = backend.summarise([TensorJob(x, 1)])
    n = len(x)
    assert found.channels.positive.tolist() == [n, 0, 0, 0, n, n, n, n]
    assert found.channels.zero.tolist() == [0, n, *[0] * 6]
    assert found.channels.nonfinite.tolist() == [0, 0, n, *[0] * 5]


def test_adding_to_a_row_does_not_wait_for_the_device(backend):
    rows = backend.rows()
    x = torch.randn(64, 64, 8, 8, device="cuda")
    rows.add(0, TensorJob(x, 1))  # makes the row, and compiles the kernels
    rows.read()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(10):
            rows.add(0, TensorJob(x, 1))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert int(rows.read()[0].counts.sum()) == 10 * x.numel()


def test_a_graph_that_was_captured_counts_at_every_replay(backend):
    rows = backend.rows()
    x = torch.randn(1000, device="cuda")
    rows.add(0, TensorJob(x))
    rows.read()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        rows.add(0, TensorJob(x))
    for _ in range(3):
        graph.replay()
    torch.cuda.synchronize()
    assert int(rows.read()[0].counts.sum()) == 3 * x.numel()
