"""What is kept of a run in place of its rows is what its rows add up to."""

import shutil

import numpy as np
import pytest

from deephochuli.errors import DeepHochuliWarning
from deephochuli.store import (
    Courses,
    Manifest,
    RunWriter,
    StepRow,
    TapRow,
    Windows,
    _chunks,
    _courses,
    _windows,
    open_run,
)
from deephochuli.store._parquet import ColumnFile
from tests.unit.store.drawn import tap_row

COUNTS = ("n_channels", "n_silent_channels", "n_updatable", "n_unmoved")


@pytest.fixture
def narrow(monkeypatch):
    """Bounds so low that a small run meets all of them."""
    monkeypatch.setattr(_courses, "MOST_STRETCHES", 8)
    monkeypatch.setattr(_courses, "FEWEST_STRETCHES", 4)
    monkeypatch.setattr(_chunks, "_ROWS_PER_PIECE", 5)
    monkeypatch.setattr(_windows, "_CHUNKS_AT_ONCE", 3)


class Drawn:
    """A run of random numbers in which taps come late, are missing, and have no channels."""

    def __init__(self, path, seed: int) -> None:
        self.path, self.step, self._rng = path, 0, np.random.default_rng(seed)
        self._open()

    def _open(self, **options) -> None:
        self._writer = RunWriter(self.path, Manifest(), chunk_steps=3, buffer_bytes=2000, **options)

    def grow(self, n_steps: int, layers=("stem", "head")) -> None:
        for _ in range(n_steps):
            rows = [self._row(layer) for layer in layers if layer == "stem" or self._is_likely()]
            self._writer.append(StepRow(step=3 * self.step + 1, wall_s=0.0), rows)
            self.step += 1

    def _is_likely(self) -> bool:
        return self._rng.random() < 0.7

    def _row(self, layer: str) -> TapRow:
        moved = {
            "quantity": "dw",
            "n_updatable": 9,
            "n_unmoved": int(self._rng.integers(9)),
            "ratio": np.unique(self._rng.integers(-9, 9, 3)).astype(np.int16),
        }
        moved["ratio_count"] = np.full(len(moved["ratio"]), 2)
        given = moved if layer == "head" else {}
        return tap_row(self._values(), layer=layer, channels=self._is_likely(), **given)

    def _values(self):
        values = self._rng.normal(size=(4, 3)) * 2.0 ** self._rng.integers(-40, 40)
        values[self._rng.random(values.shape) < 0.1] = self._rng.choice([np.inf, np.nan, 0.0])
        return values

    def go_back(self, n_steps: int) -> None:
        self._writer.close()
        self.step -= n_steps
        self._open(resume=True)

    def close(self) -> None:
        self._writer.close()


def kept(run) -> dict:
    """All that the folds of a run say."""
    courses, windows = run.fold(Courses), run.fold(Windows)
    rows, whole = windows.rows(), windows.whole()
    lists = {name: column.rows() for name, column in rows.lists.items()}
    return {
        **courses.over(np.arange(len(courses.first))),
        **{"first": courses.first, "last": courses.last, "tap": rows.tap, "chunk": rows.chunk},
        **{name: getattr(whole, name).rows() for name in ("key", "count", "ratio", "ratio_count")},
        **rows.numbers,
        **lists,
    }


@pytest.mark.parametrize("n_steps", [1, 8, 9, 40])
def test_courses_are_sums_of_single_steps(tmp_path, narrow, n_steps):
    drawn = Drawn(tmp_path / "run", seed=n_steps)
    drawn.grow(n_steps)
    drawn.close()
    run = open_run(drawn.path)
    courses, table = run.fold(Courses), run.all_scalars()
    steps = run.steps["step"]
    assert courses.first[0] == steps[0]
    assert courses.last[-1] == steps[-1]
    assert n_steps / 16 <= len(courses.first) <= 8
    spans = zip(courses.first, courses.last, strict=True)
    of_stretch = [np.sum((steps >= first) & (steps <= last)) for first, last in spans]
    assert len(set(of_stretch[:-1])) <= 1  # all are equal but for the last
    assert sum(of_stretch) == n_steps
    found = courses.over(np.arange(len(courses.first)))
    for i, (first, last) in enumerate(zip(courses.first, courses.last, strict=True)):
        for tap in range(len(run.taps())):
            rows = (table["tap"] == tap) & (table["step"] >= first) & (table["step"] <= last)
            one = {name: column[rows].tolist() for name, column in table.items()}
            assert_is_sum_of(one, {name: column[i, tap] for name, column in found.items()})


def assert_is_sum_of(steps: dict[str, list], found: dict) -> None:
    """Compare with Python's own sums of the rows of single steps."""
    finite = [
        n - i - m for n, i, m in zip(*(steps[c] for c in ("n", "n_inf", "n_nan")), strict=True)
    ]
    assert found["n_finite"] == (sum(finite) if finite else -1)
    for name in COUNTS:
        known = [value for value in steps[name] if value >= 0]
        assert found[name] == (sum(known) if known else -1), name
    largest = [value for value in steps["max_abs"] if value == value]
    assert found["max_abs"] == max(largest) if largest else np.isnan(found["max_abs"])
    assert found["sum_sq"] == pytest.approx(sum(steps["sum_sq"]), rel=1e-14) or not finite


