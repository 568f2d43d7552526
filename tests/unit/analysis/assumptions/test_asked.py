"""The assumptions between two samples of the data are those of the segment between them."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from deephochuli.analysis.assumptions import assumptions, assumptions_between
from deephochuli.errors import PiecesError


@pytest.fixture
def made():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
    data = torch.rand(6, 3), torch.randint(0, 2, (6,))
    return model, torch.optim.SGD(model.parameters(), lr=0.1), data


def test_it_is_the_segment_between_two_samples(made):
    model, optimizer, (x, y) = made
    asked = assumptions_between(
        *(model, (x, y)), optimizer=optimizer, loss=F.cross_entropy, first=2, second=5, n_draws=2
    )
    plain = assumptions(
        *(
            model,
            optimizer,
            (x, y),
            lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]),
        ),
        *((x[2], x[5]),),
        arithmetic="bf16-pure",
        n_draws=2,
    )
    assert str(asked) == str(plain)
    assert (asked.level, asked.n_noisy, asked.bound) == (plain.level, plain.n_noisy, plain.bound)


@pytest.mark.parametrize(
    ("inputs", "more", "message"),
    [
        (torch.zeros(4, 3, dtype=torch.int64), {}, "through inputs of type Tensor: expected one"),
        (torch.zeros(4, 3), {"second": 4}, r"no samples 0 and 4 in a batch of 4: expected .* to 3"),
    ],
)
def test_data_without_such_a_segment_are_refused(made, inputs, more, message):
    model, optimizer, _ = made
    with pytest.raises(PiecesError, match=message):
        assumptions_between(model, [inputs], optimizer=optimizer, **more)
