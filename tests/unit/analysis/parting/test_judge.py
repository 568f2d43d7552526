"""When a place differs at all, and when more than is ordinary, on numbers chosen by hand."""

import numpy as np
import pytest
import torch

from deephochuli.analysis.parting import chance_of_sampling, judge, read_rows
from deephochuli.analysis.parting._judge import MARGIN, SUSTAINED
from tests.unit.analysis.runs import tap, write_run

N_STEPS = 12


def normal(seed, *, scale=1.0, n=4000):
    return torch.randn(n, generator=torch.Generator().manual_seed(seed)) * scale


@pytest.fixture
def place(tmp_path):
    """A place that held these tensors in steps 0, 1, ..."""
    numbers = iter(range(100))

    def make(tensors, quantity="g"):
        rows = [[tap("fc.weight", quantity, tensor)] for tensor in tensors]
        run = write_run(tmp_path / str(next(numbers)), rows, chunk_steps=len(rows))
        return read_rows(run)[0]["fc.weight", quantity]

    return make


def batches(first=0, *, scales=None):
    return [normal(first + i, scale=1.0 if scales is None else scales[i]) for i in range(N_STEPS)]


def test_equal_places_never_part(place):
    found = judge(place(batches()), place(batches()), [], with_sums=True)
    assert (found.first_step, found.last_equal, found.beyond_step) == (None, None, None)
    assert set(found.distances) == {0.0}


def test_one_element_in_one_step_is_a_difference_that_is_not_beyond_the_ordinary(place):
    changed = batches()
    changed[5] = changed[5].clone()
    changed[5][17] *= 1 + 2**-20
    found = judge(place(batches()), place(changed), [], with_sums=True)
    assert (found.first_step, found.last_equal, found.beyond_step) == (5, 4, None)


def test_a_wider_distribution_is_beyond_the_ordinary_from_its_first_step_on(place):
    scales = [1.0] * 6 + [3.0] * (N_STEPS - 6)
    found = judge(place(batches()), place(batches(scales=scales)), [], with_sums=True)
    assert (found.first_step, found.beyond_step) == (6, 6)
    assert found.largest[1] > 0.2 > found.largest[2]


def test_what_passes_within_a_few_steps_is_not_beyond(place):
    scales = [1.0] * N_STEPS
    for step in range(6, 6 + SUSTAINED - 1):
        scales[step] = 3.0
    found = judge(place(batches()), place(batches(scales=scales)), [], with_sums=True)
    assert (found.first_step, found.beyond_step) == (6, None)


def test_other_samples_of_one_distribution_are_ordinary(place):
    found = judge(place(batches(0)), place(batches(50)), [], with_sums=True)
    assert (found.first_step, found.last_equal, found.beyond_step) == (0, None, None)


def test_weights_of_another_seed_are_ordinary_because_sampling_moves_them(place):
    one, other = [normal(1)] * N_STEPS, [normal(2)] * N_STEPS
    assert judge(place(one), place(other), [], with_sums=True).beyond_step is None
    wide = [normal(2, scale=1.5)] * N_STEPS
    assert judge(place(one), place(wide), [], with_sums=True).beyond_step == 0


def test_replicates_say_what_is_ordinary(place):
    """Weights that never move within a run, and differ between runs by their scale."""
    one = place([normal(1)] * N_STEPS)
    twin, like = place([normal(2, scale=1.3)] * N_STEPS), place([normal(3, scale=1.35)] * N_STEPS)
    alone = judge(one, like, [], with_sums=True)
    replicated = judge(one, like, [(one, twin)], with_sums=True)
    assert (alone.beyond_step, alone.is_replicated) == (0, False)
    assert (replicated.beyond_step, replicated.is_replicated) == (None, True)
    far = judge(one, place([normal(3, scale=4.0)] * N_STEPS), [(one, twin)], with_sums=True)
    assert far.beyond_step == 0
    apart = judge(one, twin, [], with_sums=True).distances[0]
    sampling = float(chance_of_sampling(np.array([4000]), np.array([4000]))[0])
    assert far.ordinary[0] == pytest.approx(MARGIN * apart + sampling, rel=1e-12)


def test_places_are_laid_side_by_side_at_common_steps_only(place):
    one, other = place(batches()), place(batches()[:4])
    assert judge(one, other, [], with_sums=True).steps == (0, 1, 2, 3)


def test_without_sums_only_counts_and_extremes_are_compared(place):
    tensor = torch.tensor([1.0, 1.01, 1.02, 1.1])
    moved = torch.tensor([1.0, 1.01, 1.03, 1.1])  # the same keys, another sum
    one, other = place([tensor]), place([moved])
    assert judge(one, other, [], with_sums=True).first_step == 0
    assert judge(one, other, [], with_sums=False).first_step is None


def test_moved_to_another_channel_is_a_difference(place):
    tensor = torch.tensor([[1.0, -1.0], [1.0, -1.0]])
    one, other = place([tensor], "z"), place([tensor.flip(1)], "z")
    assert judge(one, other, [], with_sums=True).first_step == 0


def test_a_step_runs_forward_backward_and_then_updates(place):
    names = ["w", "dw", "g", "dz", "z"]
    square = torch.ones(2, 2)
    places = [place([square, square], quantity) for quantity in names]
    found = [judge(each, each, [], with_sums=True) for each in places]
    in_order = [each.quantity for each in sorted(found, key=lambda each: each.place_in_step)]
    assert in_order == ["z", "dz", "g", "dw", "w"]
    assert [each.direction for each in found] == [
        *("parameters", "parameters", "backward", "backward", "forward")
    ]
