"""All errors of a call are counted in ulps of the execution's numbers, not the reference's."""

import pytest
import torch
from torch import nn

from deephochuli.analysis.compare import compare

ULP_OF_ONE = 2.0**-23


@pytest.fixture(scope="module")
def compared():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return compare(model, torch.randn(4, 8), ["native"], optimizer=optimizer)


def test_without_an_own_error_inherited_and_total_are_the_same_ulps(compared):
    (relu,) = [row for row in compared.of("native", "forward") if row.kind == "ReLU"]
    assert relu.local.is_exact
    assert relu.inherited.rms_ulps == relu.total.rms_ulps > 0


@pytest.mark.parametrize("direction", ["forward", "backward", "gradient", "update"])
def test_ulps_and_sizes_agree(compared, direction):
    """abs(e) <= ulps * 2^-23 * abs(x) for each element, so the largest ones bound each other."""
    seen = 0
    for row in compared.of("native", direction):
        for error in (row.local, row.inherited, row.total):
            if error is None or error.is_exact:
                continue
            seen += 1
            assert error.max_abs <= error.max_ulps * ULP_OF_ONE * error.reference_rms * error.n
            assert error.max_ulps < 2.0**26  # in ulps of binary64 it would be above 2^28
    assert seen