def test_windows_are_the_rollups_and_the_whole_is_their_sum(tmp_path, narrow):
    drawn = Drawn(tmp_path / "run", seed=3)
    drawn.grow(20)
    drawn.close()
    run = open_run(drawn.path)
    rollups, rows, whole = run.rollups(), run.fold(Windows).rows(), run.fold(Windows).whole()
    assert rows.tap.tolist() == rollups.tap.tolist()
    assert rows.step_first.tolist() == rollups.step_first.tolist()
    for row in range(len(rows)):
        keys, counts = rollups.lists["key"][row], rollups.lists["count"][row]
        expected: dict[int, int] = {}
        for key, count in zip(keys.tolist(), counts.tolist(), strict=True):
            slot = (key & 0x8000) | (2 * ((key & 0x7FFF) >> 4) + (key & 0xF != 0))
            expected[slot] = expected.get(slot, 0) + count
        slots, counts = (rows.lists[name][row].tolist() for name in ("slot", "slot_count"))
        assert dict(zip(slots, counts, strict=True)) == expected
    for tap, info in enumerate(run.taps()):
        merged = run.whole(info.layer, info.quantity)
        assert whole.key[tap].tolist() == merged.key.tolist()
        assert whole.count[tap].tolist() == merged.count.tolist()


def test_counts_that_do_not_fit_into_half_the_room_stay_whole(tmp_path):
    with RunWriter(tmp_path / "run", Manifest(), chunk_steps=1) as writer:
        for step, count in enumerate((3, 2**40 + 1)):
            keys = {"key": np.array([0x3FF0], np.uint16), "count": np.array([count])}
            row = tap_row(np.ones((1, 1)), **keys, positive=None, zero=None, nonfinite=None)
            writer.append(StepRow(step=step, wall_s=0.0), [row])
    windows = open_run(tmp_path / "run").fold(Windows)
    assert windows.rows().lists["slot_count"].values.tolist() == [3, 2**40 + 1]
    assert windows.whole().count.values.tolist() == [2**40 + 4]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.filterwarnings("ignore::deephochuli.errors.DeepHochuliWarning")
def test_a_run_that_was_followed_is_kept_as_one_that_is_read_at_once(tmp_path, narrow, seed):
    """Bit for bit, whatever happens to it: late taps, steps recorded again, lost chunks."""
    drawn = Drawn(tmp_path / "run", seed)
    reader = open_run(drawn.path)
    for turn in range(8):
        drawn.grow(3 + (turn + seed) % 4, ("stem", "head", "aux")[: 2 + (turn > 4)])
        if turn in (2, 4):
            drawn.go_back(2 + seed)
        if turn == 6:
            shutil.rmtree(drawn.path / reader.chunks[seed].name)
        reader.refresh()
        np.testing.assert_equal(kept(reader), kept(open_run(drawn.path)))
        assert reader.taps() == open_run(drawn.path).taps()
    drawn.close()


def test_only_new_chunks_are_read_and_each_row_once(tmp_path, narrow, monkeypatch):
    drawn = Drawn(tmp_path / "run", seed=0)
    drawn.grow(12)
    reader = open_run(drawn.path)
    reader.prepare(Courses, Windows)
    read: list[tuple[str, int, str]] = []
    original = ColumnFile.read

    def note(file, names, groups=None, **options):
        read.extend((file.path.parent.name, group, file.path.stem) for group in groups or [-1])
        return original(file, names, groups, **options)

    monkeypatch.setattr(ColumnFile, "read", note)
    kept(reader)
    assert read == []
    drawn.grow(6)
    reader.refresh()
    reader.taps()
    read.clear()  # the list of taps reads the names in the rollups
    kept(reader)
    assert {chunk for chunk, *_ in read} == {"chunk-000004", "chunk-000005"}
    assert len(read) == len(set(read))
    drawn.close()


def test_a_chunk_that_is_damaged_inside_is_left_out_and_the_rest_is_kept(tmp_path, narrow):
    drawn = Drawn(tmp_path / "run", seed=1)
    drawn.grow(12)
    reader = open_run(drawn.path)
    kept(reader)
    drawn.grow(6)
    drawn.close()
    file = drawn.path / "chunk-000004" / "taps.parquet"
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 0xFF
    file.write_bytes(content)
    reader.refresh()
    with pytest.warns(DeepHochuliWarning, match="read without chunk-000004"):
        found = kept(reader)
    shutil.rmtree(drawn.path / "chunk-000004")
    with pytest.warns(DeepHochuliWarning, match="is missing"):
        fresh = open_run(drawn.path)
    np.testing.assert_equal(found, kept(fresh))


def test_a_fold_that_fails_holds_nothing_half(tmp_path):
    class Fails:
        table, columns = "taps", ("n",)
        is_broken = True

        def __init__(self, n_taps):
            self.n = 0

        def add(self, rows):
            self.n += int(rows.columns["n"].sum())
            if Fails.is_broken and self.n > 50:
                raise MemoryError

    drawn = Drawn(tmp_path / "run", seed=2)
    drawn.grow(12)
    drawn.close()
    run = open_run(drawn.path)
    with pytest.raises(MemoryError):
        run.fold(Fails)
    Fails.is_broken = False
    assert run.fold(Fails).n == int(run.all_scalars(("n",))["n"].sum())


def test_a_run_without_steps_is_kept_as_nothing(tmp_path):
    RunWriter(tmp_path / "run", Manifest()).close()
    run = open_run(tmp_path / "run")
    assert len(run.fold(Windows).rows()) == len(run.fold(Windows).whole().key) == 0
    assert run.fold(Courses).over(np.arange(0))["sum_sq"].shape == (0, 0)
