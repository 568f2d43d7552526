"""What goes into a run comes out of it, and its rollups say what counting again says."""

import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest

from deephochuli.store import Manifest, RunWriter, StepRow, TapRow, open_run
from tests.unit.store.drawn import (
    draw_run,
    draw_values,
    histogram,
    rows_by_tap,
    tap_row,
    write_run,
)

LISTS = ("positive", "zero", "nonfinite", "ratio", "ratio_count")
GIVEN = ("calls", "sum", "sum_sq", "min_abs", "max_abs")


@pytest.fixture(
    params=[{"chunk_steps": 4}, {"chunk_steps": 5, "buffer_bytes": 1}, {"chunk_steps": 100}],
    ids=["chunks", "blocks", "one chunk"],
    scope="module",
)
def written(request, tmp_path_factory):
    run = draw_run(11)
    path = tmp_path_factory.mktemp("round-trip") / "run"
    return run, open_run(write_run(path, run, **request.param))


def add_counts(pairs) -> dict[int, int]:
    total: Counter[int] = Counter()
    for keys, counts in pairs:
        total.update(dict(zip(keys.tolist(), counts.tolist(), strict=True)))
    return dict(total)


def as_dict(keys, counts) -> dict[int, int]:
    return dict(zip(keys.tolist(), counts.tolist(), strict=True))


def rounded_sum(values: list[float]) -> float:
    return float(sum(map(Fraction, values)))


def test_steps_come_back(written):
    run, reader = written
    steps = [step for step, _ in run]
    columns = reader.steps
    assert columns["step"].tolist() == [step.step for step in steps]
    assert columns["wall_s"].tolist() == [step.wall_s for step in steps]
    assert columns["skipped"].tolist() == [step.skipped for step in steps]
    assert columns["n_micro_batches"].tolist() == [step.n_micro_batches for step in steps]
    assert columns["has_loss"].tolist() == [step.loss is not None for step in steps]
    for name in ("loss", "loss_scale", "lr"):
        expected = [math.nan if (v := getattr(step, name)) is None else v for step in steps]
        np.testing.assert_array_equal(columns[name], expected)


def test_taps_are_listed_in_the_order_of_execution(written):
    run, reader = written
    rows = rows_by_tap(run)
    expected = sorted((pairs[0][1].order, *name) for name, pairs in rows.items())
    assert [(tap.order, tap.layer, tap.quantity) for tap in reader.taps()] == expected
    for index, tap in enumerate(reader.taps()):
        pairs = rows[tap.layer, tap.quantity]
        dtypes = {row.dtype for _, row in pairs}
        assert tap.n_records == len(pairs)
        assert tap.dtype == (dtypes.pop() if len(dtypes) == 1 else "mixed")
        assert tap.n_channels == (4 if tap.quantity == "z" else 0)
        assert (tap.module, tap.module_type, tap.role) == (tap.layer, "Conv2d", "relu")
        assert reader.find(tap.layer, tap.quantity) == index
    assert "mixed" in {tap.dtype for tap in reader.taps()}


def test_histograms_come_back(written):
    run, reader = written
    for name, pairs in rows_by_tap(run).items():
        steps, found = reader.history(*name)
        assert steps.tolist() == [step for step, _ in pairs]
        for (key, count), (_, row) in zip(found, pairs, strict=True):
            assert key.dtype == np.uint16
            np.testing.assert_array_equal(key, row.key)
            np.testing.assert_array_equal(count, row.count)


def test_scalars_come_back(written):
    run, reader = written
    for name, pairs in rows_by_tap(run).items():
        columns = reader.scalars(*name)
        assert columns["step"].tolist() == [step for step, _ in pairs]
        for field in GIVEN:
            np.testing.assert_array_equal(columns[field], [getattr(row, field) for _, row in pairs])
        for field in ("n_updatable", "n_unmoved"):
            values = [getattr(row, field) for _, row in pairs]
            assert columns[field].tolist() == [-1 if v is None else v for v in values]


def test_all_scalars_are_the_scalars_of_each_tap(written):
    _, reader = written
    table = reader.all_scalars()
    assert np.all(np.diff(table["tap"]) >= 0)
    for index, tap in enumerate(reader.taps()):
        chosen = table["tap"] == index
        for name, column in reader.scalars(tap.layer, tap.quantity).items():
            np.testing.assert_array_equal(table[name][chosen], column)
    assert reader.all_scalars(["n"]).keys() == {"tap", "step", "n"}


