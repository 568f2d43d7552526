"""Small tensors are counted together, and to the bit as if each were counted alone."""

import threading

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from deephochuli.kernels import TensorJob, cpu_backend
from deephochuli.record._gathered import (
    GATHERING,
    MOST_ELEMENTS,
    MOST_TENSORS,
    GatheredRows,
    is_small,
)


class Counting:
    """The back end of the CPU, with a list of how many tensors each call was given."""

    def __init__(self, is_faulty=lambda jobs: False):
        self.sizes = []
        self.is_faulty = is_faulty
        self.rows = cpu_backend().rows

    def summarise(self, jobs):
        self.sizes.append(len(jobs))
        if self.is_faulty(jobs):
            raise RuntimeError("injected")
        return cpu_backend().summarise(jobs)


def no_fault(what, error):
    raise AssertionError((what, error))


def values_of(summary):
    """Every number of a summary, bit for bit."""
    floats = np.array([summary.sum, summary.sum_sq, summary.min_abs, summary.max_abs])
    channels = summary.channels
    return (
        summary.keys.tolist(),
        summary.counts.tolist(),
        floats.tobytes(),
        channels
        and (
            channels.n_per_channel,
            [part.tolist() for part in (channels.positive, channels.zero, channels.nonfinite)],
        ),
    )


def drawn(n_tensors):
    """Tensors of many types, forms and sizes, each with a row; some rows come several times."""
    generator = torch.Generator().manual_seed(3)
    types = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
    for number in range(n_tensors):
        shape = (number % 5, 3, 2) if number % 7 else (4, MOST_ELEMENTS // 3)
        x = torch.randn(shape, generator=generator) * 10.0 ** (number % 9 - 4)
        if x.numel():
            x.view(-1)[number % x.numel()] = (0.0, torch.inf, torch.nan, 1e-40)[number % 4]
        x = x.to(types[number % 4])
        if number % 6 == 5:
            x = x.transpose(0, 1)
        if number % 11 == 10 and x.numel():
            x = x[:1].expand(3, *x.shape[1:])
        yield number // 2 if number % 3 else number, TensorJob(x, 1 if number % 2 else None)


def test_rows_are_those_of_the_back_end_in_its_order():
    ours, theirs = GatheredRows(Counting(), no_fault), cpu_backend().rows()
    for row, job in drawn(3 * MOST_TENSORS):
        ours.add(row, job)
        theirs.add(row, job)
    ours_read, theirs_read = ours.read(), theirs.read()
    assert list(ours_read) == list(theirs_read)
    for row, summary in theirs_read.items():
        assert values_of(ours_read[row]) == values_of(summary), row
    assert ours.read() == {}


def test_calls_are_few_and_copies_are_bounded():
    backend = Counting()
    rows = GatheredRows(backend, no_fault)
    for number in range(2 * MOST_TENSORS + 5):
        rows.add(number, TensorJob(torch.full((4,), float(number))))
        assert len(rows._waiting) < MOST_TENSORS
    assert len(rows.read()) == 2 * MOST_TENSORS + 5
    assert backend.sizes == [MOST_TENSORS, MOST_TENSORS, 5]


def test_a_tensor_is_counted_as_it_was_when_it_was_shown():
    rows = GatheredRows(Counting(), no_fault)
    x = torch.ones(4)
    rows.add(0, TensorJob(x))
    x.fill_(7.0)
    assert rows.read()[0].sum == 4.0


def test_one_tensor_at_fault_is_named_and_the_others_are_counted():
    faults = []
    backend = Counting(lambda jobs: any(13.0 in job.tensor for job in jobs))
    rows = GatheredRows(backend, lambda what, error: faults.append((what, str(error))))
    for number in range(20):
        rows.add(number, TensorJob(torch.full((2,), float(number))))
    assert sorted(rows.read()) == [n for n in range(20) if n != 13]
    assert faults == [(GATHERING, "injected"), (13, "injected")]
    rows.add(1, TensorJob(torch.ones(2)))  # from now on each by itself
    assert len(rows._waiting) == 0


def test_threads_lose_no_tensor():
    rows = GatheredRows(Counting(), no_fault)

    def add(first):
        for number in range(first, first + 1000):
            rows.add(number % 50, TensorJob(torch.ones(3)))

    threads = [threading.Thread(target=add, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(int(summary.sum) for summary in rows.read().values()) == 4 * 1000 * 3


class Listens(TorchDispatchMode):
    """A mode of the user's that sees each operation of torch."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


def test_where_a_mode_of_the_users_listens_nothing_is_copied():
    rows, x = GatheredRows(Counting(), no_fault), torch.ones(3)
    with Listens() as mode:
        rows.add(0, TensorJob(x))
    assert mode.seen == []
    assert rows.read()[0].sum == 3.0


@pytest.mark.parametrize(
    "tensor",
    [torch.ones(MOST_ELEMENTS + 1), torch.ones(3, 2).t(), torch.nn.Parameter(torch.ones(2))],
)
def test_what_is_large_or_unusual_is_counted_where_it_lies(tensor):
    assert not is_small(tensor)
