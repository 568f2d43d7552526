"""Numbers of the terminal view, beside sums over every recorded step made in another way."""

import math

import numpy as np
import pytest

from deephochuli.live._pulse import (
    MOST_POINTS,
    courses_of,
    grouped,
    points_of,
    pulse_of,
    rate_of,
    worst_layers,
)
from deephochuli.store import RunReader, RunWriter, StepRow, open_run
from tests.e2e.synthetic import Shape, manifest_of, write_run

SMALLEST_NORMAL = 2.0**-14  # of float16


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunReader:
    quantities = ("z", "dz", "da", "w", "g", "dw")
    shape = Shape("float16", ("a", "b"), quantities, n_steps=70, n_elements=48, n_channels=4)
    return open_run(write_run(tmp_path_factory.mktemp("pulse") / "run", shape))


def subnormal_and_nonzero(run: RunReader, steps, *, layer=None) -> tuple[int, int]:
    """From the histograms of single steps: keys of magnitudes below the smallest normal number."""
    small = (np.float64(SMALLEST_NORMAL).view(np.uint64) >> np.uint64(49)) << np.uint64(1)
    counts = [0, 0]
    for tap in run.taps():
        if tap.quantity not in ("g", "dz", "da") or (layer is not None and tap.layer != layer):
            continue
        for step, (keys, n) in zip(*run.history(tap.layer, tap.quantity), strict=True):
            magnitude = keys & 0x7FFF
            if step in steps:
                counts[0] += int(n[(magnitude > 0) & (magnitude < small)].sum())
                counts[1] += int(n[(magnitude > 0) & (magnitude < 0x7FF0)].sum())
    return counts[0], counts[1]


def test_the_shares_over_time_are_those_of_the_histograms(run):
    courses = courses_of(run)
    chunks = [(0, 32), (32, 64), (64, 70)]
    firsts = [min(i for i in range(70) if i * 60 // 70 == point) for point in range(60)]
    at = [next(k for k, (a, b) in enumerate(chunks) if a <= i < b) for i in firsts]
    assert set(at) == {0, 1, 2}
    by_chunk = [
        {values[point] for point in range(60) if at[point] == k}
        for values in (courses.subnormal, courses.swamped)
        for k in range(3)
    ]
    assert [len(values) for values in by_chunk] == [1] * 6  # one share wherever its chunk is
    shares = [values.pop() for values in by_chunk]
    table = run.all_scalars(["n_updatable", "n_unmoved"])
    for (first, last), subnormal, swamped in zip(chunks, shares[:3], shares[3:], strict=True):
        steps = {5 * number for number in range(first, last)}
        part, whole = subnormal_and_nonzero(run, steps)
        assert 0 < part < whole
        assert subnormal == part / whole
        known = np.isin(table["step"], list(steps)) & (table["n_updatable"] >= 0)
        assert swamped == table["n_unmoved"][known].sum() / table["n_updatable"][known].sum()


def test_losses_are_means_of_neighbours(run):
    losses = run.steps["loss"]
    expected = [losses[[i for i in range(70) if i * 60 // 70 == g]].mean() for g in range(60)]
    assert courses_of(run).loss == pytest.approx(expected, rel=1e-12)


def test_the_layers_that_lost_most_come_first(run):
    layers = worst_layers(run, 10)
    assert [layer.worst for layer in layers] == sorted((x.worst for x in layers), reverse=True)
    steps = set(run.steps["step"].tolist())
    for layer in layers:
        part, whole = subnormal_and_nonzero(run, steps, layer=layer.layer)
        assert layer.subnormal == (part / whole if whole else pytest.approx(math.nan, nan_ok=True))
    assert len(worst_layers(run, 1)) == 1


def test_the_pulse_of_a_run(run):
    pulse = pulse_of(run)
    assert (pulse.n_steps, pulse.last_step) == (70, 345)
    assert pulse.steps_per_s == pytest.approx(50.0)
    assert pulse.loss == run.steps["loss"][-1]
    assert pulse.chunk_age_s is not None
    assert 0 <= pulse.chunk_age_s < 600


def test_a_run_without_steps_has_a_pulse(tmp_path):
    RunWriter(tmp_path / "run", manifest_of(Shape())).close()
    pulse = pulse_of(open_run(tmp_path / "run"))
    assert pulse.n_steps == 0
    assert pulse.last_step is pulse.steps_per_s is pulse.loss is pulse.chunk_age_s is None
    courses = courses_of(open_run(tmp_path / "run"))
    assert courses.loss == courses.subnormal == courses.swamped == ()


@pytest.mark.parametrize(
    ("steps", "wall", "rate"),
    [
        ([0], [0.0], None),
        ([0, 1], [1.0, 1.0], None),
        ([0, 1], [1.0, math.nan], None),
        ([0, 4], [1.0, 3.0], 2.0),
        ([0, 10, 20, 30], [100.0, 200.0, 0.0, 5.0], 2.0),  # resumed: time began anew
        (list(range(100)), [0.0] * 50 + [i / 10 for i in range(50)], 10.0),  # only the last count
    ],
)
def test_the_rate_is_of_the_last_steps_since_time_went_on(steps, wall, rate):
    assert rate_of(np.array(steps), np.array(wall)) == (
        None if rate is None else pytest.approx(rate)
    )


@pytest.mark.parametrize("n", [0, 1, MOST_POINTS, MOST_POINTS + 1, 1000])
def test_groups_are_neighbours_of_nearly_equal_size(n):
    at, n_groups = grouped(np.arange(n), n)
    assert n_groups == min(n, MOST_POINTS)
    sizes = np.bincount(at, minlength=n_groups)
    assert (np.diff(at) >= 0).all()
    assert len(sizes) == n_groups
    assert n == 0 or sizes.max() - sizes.min() <= 1


def test_heights_of_a_curve():
    assert points_of([2.0, 2.0]) == [0.5, 0.5]
    found = points_of([1.0, math.nan, 3.0, math.inf])
    assert found[0] == 0.0
    assert found[2] == 1.0
    assert math.isnan(found[1])
    assert math.isnan(found[3])
    assert points_of([]) == []


def test_a_loss_that_was_never_told_draws_nothing(tmp_path):
    shape = Shape(layers=("a",), n_elements=8, n_channels=2)
    with RunWriter(tmp_path / "run", manifest_of(shape)) as writer:
        writer.append(StepRow(step=0, wall_s=0.0), [])
        writer.append(StepRow(step=1, wall_s=1.0, loss=math.nan), [])
    run = open_run(tmp_path / "run")
    pulse = pulse_of(run)
    assert pulse.loss is not None
    assert math.isnan(pulse.loss)
    assert all(math.isnan(x) for x in courses_of(run).loss)
