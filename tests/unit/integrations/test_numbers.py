"""What trackers show is counted again here from the tensors themselves."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from deephochuli.integrations import Histogram, numbers_of
from tests.unit.analysis.runs import tap, write_run


@pytest.fixture
def tensors():
    """Three steps of a pre-activation, a gradient and an update, with every kind of number."""
    draw = torch.Generator().manual_seed(0)

    def some(*shape, scale):
        return (torch.randn(*shape, generator=draw) * scale).half()

    steps = []
    for number in range(3):
        z = some(8, 5, scale=1.0)
        z[:, number] = -1.0
        g = some(20, scale=2.0**-20)
        g[0], g[1] = 0.0, float("inf") if number == 1 else 1.0
        steps.append((z, g, some(20, scale=2.0**-9)))
    return steps


def rows(z, g, dw, unmoved):
    return [
        tap("net.relu#2", "z", z),
        tap("net.w", "g", g, order=1, role="weight"),
        tap("net.w", "dw", dw, order=1, role="weight", updates=(18, unmoved)),
    ]


def exponents(*given):
    """Exponents of the nonzero finite numbers, by frexp."""
    x = np.concatenate([each.double().numpy().ravel() for each in given])
    x = x[np.isfinite(x) & (x != 0)]
    found, counts = np.unique(np.frexp(x)[1] - 1, return_counts=True)
    return found.tolist(), counts.tolist()


def test_totals_of_each_step(tmp_path, tensors):
    run = write_run(tmp_path / "run", [rows(*each, n) for n, each in enumerate(tensors)])
    found = numbers_of(run)
    assert [each.step for each in found] == [0, 1, 2]
    for n, (each, (_, g, _)) in enumerate(zip(found, tensors, strict=True)):
        small = (g != 0) & (g.abs().double() < 2.0**-14)
        assert each.totals == {
            "nonfinite": float((~g.isfinite()).sum()),
            "skipped": 0.0,
            "updates_unmoved_share": n / 18,
            "gradients_zero_share": int((g == 0).sum()) / 20,
            "gradients_subnormal_share": int(small.sum()) / 20,
            "channels_silent_share": 1 / 5,
        }


def test_layers_are_of_the_whole_chunk_and_stand_at_its_last_step(tmp_path, tensors):
    run = write_run(
        tmp_path / "run", [rows(*each, n) for n, each in enumerate(tensors)], chunk_steps=2
    )
    first, second, third = numbers_of(run)
    assert not first.layers
    assert not first.histograms
    gradients = torch.cat([tensors[0][1], tensors[1][1]]).double()
    finite = gradients[gradients.isfinite()]
    assert second.layers["g/net.w/rms"] == pytest.approx(
        float(finite.square().mean().sqrt()), 1e-15
    )
    assert second.layers["g/net.w/zero_share"] == int((gradients == 0).sum()) / 40
    assert second.layers["g/net.w/nonfinite"] == 1.0
    assert second.layers["dw/net.w/unmoved_share"] == 1 / 36
    # Each of the two steps has a silent channel, but not the same one.
    assert second.layers["z/net.relu.call2/silent_share"] == 0.0
    assert third.layers["z/net.relu.call2/silent_share"] == 1 / 5
    for place, name in enumerate(("z/net.relu.call2", "g/net.w", "dw/net.w")):
        histogram = second.histograms[name]
        expected = exponents(tensors[0][place], tensors[1][place])
        assert (histogram.exponents.tolist(), histogram.counts.tolist()) == expected


def test_only_the_quantities_that_are_wanted(tmp_path, tensors):
    run = write_run(tmp_path / "run", [rows(*tensors[0], 0)])
    (only,) = numbers_of(run, ["dw"])
    assert {name.split("/")[0] for name in (*only.layers, *only.histograms)} == {"dw"}


def test_a_tensor_of_zeros_has_no_histogram_and_no_share_of_nothing(tmp_path):
    run = write_run(tmp_path / "run", [[tap("w", "g", torch.zeros(3), role="weight")]])
    (only,) = numbers_of(run)
    assert only.layers == {
        "g/w/nonfinite": 0.0,
        "g/w/zero_share": 1.0,
        "g/w/subnormal_share": 0.0,
        "g/w/rms": 0.0,
    }
    assert only.histograms == {}
    assert "updates_unmoved_share" not in only.totals


@given(
    st.dictionaries(st.integers(-1074, 1023), st.integers(1, 2**40), min_size=1, max_size=40),
    st.integers(1, 600),
)
def test_bins_hold_exactly_what_lies_between_their_edges(counts, most):
    ordered = sorted(counts)
    histogram = Histogram(np.array(ordered), np.array([counts[e] for e in ordered]))
    found, edges = histogram.bins(most)
    assert len(found) <= most
    assert len(edges) == len(found) + 1
    for count, low, high in zip(found.tolist(), edges[:-1], edges[1:], strict=True):
        assert count == sum(n for e, n in counts.items() if low < e < high)
    assert sum(found.tolist()) == sum(counts.values())