def test_a_tap_over_the_run_is_what_counting_again_says(written):
    run, reader = written
    for name, pairs in rows_by_tap(run).items():
        rows = [row for _, row in pairs]
        whole = reader.whole(*name)
        assert (whole.step_first, whole.step_last) == (pairs[0][0], pairs[-1][0])
        assert whole.n_steps == len(rows) == whole.info.n_records
        assert as_dict(whole.key, whole.count) == add_counts((r.key, r.count) for r in rows)
        assert whole.key.tolist() == sorted(whole.key.tolist())
        assert whole.numbers["n"] == 100 * len(rows)
        assert whole.numbers["calls"] == len(rows)
        least = [row.min_abs for row in rows if not math.isnan(row.min_abs)]
        assert whole.numbers["min_abs"] == min(least)
        assert whole.numbers["max_abs"] == max(row.max_abs for row in rows)
        if name[1] == "z":
            assert whole.positive.tolist() == sum(row.positive for row in rows).tolist()
            assert whole.numbers["n_per_channel"] == 25 * len(rows)
        if name[1] == "dw":
            ratios = add_counts((row.ratio, row.ratio_count) for row in rows)
            assert as_dict(whole.ratio, whole.ratio_count) == ratios
            assert whole.numbers["n_unmoved"] == sum(row.n_unmoved for row in rows)
        else:
            assert whole.ratio is None
            assert whole.numbers["n_unmoved"] == -1


def test_rollups_are_what_counting_again_says(written):
    run, reader = written
    rollups = reader.rollups(["key", "count", "positive"])
    found = rows_by_tap(run)
    assert sum(rollups.n_steps) == sum(map(len, found.values()))
    for i, index in enumerate(rollups.tap.tolist()):
        tap = reader.taps()[index]
        first, last = rollups.step_first[i], rollups.step_last[i]
        rows = [r for s, r in found[tap.layer, tap.quantity] if first <= s <= last]
        assert rollups.n_steps[i] == len(rows)
        key, count = rollups.lists["key"][i], rollups.lists["count"][i]
        assert as_dict(key, count) == add_counts((row.key, row.count) for row in rows)
        assert rollups.numbers["sum"][i] == rounded_sum([row.sum for row in rows])
        assert rollups.numbers["sum_sq"][i] == rounded_sum([row.sum_sq for row in rows])
        if tap.quantity == "z":
            positive = sum(row.positive for row in rows)
            assert rollups.lists["positive"][i].tolist() == positive.tolist()
            assert rollups.numbers["n_silent_channels"][i] == (positive == 0).sum()
        else:
            assert rollups.lists["positive"][i] is None


def test_records_are_the_history_of_each_tap(written):
    _, reader = written
    records = reader.records(["key", "count", "zero"])
    for index, tap in enumerate(reader.taps()):
        rows = np.flatnonzero(records.tap == index)
        steps, pairs = reader.history(tap.layer, tap.quantity)
        assert records.step_first[rows].tolist() == steps.tolist()
        assert records.step_last[rows].tolist() == steps.tolist()
        for row, (key, count) in zip(rows, pairs, strict=True):
            assert records.n_steps[row] == 1
            np.testing.assert_array_equal(records.lists["key"][row], key)
            np.testing.assert_array_equal(records.lists["count"][row], count)
            assert (records.lists["zero"][row] is None) == (tap.quantity != "z")


def test_channels_come_back_by_chunk(written):
    run, reader = written
    for name, pairs in rows_by_tap(run).items():
        channels = reader.channels(*name)
        for i, (first, last) in enumerate(
            zip(channels.step_first, channels.step_last, strict=True)
        ):
            rows = [row for step, row in pairs if first <= step <= last]
            for field in ("positive", "zero", "nonfinite"):
                got = getattr(channels, field)[i]
                if name[1] != "z":
                    assert got is None
                else:
                    assert got.tolist() == sum(getattr(row, field) for row in rows).tolist()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_kinds_of_elements_are_derived_as_numpy_counts_them(tmp_path, dtype):
    info = np.finfo(dtype)
    edges = [0.0, info.smallest_subnormal, info.smallest_normal, info.max, np.inf]
    values = np.array([edges + edges + [np.nan]], dtype)
    values[0, 5:10] *= -1
    below = np.nextafter(np.array([info.smallest_normal], dtype), np.array([0], dtype))
    values = np.concatenate([values, np.repeat(below, 11)[None]])
    write_run(tmp_path / "run", [(StepRow(step=0, wall_s=0.0), [tap_row(values, channels=True)])])
    columns = open_run(tmp_path / "run").scalars("stem", "z")
    expected = {
        "n": values.size,
        "n_zero": np.sum(values == 0),
        "n_subnormal": np.sum((np.abs(values) < info.smallest_normal) & (values != 0)),
        "n_inf": np.isinf(values).sum(),
        "n_nan": np.isnan(values).sum(),
        "n_channels": 2,
        "n_per_channel": 11,
        "n_silent_channels": 0,
    }
    assert {name: columns[name][0] for name in expected} == expected


