"""The rank that is unlike the others is named, and no other one."""

import math
import statistics

import numpy as np
import pytest
import torch
from scipy import stats

import deephochuli as dh
from deephochuli.analysis.ranks import differences, outliers
from deephochuli.analysis.ranks._outliers import at_least
from tests.unit.record.several import batch, record_ranks


def found(path, kind):
    return [finding for finding in dh.findings(dh.open_run(path)) if finding.kind == kind]


def weights(run):
    """Differences of weights; gradients differ, for nobody averages them here."""
    return [difference for difference in differences(run) if difference.quantity == "w"]


def flip_last_bit(victim, at_step):
    """One bit of one weight of one rank, as a fault of its memory would do it."""

    def spoil(model, rank, step):
        if (rank, step) == (victim, at_step):
            with torch.no_grad():
                model.hidden.weight.view(torch.int32)[1, 2] ^= 1

    return spoil


def test_ranks_that_are_alike_are_left_in_peace(tmp_path):
    record_ranks(tmp_path / "run", 3, steps=range(16))
    run = dh.open_run(tmp_path / "run")
    assert weights(run) == []
    assert outliers(run) == []
    kinds = {finding.kind for finding in dh.findings(run)}
    assert not kinds & {"odd-rank", "rank-apart", "rank-nonfinite", "missing-ranks", "uneven-ranks"}


@pytest.mark.parametrize("victim", [0, 2])
def test_one_flipped_bit_of_a_weight_is_found(tmp_path, victim):
    record_ranks(tmp_path / "run", 3, spoil=flip_last_bit(victim, 4))
    [finding] = found(tmp_path / "run", "odd-rank")
    assert finding.level == "critical"
    rest = " and ".join(str(rank) for rank in range(3) if rank != victim)
    expected = f"Rank {victim} differs from ranks {rest}: first in hidden.weight at step 4"
    assert finding.title == expected
    assert "Their gradients differ from step 0 on." in finding.summary
    [weight] = weights(dh.open_run(tmp_path / "run"))
    assert (weight.layer, weight.odd, weight.step) == ("hidden.weight", (victim,), 4)
    assert (weight.n_steps, weight.n_compared, weight.copies) == (2, 6, (0, 1, 2))


def test_of_two_ranks_both_are_named(tmp_path):
    record_ranks(tmp_path / "run", 2, spoil=flip_last_bit(1, 3))
    [weight] = weights(dh.open_run(tmp_path / "run"))
    assert weight.odd == (0, 1)
    [finding] = found(tmp_path / "run", "odd-rank")
    assert finding.title.startswith("Ranks 0 and 1 differ: first in ")


def by_hand(path, outlier):
    """In how many steps a rank is farthest, and how far it is, by another way."""
    rms = []
    for rank in dh.open_run(path).ranks:
        columns = rank.scalars(outlier.layer, outlier.quantity)
        pairs = zip(columns["sum_sq"].tolist(), columns["n"].tolist(), strict=True)
        rms.append([math.log2(math.sqrt(sum_sq / n)) for sum_sq, n in pairs])
    farthest, distances = 0, []
    for of_step in zip(*rms, strict=True):
        far = [
            abs(of_step[r] - statistics.median(of_step[:r] + of_step[r + 1 :]))
            for r in range(len(of_step))
        ]
        farthest += max(far) == far[outlier.ranks[0]]
        distances.append(far[outlier.ranks[0]])
    return farthest, pytest.approx(statistics.median(distances), rel=1e-12)


def scaled(victim, factor):
    return lambda rank, step: batch(rank, step) * (factor if rank == victim else 1)


@pytest.mark.parametrize("factor", [4.0, 0.25])
def test_a_rank_with_other_data_stands_apart(tmp_path, factor):
    record_ranks(tmp_path / "run", 4, steps=range(16), inputs=scaled(1, factor))
    finding, *others = found(tmp_path / "run", "rank-apart")
    assert not others
    assert finding.title.startswith("Other numbers pass through rank 1 than through the rest")
    worst = outliers(dh.open_run(tmp_path / "run"))[0]
    assert worst.ranks == (1,)
    assert (worst.n_hits, worst.deviation) == by_hand(tmp_path / "run", worst)
    assert (finding.step_first, finding.step_last) == (0, 15)


def test_a_pair_with_other_data_is_named_together(tmp_path):
    record_ranks(tmp_path / "run", 2, steps=range(16), inputs=scaled(1, 8.0))
    [finding] = found(tmp_path / "run", "rank-apart")
    assert finding.title.startswith("Other numbers pass through rank 0 than through rank 1")


def test_few_steps_are_no_evidence(tmp_path):
    record_ranks(tmp_path / "run", 3, steps=range(4), inputs=scaled(1, 8.0))
    assert outliers(dh.open_run(tmp_path / "run")) == []


def test_the_rank_on_which_nan_begins_is_named(tmp_path):
    def inputs(rank, step):
        return batch(rank, step) * (float("nan") if (rank, step) == (2, 3) else 1)

    record_ranks(tmp_path / "run", 3, inputs=inputs)
    [finding] = found(tmp_path / "run", "rank-nonfinite")
    assert finding.title == "Infinities or NaNs begin on rank 2 alone: relu (z) at step 3"
    assert finding.numbers[0].value == 20


def test_nan_everywhere_is_no_matter_of_ranks(tmp_path):
    record_ranks(tmp_path / "run", 3, inputs=lambda rank, step: batch(rank, step) * float("nan"))
    assert found(tmp_path / "run", "rank-nonfinite") == []


@pytest.mark.parametrize("denominator", [2, 3, 8])
def test_the_tail_is_that_of_the_binomial_distribution(denominator):
    for n in (1, 7, 40):
        for hits in range(n + 1):
            expected = stats.binom.sf(hits - 1, n, 1 / denominator)
            np.testing.assert_allclose(at_least(hits, n, 1, denominator), expected, rtol=1e-10)
