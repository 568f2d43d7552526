"""Volume of the bifurcation zone: draws of weights, against draws that are planted."""

import pytest
import torch
from torch import nn

from deephochuli import CompareError
from deephochuli.analysis._proportion import clopper_pearson
from deephochuli.analysis.kink import Execution, bifurcation_volume


def make(seed):
    """Every third draw has a unit whose inputs cancel."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(3, 4, bias=False), nn.ReLU(), nn.Linear(4, 1))
    if seed % 3 == 0:
        model[0].weight.data[2] = 0.75
    return model


def loss(out, target):
    return (out - target).square().sum()


DATA = [(torch.tensor([[0.5, 0.3, 0.7]]), torch.ones(1)), (torch.tensor([[1.0, -1.0, 0.0]]), 2.0)]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_draws_in_the_zone_are_counted_once(dtype):
    (found,) = bifurcation_volume(make, DATA * 2, loss, seeds=range(9), arithmetics=[dtype])
    assert (found.n, found.n_changed, found.n_zero) == (9, 3, 6)
    assert (found.n_batches, found.n_batches_changed) == (36, 6)
    assert found.n_seen == 9 * 4 * 4
    assert (found.share.low, found.share.high) == clopper_pearson(3, 9)


def test_executions_meet_the_same_draws():
    ways = ["fp64", Execution("apart", torch.bfloat16, None, "apart")]
    first, second = bifurcation_volume(make, DATA, loss, seeds=range(6), arithmetics=ways)
    assert (first.execution, second.execution) == ("fp64", "apart")
    assert first.n_changed == second.n_changed == 2


def test_no_draws_are_refused():
    with pytest.raises(CompareError, match="no seeds"):
        bifurcation_volume(make, DATA, loss, seeds=())