def test_a_dtype_without_a_format_has_no_subnormals(tmp_path):
    row = tap_row(np.array([[1e-300, 1.0]]), dtype="int64")
    write_run(tmp_path / "run", [(StepRow(step=0, wall_s=0.0), [row])])
    assert open_run(tmp_path / "run").scalars("stem", "z")["n_subnormal"].tolist() == [0]


def test_counts_beyond_binary64_integers_are_exact(tmp_path):
    rows = [tap_row(np.ones((1, 1)), count=np.array([2**60 + i])) for i in range(5)]
    run = [(StepRow(step=i, wall_s=0.0), [row]) for i, row in enumerate(rows)]
    write_run(tmp_path / "run", run)
    whole = open_run(tmp_path / "run").whole("stem", "z")
    assert whole.count.tolist() == [5 * 2**60 + 10]
    assert whole.numbers["n"] == 5 * 2**60 + 10


def test_sums_of_a_chunk_round_once_also_over_blocks(tmp_path):
    values = [1.0, 1e100, 1.0, -1e100]
    rows = [tap_row(np.ones((1, 1)), sum=value, sum_sq=2 * value) for value in values]
    run = [(StepRow(step=i, wall_s=0.0), [row]) for i, row in enumerate(rows)]
    for name, size in (("one block", 1 << 20), ("two blocks", 1200)):
        rollups = open_run(write_run(tmp_path / name, run, buffer_bytes=size)).rollups()
        assert rollups.numbers["sum"].tolist() == [2.0]
        assert rollups.numbers["sum_sq"].tolist() == [4.0]


def test_extremes_leave_out_steps_that_have_none(tmp_path):
    rows = [tap_row(np.full((1, 2), value)) for value in (np.nan, 3.0, np.inf, 0.5, 0.0)]
    run = [(StepRow(step=i, wall_s=0.0), [row]) for i, row in enumerate(rows)]
    whole = open_run(write_run(tmp_path / "run", run, chunk_steps=2)).whole("stem", "z")
    assert (whole.numbers["min_abs"], whole.numbers["max_abs"]) == (0.5, 3.0)


def test_an_empty_tensor_and_a_tensor_of_no_channels(tmp_path):
    empty = tap_row(np.empty((0, 3)), channels=True)
    scalar = tap_row(np.array(2.0), layer="scalar")
    write_run(tmp_path / "run", [(StepRow(step=i, wall_s=0.0), [empty, scalar]) for i in (0, 1)])
    reader = open_run(tmp_path / "run")
    whole = reader.whole("stem", "z")
    assert len(whole.key) == 0
    assert whole.positive.tolist() == []
    assert math.isnan(whole.numbers["max_abs"])
    assert (whole.numbers["n"], whole.numbers["n_channels"]) == (0, 0)
    assert reader.whole("scalar", "z").count.tolist() == [2]


def test_a_run_without_taps_and_a_run_without_steps(tmp_path):
    write_run(tmp_path / "steps", [(StepRow(step=i, wall_s=0.0), []) for i in range(3)])
    reader = open_run(tmp_path / "steps")
    assert reader.steps["step"].tolist() == [0, 1, 2]
    write_run(tmp_path / "none", [])
    for empty in (reader, open_run(tmp_path / "none")):
        assert empty.taps() == []
        assert len(empty.all_scalars()["n"]) == 0
        assert len(empty.rollups()) == 0
        assert empty.finished
        assert not empty.damaged


def test_channels_that_change_have_no_sum(tmp_path):
    rows = [tap_row(np.ones((c, 2)), channels=True) for c in (3, 4)]
    rows += [tap_row(np.ones((5, 2)), channels=False)]
    run = [(StepRow(step=i, wall_s=0.0), [row]) for i, row in enumerate(rows)]
    reader = open_run(write_run(tmp_path / "run", run))
    whole = reader.whole("stem", "z")
    assert whole.positive is None
    assert (whole.numbers["n_channels"], whole.numbers["n_per_channel"]) == (-1, -1)
    assert whole.numbers["n"] == 24
    assert reader.scalars("stem", "z")["n_channels"].tolist() == [3, 4, -1]


def test_the_writer_copies(tmp_path):
    rng = np.random.default_rng(0)
    row = tap_row(draw_values(rng, 0), channels=True)
    expected = histogram(draw_values(np.random.default_rng(0), 0))
    with RunWriter(tmp_path / "run", Manifest()) as writer:
        writer.append(StepRow(step=0, wall_s=0.0), [row])
        for array in (row.key, row.count, row.positive):
            array[:] = 7
    _, [(key, count)] = open_run(tmp_path / "run").history("stem", "z")
    np.testing.assert_array_equal(key, expected[0])
    np.testing.assert_array_equal(count, expected[1])


def test_a_row_is_frozen():
    with pytest.raises(AttributeError):
        tap_row(np.ones((1, 1))).calls = 2
    assert TapRow.__slots__
