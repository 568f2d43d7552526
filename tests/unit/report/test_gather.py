"""Merging over time, folding signs and rectifying are exact."""

from __future__ import annotations

import numpy as np
import pytest

from deephochuli.report import _gather
from deephochuli.report._gather import (
    INFINITY_KEY,
    Entries,
    Histogram,
    entries_of,
    magnitudes,
    ratios,
    rectified,
)
from deephochuli.report._rows import Rows
from deephochuli.report._timeline import divide
from deephochuli.report._units import ALWAYS, SILENT, UNKNOWN, activity_codes
from deephochuli.sketch import Sketch
from deephochuli.store import Ragged, by_half_binade
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


N_BINS = 4
EDGES = np.arange(N_BINS)
TIMELINE = divide(EDGES, EDGES, EDGES, N_BINS)


def entries_from(lists: list[tuple[int, int, np.ndarray, np.ndarray]]) -> Entries:
    """Entries of rows (tap, step, keys, counts), in the order given."""
    steps = np.array([step for _, step, *_ in lists])
    keys = Ragged.of([keys for *_, keys, _ in lists], np.int64)
    counts = Ragged.of([counts for *_, counts in lists], np.int64)
    tap = np.array([tap for tap, *_ in lists])
    rows = Rows(tap, steps, steps, {}, {"key": keys, "count": counts})
    return entries_of(rows, "key", "count", TIMELINE)


@pytest.fixture
def entries(tensors):
    """Entries of three taps, whose rows come in the order of the steps."""
    parts = [
        (
            tap,
            step,
            *(part.astype(np.int64) for part in np.unique(keys_of(values), return_counts=True)),
        )
        for (tap, step), values in sorted(tensors.items(), key=lambda item: item[0][1])
    ]
    return entries_from(parts)


def histograms_of(entries: Entries, n_taps: int) -> list[Histogram]:
    """What a page holds of some histograms by key."""
    slots, counts = by_half_binade(entries.keys, entries.counts)
    over_time = Entries(entries.tap, entries.bins, slots, counts)
    return magnitudes(entries, over_time, n_taps, N_BINS)


def of_tap(tensors, tap: int) -> np.ndarray:
    return np.concatenate([values for (number, _), values in tensors.items() if number == tap])


def is_histogram_of(histogram: Histogram, values: np.ndarray) -> bool:
    keys, counts = np.unique(keys_of(values), return_counts=True)
    return histogram.keys.tolist() == keys.tolist() and histogram.counts.tolist() == counts.tolist()


def test_a_whole_run_is_the_histogram_of_all_its_numbers(entries, tensors):
    found = histograms_of(entries, 3)
    assert len(found) == 3
    for tap, one in enumerate(found):
        assert is_histogram_of(one, np.abs(of_tap(tensors, tap)))


def test_rectifying_entries_is_the_relu_of_a_sketch(entries, tensors):
    taps = (2, 0)
    found = histograms_of(rectified(entries, taps), 2)
    for tap, histogram in zip(taps, found, strict=True):
        keys, counts = np.unique(keys_of(of_tap(tensors, tap)), return_counts=True)
        relu = Sketch.from_counts(keys, counts, 0.0, 0.0, 0.0, 0.0).relu()
        assert histogram.keys.tolist() == relu.keys.tolist()
        assert histogram.counts.tolist() == relu.counts.tolist()


def test_slots_count_powers_of_two_apart_from_the_binade_above_them(entries, tensors):
    for tap, histogram in enumerate(histograms_of(entries, 3)):
        total = 0
        for step in range(N_BINS):
            values = np.abs(tensors.get((tap, step), np.zeros(0)))
            values = values[(values > 0) & np.isfinite(values)]
            for row in range(histogram.slots.shape[0]):
                number = histogram.low + row
                low = 2.0 ** (number // 2 - 1023) if number >= 2 else 0.0
                inside = (values == low) if number % 2 == 0 else (values > low) & (values < 2 * low)
                if number == 1:  # subnormal in binary64
                    inside = (values > 0) & (values < 2.0**-1022)
                assert histogram.slots[row, step] == inside.sum(), (tap, step, number)
                total += int(inside.sum())
        values = of_tap(tensors, tap)
        assert total == (np.isfinite(values) & (values != 0)).sum()


def test_classes_are_counted_by_time(entries):
    special, gap, _ = (histogram.classes for histogram in histograms_of(entries, 3))
    assert gap["n"].tolist() == [200, 200, 0, 200]
    assert special["n"].tolist() == [200, 200 + len(SPECIAL), 200, 200]
    assert special["zero"].tolist() == [0, 2, 0, 0]
    assert special["inf"].tolist() == [0, 2, 0, 0]
    assert special["nan"].tolist() == [0, 1, 0, 0]
    assert INFINITY_KEY == keys_of(np.array([np.inf]))[0]


def test_a_tap_without_numbers_has_an_empty_histogram():
    none = np.zeros(0, np.int64)
    (histogram,) = histograms_of(entries_from([(0, 0, none, none)]), 1)
    assert histogram.keys.size == histogram.counts.size == histogram.slots.size == 0
    assert histogram.classes["n"].tolist() == [0] * N_BINS


def test_ratios_keep_their_sign_and_their_time():
    first = (1, 0, np.array([-12, -3, 4]), np.array([5, 1, 2]))
    second = (1, 2, np.array([-12]), np.array([7]))
    _, histogram = ratios(entries_from([first, second]), 2, N_BINS)
    assert histogram.keys.tolist() == [-12, -3, 4]
    assert histogram.counts.tolist() == [12, 1, 2]
    assert histogram.low == -12
    assert histogram.slots[0].tolist() == [5, 0, 7, 0]
    assert histogram.slots.sum() == 15


def test_counts_beyond_single_precision_are_exact():
    big = 2**31 + 1
    parts = [(0, 0, np.array([0x3FF0]), np.array([big])), (0, 1, np.array([0x3FF0]), np.array([1]))]
    (histogram,) = histograms_of(entries_from(parts), 1)
    assert histogram.counts.tolist() == [big + 1]


def test_many_entries_are_counted_part_by_part(entries, tensors, monkeypatch):
    monkeypatch.setattr(_gather, "_ENTRIES_AT_ONCE", 7)
    for tap, one in enumerate(histograms_of(entries, 3)):
        assert is_histogram_of(one, np.abs(of_tap(tensors, tap)))


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
