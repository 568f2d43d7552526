"""Loss scales against trying every power of two on the numbers themselves."""

import math

import numpy as np
import pytest
import torch

from deephochuli.analysis.backward import loss_scale, tensor_scale
from deephochuli.arithmetic import round_to
from deephochuli.errors import CompareError
from deephochuli.formats import get_format
from deephochuli.sketch import Sketch


def numbers(seed, center, spread, n=400):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.standard_normal(n) * 2.0 ** (center + spread * rng.random(n)))


def tried(x, fmt, removed):
    """Lowest and highest power of two, by rounding the scaled numbers."""
    lost = int((round_to(x, fmt) == 0).sum())
    lowest = next(
        e
        for e in range(200)
        if int((round_to(x * 2.0**e, fmt) == 0).sum()) <= lost - math.ceil(removed * lost)
    )
    highest = max(
        e for e in range(-200, 200) if bool((x * 2.0**e).abs().max() < fmt.overflow_threshold)
    )
    return 2.0**lowest, 2.0**highest


@pytest.mark.parametrize("name", ["fp16", "fp8_e5m2", "fp8_e4m3fn"])
@pytest.mark.parametrize("removed", [0.5, 0.95, 1.0])
def test_lowest_and_highest_are_those_that_trying_finds(name, removed):
    fmt = get_format(name)
    for seed in range(4):
        x = numbers(seed, -40, 30)
        found = tensor_scale("layer", "weight", Sketch.of(x), fmt, removed)
        assert (found.lowest, found.highest) == tried(x, fmt, removed)
        assert found.to_zero == int((round_to(x, fmt) == 0).sum()) > 0


def test_numbers_exactly_at_the_threshold_are_lost_and_one_binade_rescues_them():
    fmt = get_format("fp16")
    x = torch.full((10,), 2.0**-25)
    assert int((round_to(x, fmt) == 0).sum()) == 10
    found = tensor_scale("layer", "weight", Sketch.of(x), fmt, 0.95)
    assert (found.to_zero, found.lowest) == (10, 2.0)


def test_the_tensors_that_ask_and_forbid_are_named():
    fmt = get_format("fp16")
    small, large = numbers(1, -34, 2), numbers(2, 0, 4)
    parts = [
        tensor_scale("a", "weight", Sketch.of(small), fmt, 0.95),
        tensor_scale("b", "input", Sketch.of(large), fmt, 0.95),
        tensor_scale("c", "bias", Sketch.of(torch.zeros(3)), fmt, 0.95),
    ]
    assert parts[2] is None
    found = loss_scale(parts, 0.95)
    assert (found.demanding, found.limiting) == ("a:weight", "b:input")
    assert found.lowest == parts[0].lowest
    assert found.highest == parts[1].highest
    assert not loss_scale(parts[1:], 0.95).demanding
    assert loss_scale(parts[2:], 0.95) is None


def test_advice_leaves_room_but_not_at_the_price_of_the_underflow():
    fmt = get_format("fp16")
    wide = loss_scale([tensor_scale("a", "w", Sketch.of(numbers(1, -30, 2)), fmt, 0.95)], 0.95)
    assert wide.fits
    assert wide.advised == wide.highest / 16 >= wide.lowest
    tight = loss_scale([tensor_scale("a", "w", Sketch.of(numbers(1, -30, 38)), fmt, 0.95)], 0.95)
    assert tight.lowest <= tight.advised <= tight.highest


def test_a_share_out_of_range_is_refused():
    from deephochuli.analysis.backward import backward

    with pytest.raises(CompareError, match="not a share of the underflow"):
        backward(torch.nn.Linear(2, 1), torch.ones(1, 2), removed=0.0)
