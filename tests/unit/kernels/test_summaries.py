import itertools
import threading

import numpy as np
import pytest
import torch

from deephochuli.errors import SketchError
from deephochuli.kernels import TensorJob
from tests.unit.kernels.brute_force import DTYPES, KINDS, check, check_channels, sample

SIZES = (0, 1, 7, 15, 16, 17, 4095, 4097, 9001)


def one(backend, x, dim=None):
    return backend.summarise([TensorJob(x, dim)])[0]


def same(a, b):
    """Equal to the bit, sums included."""
    assert np.array_equal(a.keys, b.keys)
    assert np.array_equal(a.counts, b.counts)
    for name in ("sum", "sum_sq", "min_abs", "max_abs"):
        np.testing.assert_equal(getattr(a, name), getattr(b, name))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_all_types_and_sizes(backend, dtype, kind):
    for seed, n in enumerate(SIZES):
        x = sample(dtype, n, seed, kind)
        check(one(backend, x), x)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, *DTYPES[4:]], ids=str)
def test_every_pattern_of_the_narrow_types(backend, dtype):
    raw = np.arange(2 ** (8 * dtype.itemsize), dtype=f"u{dtype.itemsize}")
    x = torch.from_numpy(raw.view("i2" if dtype.itemsize == 2 else "u1")).view(dtype)
    for pattern in (x, x[1:30000:3]):
        check(one(backend, pattern), pattern)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_ten_million_elements(compiled, threads, dtype):
    x = sample(dtype, 10**7 + 3, 5, "patterns" if dtype.itemsize > 1 else "randn")
    for n in (1, 2):
        threads(n)
        check(one(compiled, x), x)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", ["tiny", "patterns", "randn"])
def test_flags_that_flush_to_zero_hide_nothing(backend, flushing, dtype, kind):
    x = sample(dtype, 5000, 3, kind)
    check(one(backend, x), x)


def layouts(x):
    """Tensors that lie in memory in every way, from a contiguous one of shape (4, 6, 5, 7)."""
    yield "contiguous", x
    yield "channels_last", x.contiguous(memory_format=torch.channels_last)
    yield "transposed", x.transpose(1, 3)
    yield "permuted", x.permute(2, 0, 3, 1)
    yield "strided", x[:, ::2, :, 1::3]
    yield "offset", x[1:, :, :, :]
    yield "offset by one element", x.reshape(-1)[1:]
    yield "expanded", x[:, :1].expand(4, 6, 5, 7)
    yield "size 1", x[:, :, :1, :]
    yield "one element", x[1, 2, 3, 4]
    yield "empty", x[:0]
    yield "empty channels", x[:, :0]
    yield "overlapping", x.as_strided((20, 9), (3, 1))
    yield "column", x[:, :, 0, 0]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", ["special"])
def test_any_memory_order_and_any_channel_dimension(backend, dtype, kind):
    base = sample(dtype, 4 * 6 * 5 * 7, 11, kind).view(4, 6, 5, 7)
    for _, x in layouts(base):
        check(one(backend, x), x)
        if dtype.itemsize == 1 and x.dim() != 4:
            continue
        for dim in range(-x.dim(), x.dim()):
            check_channels(one(backend, x, dim).channels, x, dim)


