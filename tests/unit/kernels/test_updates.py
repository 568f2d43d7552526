from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
import torch

from deephochuli.kernels import UpdateJob, key_of, reference_backend
from tests.unit.kernels.brute_force import DTYPES, check, doubles, patterns, sample


def rounded_difference(after: float, before: float) -> float:
    """fl32(after - before) from rationals, to nearest, ties to even."""
    if not np.isfinite(after) or not np.isfinite(before):
        return after - before
    exact = Fraction(after) - Fraction(before)
    if exact == 0:
        return after - before  # the signs of zeros
    exponent = max(floor_log2(abs(exact)), -126)
    unit = Fraction(2) ** (exponent - 23)
    value = float(round(exact / unit) * unit)  # Python rounds halves to even
    return value if abs(value) < 2.0**128 else np.copysign(np.inf, value)


def floor_log2(x: Fraction) -> int:
    e = x.numerator.bit_length() - x.denominator.bit_length()
    return e if Fraction(2) ** e <= x else e - 1


def expected_update(job: UpdateJob) -> torch.Tensor:
    after, before = doubles(job.after).tolist(), doubles(job.before).tolist()
    if job.after.dtype == torch.float64:
        pairs = [a - b for a, b in zip(after, before, strict=True)]
    else:
        pairs = [rounded_difference(a, b) for a, b in zip(after, before, strict=True)]
    return torch.from_numpy(np.array(pairs, np.float64))


def binade(x: float) -> int:
    return max(int(np.frexp(x)[1]) - 1, -1023)


def expected_ratios(update, before) -> dict[int, int]:
    good = [
        (u, w)
        for u, w in zip(update.tolist(), doubles(before).tolist(), strict=True)
        if u and w and np.isfinite(u) and np.isfinite(w)
    ]
    return dict(sorted(Counter(binade(u) - binade(w) for u, w in good).items()))


def check_update(summary, job):
    check(summary.weight, job.after)
    update = expected_update(job)
    check(summary.update, update)
    found = dict(zip(summary.ratios.tolist(), summary.ratio_counts.tolist(), strict=True))
    assert found == expected_ratios(update, job.before)
    if job.gradient is None:
        assert summary.gradient is None
        assert (summary.n_updatable, summary.n_unmoved) == (0, 0)
        return
    check(summary.gradient, job.gradient)
    g = doubles(job.gradient)
    movable = np.isfinite(g) & (g != 0)
    stayed = movable & (patterns(job.after) == patterns(job.before))
    assert (summary.n_updatable, summary.n_unmoved) == (movable.sum(), stayed.sum())


def step(dtype, n, kind, seed=0):
    """Weights with zeros, the step of a small update that swamps some, and gradients."""
    before = sample(dtype, n, seed, kind)
    change = sample(torch.float64, n, seed + 1, "randn") * 2.0**-9
    change = change * (sample(torch.float64, n, seed + 2, "randn") > -0.5)
    after = torch.from_numpy(doubles(before)) * (1 + change)
    after = torch.where(torch.arange(n) % 7 == 0, change, after).to(dtype)
    gradient = sample(dtype, n, seed + 3, "relu")
    return UpdateJob(before, after, gradient)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", ["randn", "relu", "edges", "special", "tiny"])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_updates_of_every_type(backend, dtype, kind):
    jobs = [step(dtype, n, kind, n) for n in (0, 1, 15, 4099)]
    jobs.append(UpdateJob(jobs[-1].before, jobs[-1].after, None))
    for job, summary in zip(jobs, backend.summarise_updates(jobs), strict=True):
        check_update(summary, job)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("dtype", DTYPES[:4], ids=str)
def test_any_pair_of_patterns(backend, dtype):
    job = UpdateJob(*(sample(dtype, 3000, seed, "patterns") for seed in range(3)))
    if dtype != torch.float64:  # differences beyond binary64 have no rational oracle
        check_update(backend.summarise_updates([job])[0], job)
    same = UpdateJob(job.before, job.before, job.gradient)
    check_update(backend.summarise_updates([same])[0], same)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_flags_that_flush_to_zero_hide_no_update(backend, dtype):
    job = UpdateJob(
        sample(dtype, 2000, 1, "tiny"),
        sample(dtype, 2000, 2, "tiny"),
        sample(dtype, 2000, 3, "tiny"),
    )
    plain = backend.summarise_updates([job])[0]
    check_update(plain, job)
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor has no flush-to-zero flag")
    try:
        flushed = backend.summarise_updates([job])[0]
    finally:
        torch.set_flush_denormal(False)
    assert np.array_equal(plain.update.keys, flushed.update.keys)
    assert np.array_equal(plain.update.counts, flushed.update.counts)
    assert np.array_equal(plain.ratio_counts, flushed.ratio_counts)
    assert (plain.n_updatable, plain.n_unmoved) == (flushed.n_updatable, flushed.n_unmoved)


