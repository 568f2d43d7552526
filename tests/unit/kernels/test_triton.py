"""The kernels for GPUs, interpreted on this CPU: a slice of what the other back ends are tested on.

The whole contract is tested with `-m slow`, and on a GPU by tests/cuda.
"""

import numpy as np
import pytest
import torch

from deephochuli.kernels import TensorJob, UpdateJob, reference_backend
from tests.unit.kernels.brute_force import KINDS, check, check_channels, sample

DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float8_e4m3fn)


def alike(ours, theirs):
    """Equal counts and extremes; sums but for the order of the additions."""
    assert np.array_equal(ours.keys, theirs.keys)
    assert np.array_equal(ours.counts, theirs.counts)
    np.testing.assert_equal((ours.min_abs, ours.max_abs), (theirs.min_abs, theirs.max_abs))
    np.testing.assert_allclose((ours.sum, ours.sum_sq), (theirs.sum, theirs.sum_sq), rtol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_counts_of_every_kind_in_one_call(interpreted, dtype):
    tensors = [sample(dtype, n, 3, kind) for kind in KINDS for n in (0, 1, 1500)]
    summaries = interpreted.summarise([TensorJob(x) for x in tensors])
    for x, summary in zip(tensors, summaries, strict=True):
        check(summary, x)


def test_more_than_a_part_and_more_than_a_window(interpreted):
    x = torch.cat([sample(torch.float32, 33_000, 1, "randn"), torch.tensor([1e-30, 1e30, 2e-45])])
    check(interpreted.summarise([TensorJob(x)])[0], x)


@pytest.mark.parametrize("dim", [0, 1, 3])
def test_channels(interpreted, dim):
    x = sample(torch.float32, 4 * 6 * 5 * 7, 2, "relu").reshape(4, 6, 5, 7)
    for y in (x, x.to(memory_format=torch.channels_last), x.transpose(0, 2)):
        summary = interpreted.summarise([TensorJob(y, dim)])[0]
        check(summary, y)
        check_channels(summary.channels, y, dim)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_updates(interpreted, dtype):
    jobs = []
    for seed, kind in enumerate(KINDS):
        before, gradient = (sample(dtype, 700, seed + i, kind) for i in (0, 9))
        after = before.clone()
        after[::3] = sample(dtype, 700, seed + 20, kind)[::3]
        jobs += [UpdateJob(before, after, gradient), UpdateJob(before, after, None)]
    expected = reference_backend().summarise_updates(jobs)
    for ours, theirs in zip(interpreted.summarise_updates(jobs), expected, strict=True):
        alike(ours.weight, theirs.weight)
        alike(ours.update, theirs.update)
        assert (ours.gradient is None) == (theirs.gradient is None)
        if ours.gradient is not None:
            alike(ours.gradient, theirs.gradient)
        assert (ours.n_updatable, ours.n_unmoved) == (theirs.n_updatable, theirs.n_unmoved)
        assert np.array_equal(ours.ratios, theirs.ratios)
        assert np.array_equal(ours.ratio_counts, theirs.ratio_counts)


def test_rows_gather_and_are_empty_afterwards(interpreted):
    rows = interpreted.rows()
    x, y = sample(torch.float32, 600, 1, "randn"), sample(torch.float32, 600, 2, "relu")
    for _ in range(2):
        rows.add(70, TensorJob(x.reshape(6, 100), 1))  # beyond the rows there are at first
        rows.add(3, TensorJob(y))
        rows.add(70, TensorJob(y.reshape(6, 100), 1))
        found = rows.read()
        assert sorted(found) == [3, 70]
        check(found[70], torch.cat([x, y]))
        check_channels(found[70].channels, torch.cat([x.reshape(6, 100), y.reshape(6, 100)]), 1)
        check(found[3], y)
        assert found[3].channels is None
    assert rows.read() == {}


def test_binary64_is_left_to_the_reference(interpreted):
    x = sample(torch.float64, 900, 4, "patterns")
    check(interpreted.summarise([TensorJob(x)])[0], x)
    rows = interpreted.rows()
    rows.add(0, TensorJob(x))
    check(rows.read()[0], x)


@pytest.mark.slow
def test_the_kernels_compile_for_a_gpu():
    """The interpreter takes things that the compiler does not."""
    triton = pytest.importorskip("triton")
    import subprocess
    import sys

    assert triton
    code = "from tests.unit.kernels.compile_for_gpu import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PATH": "", "TRITON_INTERPRET": "0", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "count_updates" in done.stdout