@pytest.mark.parametrize(
    "shape",
    [(2, 64, 32, 32), (8, 96, 4, 4), (8, 33, 5, 5), (5, 40, 8, 8), (3, 7, 1, 1), (2, 3, 65, 67),
     (700, 513), (3, 1, 50, 50), (1, 2000, 3, 3), (6, 5000)],
)  # fmt: skip
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_channels_of_all_plane_sizes(compiled, dtype, shape, last):
    for kind in ("randn", "relu", "special"):
        x = sample(dtype, int(np.prod(shape)), 3, kind).view(shape)
        if last and len(shape) == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        check_channels(one(compiled, x, 1).channels, x, 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_threads_change_nothing(compiled, threads, dtype):
    x = sample(dtype, 1 << 21, 1, "randn").view(-1, 2, 4, 4)  # all threads count in two channels
    threads(1)
    alone = one(compiled, x, 1)
    threads(2)
    for _ in range(10):
        both = one(compiled, x, 1)
        same(alone, both)
        for name in ("positive", "zero", "nonfinite"):
            assert np.array_equal(getattr(alone.channels, name), getattr(both.channels, name))


def test_a_batch_is_its_jobs(compiled, threads):
    tensors = [sample(d, n, n, k) for d, n, k in itertools.product(DTYPES, (5, 3000), KINDS[:3])]
    jobs = [TensorJob(x.view(-1, 5), 1) for x in tensors]
    for n in (1, 2):
        threads(n)
        batch = compiled.summarise(jobs)
        for job, summary in zip(jobs, batch, strict=True):
            check(summary, job.tensor)
            check_channels(summary.channels, job.tensor, 1)
            same(summary, compiled.summarise([job])[0])
    assert compiled.summarise([]) == []


def test_results_stay_when_scratch_memory_is_used_again(compiled):
    x = sample(torch.float32, 9000, 1, "randn")
    first = one(compiled, x)
    for seed in range(5):
        one(compiled, sample(torch.float32, 9000, seed, "patterns"))
    check(first, x)


def test_both_back_ends_agree(compiled):
    from deephochuli.kernels import reference_backend

    x = sample(torch.float32, 100_000, 2, "patterns")
    a, b = one(compiled, x), one(reference_backend(), x)
    assert np.array_equal(a.keys, b.keys)
    assert np.array_equal(a.counts, b.counts)


@pytest.mark.parametrize("value", [0.0, 1.0, 1.1])
def test_counts_are_exact_beyond_2_to_the_24(compiled, value):
    x = torch.full((2**24 + 4099,), value)
    summary = one(compiled, x)
    assert summary.counts.tolist() == [2**24 + 4099]
    assert summary.sum == pytest.approx(float(x[0]) * (2**24 + 4099), rel=1e-12)


@pytest.mark.slow
def test_counts_are_exact_beyond_2_to_the_31(compiled):
    x = torch.zeros(2**31 + 70_001, dtype=torch.uint8).view(torch.float8_e4m3fn)
    x.view(torch.uint8)[-3:] = 0x38
    summary = one(compiled, x.view(1, -1), 0)
    assert summary.keys.tolist() == [0, 0x3FF0]
    assert summary.counts.tolist() == [2**31 + 70_001 - 3, 3]
    assert summary.sum == 3.0
    assert summary.channels.zero.tolist() == [2**31 + 70_001 - 3]
    assert summary.channels.positive.tolist() == [3]


def test_the_input_and_the_random_state_are_left_alone(backend):
    x = sample(torch.float32, 5000, 1, "special").view(5, 10, 10, 10)
    copy, state = x.clone(), torch.get_rng_state()
    version = x._version
    one(backend, x, 1)
    assert torch.equal(x.view(torch.int32), copy.view(torch.int32))
    assert torch.equal(torch.get_rng_state(), state)
    assert x._version == version


def test_a_tensor_that_needs_gradients_and_one_with_a_lazy_sign(backend):
    x = torch.randn(100, requires_grad=True)
    check(one(backend, x), x)
    lazy = torch.randn(100, dtype=torch.complex64).conj().imag
    assert lazy.is_neg()
    check(one(backend, lazy), lazy.resolve_neg())
    dense = torch._neg_view(torch.randn(100))
    check(one(backend, dense), dense.resolve_neg())


def test_several_python_threads_at_once(compiled, threads):
    threads(1)
    tensors = [sample(torch.float32, 100_000, seed, "randn") for seed in range(4)]
    found = {}

    def count(seed):
        found[seed] = [one(compiled, tensors[seed]) for _ in range(4)]

    workers = [threading.Thread(target=count, args=(seed,)) for seed in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for seed, x in enumerate(tensors):
        check(found[seed][0], x)
        for summary in found[seed][1:]:
            same(summary, found[seed][0])


def test_rows_gather_and_empty(backend):
    a, b = sample(torch.float32, 999, 1, "special"), sample(torch.float32, 501, 2, "relu")
    rows = backend.rows()
    rows.add(3, TensorJob(a.view(3, -1), 0))
    rows.add(3, TensorJob(b.view(3, -1), 0))
    rows.add(7, TensorJob(b))
    got = rows.read()
    assert sorted(got) == [3, 7]
    check(got[3], torch.cat([a, b]))
    check_channels(got[3].channels, torch.cat([a.view(3, -1), b.view(3, -1)], 1), 0)
    check(got[7], b)
    assert rows.read() == {}


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(3, dtype=torch.int64), "int64"),
        (torch.zeros(3, dtype=torch.complex64), "complex64"),
        (torch.zeros(3, dtype=torch.bool), "bool"),
        (torch.zeros(3, 3).to_sparse(), "sparse"),
        (torch.zeros(3, device="meta"), "meta"),
    ],
)
def test_what_cannot_be_counted_is_named(backend, x, message):
    with pytest.raises(SketchError, match=message):
        one(backend, x)


@pytest.mark.parametrize("dim", [2, -3])
def test_a_dimension_that_is_not_there_is_named(backend, dim):
    with pytest.raises(SketchError, match=rf"dimension {dim} .*\(2, 3\)"):
        one(backend, torch.zeros(2, 3), dim)
    with pytest.raises(SketchError, match="dimension 0"):
        one(backend, torch.tensor(1.0), 0)