def test_swamped_updates_are_told_from_zero_gradients(backend):
    before = torch.tensor([1.0, 1.0, 1.0, 0.0])
    gradient = torch.tensor([2.0**-30, 0.0, 1.0, 1.0])
    after = before - gradient
    summary = backend.summarise_updates([UpdateJob(before, after, gradient)])[0]
    assert (summary.n_updatable, summary.n_unmoved) == (3, 1)
    assert summary.ratios.tolist() == [0]
    assert summary.ratio_counts.tolist() == [1]


def test_mixed_memory_orders_and_types(backend):
    shape = (8, 6, 5, 5)
    before, after, gradient = (sample(torch.float32, 1200, s, "relu").view(shape) for s in range(3))
    last = torch.channels_last
    for job in (
        UpdateJob(before.contiguous(memory_format=last), after, gradient),
        UpdateJob(before, after.contiguous(memory_format=last), gradient),
        UpdateJob(*(t.contiguous(memory_format=last) for t in (before, after, gradient))),
        UpdateJob(before, after, gradient.bfloat16()),
        UpdateJob(before.bfloat16(), after.bfloat16(), gradient),
        UpdateJob(before[:, ::2], after[:, ::2], gradient[:, ::2]),
        UpdateJob(before, after, gradient[:1].expand(shape)),
    ):
        check_update(backend.summarise_updates([job])[0], job)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_threads_change_nothing(compiled, threads, dtype):
    jobs = [step(dtype, n, "randn", n) for n in (3 << 17, 70_000, 100, 9)]
    threads(1)
    alone = compiled.summarise_updates(jobs)
    threads(2)
    for both in (compiled.summarise_updates(jobs) for _ in range(5)):
        for a, b in zip(alone, both, strict=True):
            for name in ("weight", "gradient", "update"):
                left, right = getattr(a, name), getattr(b, name)
                assert np.array_equal(left.keys, right.keys)
                assert np.array_equal(left.counts, right.counts)
                assert (left.sum, left.sum_sq) == (right.sum, right.sum_sq)
                assert (left.min_abs, left.max_abs) == (right.min_abs, right.max_abs)
            assert np.array_equal(a.ratio_counts, b.ratio_counts)
            assert (a.n_updatable, a.n_unmoved) == (b.n_updatable, b.n_unmoved)


def test_types_mixed_in_one_call(compiled):
    jobs = [step(dtype, 500, "randn", i) for i, dtype in enumerate(DTYPES * 2)]
    for job, summary in zip(jobs, compiled.summarise_updates(jobs), strict=True):
        check_update(summary, job)


def test_a_shape_that_does_not_fit_is_refused(backend):
    job = UpdateJob(torch.zeros(3), torch.zeros(4), None)
    with pytest.raises(ValueError, match=r"\(3,\).*\(4,\)|\(4,\).*\(3,\)"):
        backend.summarise_updates([job])


def test_a_flushed_operand_does_not_change_a_normal_update(compiled, flushing):
    """1.5 x 2^-126 less 2^-127 is 2^-126; with the subnormal operand flushed it would be more."""
    before = torch.tensor([3 << 22] * 20, dtype=torch.int32).view(torch.float32)  # 1.5 x 2^-126
    after = torch.tensor([1 << 22] * 20, dtype=torch.int32).view(torch.float32)  # 2^-127
    job = UpdateJob(before, after, None)
    (ours,), (theirs,) = (
        backend.summarise_updates([job]) for backend in (compiled, reference_backend())
    )
    assert ours.update.keys.tolist() == theirs.update.keys.tolist() == [key_of(-(2.0**-126))]
    assert ours.ratios.tolist() == theirs.ratios.tolist() == [0]
