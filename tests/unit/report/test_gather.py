"""Merging over time, folding signs and rectifying are exact."""

from __future__ import annotations

import numpy as np
import pytest

from deephochuli.report._gather import (
    INFINITY_KEY,
    Entries,
    cells_of,
    class_counts,
    finite_nonzero,
    folded,
    half_binades,
    merged_over_time,
    rectified,
)
from deephochuli.report._timeline import divide
from deephochuli.report._units import ALWAYS, SILENT, UNKNOWN, activity_codes
from deephochuli.sketch import Sketch
from tests.e2e.synthetic import keys_of

SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 2.0**-25, -(2.0**-25), 5e-324]


@pytest.fixture
def tensors() -> dict[tuple[int, int], np.ndarray]:
    """Values by (tap, bin)."""
    rng = np.random.default_rng(5)
    out = {
        (tap, step): rng.standard_normal(200) * 2.0 ** rng.uniform(-30, 10)
        for tap in range(3)
        for step in range(4)
        if (tap, step) != (1, 2)
    }
    out[0, 1] = np.concatenate([out[0, 1], SPECIAL])
    return out


@pytest.fixture
def entries(tensors) -> Entries:
    parts = [
        (tap, step, *np.unique(keys_of(values), return_counts=True))
        for (tap, step), values in tensors.items()
    ]
    return Entries(
        np.concatenate([np.full(len(keys), tap) for tap, _, keys, _ in parts]),
        np.concatenate([np.full(len(keys), step) for _, step, keys, _ in parts]),
        np.concatenate([keys for *_, keys, _ in parts]).astype(np.int64),
        np.concatenate([counts for *_, counts in parts]),
    )


def of_tap(tensors, tap: int) -> np.ndarray:
    return np.concatenate([values for (number, _), values in tensors.items() if number == tap])


def test_a_whole_run_is_the_histogram_of_all_its_numbers(entries, tensors):
    sparse = merged_over_time(folded(entries), 3)
    for tap in range(3):
        keys, counts = np.unique(keys_of(np.abs(of_tap(tensors, tap))), return_counts=True)
        part = slice(sparse.offsets[tap], sparse.offsets[tap + 1])
        assert sparse.keys[part].tolist() == keys.tolist()
        assert sparse.counts[part].tolist() == counts.tolist()


def test_rectifying_entries_is_the_relu_of_a_sketch(entries, tensors):
    tap_of = np.array([3, -1, 4])
    sparse = merged_over_time(rectified(entries, tap_of), 5)
    for tap, target in ((0, 3), (2, 4)):
        keys, counts = np.unique(keys_of(of_tap(tensors, tap)), return_counts=True)
        relu = Sketch.from_counts(keys, counts, 0.0, 0.0, 0.0, 0.0).relu()
        part = slice(sparse.offsets[target], sparse.offsets[target + 1])
        assert sparse.keys[part].tolist() == relu.keys.tolist()
        assert sparse.counts[part].tolist() == relu.counts.tolist()
    assert sparse.offsets[1] == sparse.offsets[3] == 0


def test_cells_count_powers_of_two_apart_from_the_binade_above_them(entries, tensors):
    usual = finite_nonzero(folded(entries))
    cells = cells_of(usual, half_binades(usual.key), 3, 4)
    start = np.concatenate([[0], np.cumsum(cells.width * 4)])
    for tap in range(3):
        grid = cells.counts[start[tap] : start[tap + 1]].reshape(int(cells.width[tap]), 4)
        for step in range(4):
            values = np.abs(tensors.get((tap, step), np.zeros(0)))
            values = values[(values > 0) & np.isfinite(values)]
            for slot in range(int(cells.width[tap])):
                number = int(cells.low[tap]) + slot
                low = 2.0 ** (number // 2 - 1023) if number >= 2 else 0.0
                inside = (values == low) if number % 2 == 0 else (values > low) & (values < 2 * low)
                if number == 1:  # subnormal in binary64
                    inside = (values > 0) & (values < 2.0**-1022)
                assert grid[slot, step] == inside.sum(), (tap, step, number)


def test_classes_are_counted_by_time(entries, tensors):
    counts = class_counts(folded(entries), 3, 4)
    assert counts["n"].reshape(3, 4)[1, 2] == 0
    assert counts["n"].reshape(3, 4)[0, 1] == 200 + len(SPECIAL)
    assert counts["zero"].reshape(3, 4)[0].tolist() == [0, 2, 0, 0]
    assert counts["inf"].reshape(3, 4)[0].tolist() == [0, 2, 0, 0]
    assert counts["nan"].reshape(3, 4)[0].tolist() == [0, 1, 0, 0]
    assert INFINITY_KEY == keys_of(np.array([np.inf]))[0]


def test_counts_beyond_single_precision_are_exact():
    big = 2**31 + 1
    entries = Entries(
        np.zeros(2, np.int64), np.array([0, 1]), np.array([0x3FF0, 0x3FF0]), np.array([big, 1])
    )
    assert merged_over_time(entries, 1).counts.tolist() == [big + 1]


@pytest.mark.parametrize(("n_spans", "most"), [(1, 5), (5, 5), (6, 5), (1000, 48), (49, 48)])
def test_every_step_is_in_exactly_one_group(n_spans, most):
    steps = np.arange(n_spans) * 10 + 3
    timeline = divide(steps, steps, steps, most)
    assert len(timeline) == min(n_spans, most)
    assert int(timeline.n.sum()) == n_spans
    places = timeline.place(steps)
    assert np.bincount(places).tolist() == timeline.n.tolist()
    assert np.all(np.diff(places) >= 0)
    assert timeline.last[-1] == steps[-1]
    assert timeline.n.max() - timeline.n.min() <= 1


def test_a_group_never_cuts_through_a_chunk():
    starts, ends = np.array([0, 16, 32, 48]), np.array([15, 31, 47, 63])
    timeline = divide(starts, ends, np.arange(64), 3)
    assert set(timeline.first.tolist()) <= set(starts.tolist())
    assert int(timeline.n.sum()) == 64


def test_activity_never_rounds_to_silent_or_always():
    seen = np.array([1000, 1000, 1000, 1000, 0])
    positive = np.array([0, 1, 999, 1000, 0])
    codes = activity_codes(positive, seen).tolist()
    assert codes[0] == SILENT
    assert 0 < codes[1] < ALWAYS
    assert 0 < codes[2] < ALWAYS
    assert codes[3] == ALWAYS
    assert codes[4] == UNKNOWN
