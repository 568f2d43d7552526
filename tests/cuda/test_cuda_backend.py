"""The GPU back end on a GPU: the same counts as on a CPU, and nobody waits for it."""

import numpy as np
import pytest
import torch

from deephochuli.kernels import TensorJob, UpdateJob, backend_for, reference_backend
from tests.unit.kernels.brute_force import KINDS, sample

pytestmark = pytest.mark.cuda

DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float8_e4m3fn, torch.float64)


def alike(ours, theirs):
    """Equal counts and extremes; sums but for the order of the additions."""
    assert np.array_equal(ours.keys, theirs.keys)
    assert np.array_equal(ours.counts, theirs.counts)
    np.testing.assert_equal((ours.min_abs, ours.max_abs), (theirs.min_abs, theirs.max_abs))
    np.testing.assert_allclose((ours.sum, ours.sum_sq), (theirs.sum, theirs.sum_sq), rtol=1e-9)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_counts_as_the_reference(dtype, kind):
    tensors = [sample(dtype, n, n, kind) for n in (0, 1, 1023, 70_001)]
    ours = backend_for(torch.device("cuda")).summarise([TensorJob(x.cuda()) for x in tensors])
    theirs = reference_backend().summarise([TensorJob(x) for x in tensors])
    for one, other in zip(ours, theirs, strict=True):
        alike(one, other)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_same_updates_as_the_reference(dtype):
    before, after, gradient = (sample(dtype, 50_001, seed, "randn") for seed in range(3))
    after[::3] = before[::3]
    (ours,) = backend_for(torch.device("cuda")).summarise_updates(
        [UpdateJob(before.cuda(), after.cuda(), gradient.cuda())]
    )
    (theirs,) = reference_backend().summarise_updates([UpdateJob(before, after, gradient)])
    for name in ("weight", "gradient", "update"):
        alike(getattr(ours, name), getattr(theirs, name))
    assert (ours.n_updatable, ours.n_unmoved) == (theirs.n_updatable, theirs.n_unmoved)
    assert np.array_equal(ours.ratios, theirs.ratios)
    assert np.array_equal(ours.ratio_counts, theirs.ratio_counts)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_the_same_channels_as_the_reference(memory_format):
    x = sample(torch.float32, 8 * 70 * 9 * 9, 1, "relu").reshape(8, 70, 9, 9)
    y = x.cuda().to(memory_format=memory_format)
    (ours,) = backend_for(torch.device("cuda")).summarise([TensorJob(y, 1)])
    (theirs,) = reference_backend().summarise([TensorJob(x, 1)])
    alike(ours, theirs)
    for name in ("positive", "zero", "nonfinite"):
        assert np.array_equal(getattr(ours.channels, name), getattr(theirs.channels, name))


def test_adding_to_a_row_does_not_wait_for_the_device():
    rows = backend_for(torch.device("cuda")).rows()
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


def test_a_graph_that_was_captured_counts_at_every_replay():
    rows = backend_for(torch.device("cuda")).rows()
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
