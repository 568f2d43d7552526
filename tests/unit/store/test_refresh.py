"""A reader sees what a writer has added, when it is asked to look again and not before."""

import shutil

import numpy as np
import pytest

from deephochuli.errors import DeepHochuliWarning, StoreError
from deephochuli.store import Manifest, RunWriter, StepRow, _writer, open_run
from deephochuli.store._chunks import ChunkReader
from tests.unit.store.drawn import tap_row, write_run


def append(writer: RunWriter, steps) -> None:
    for step in steps:
        writer.append(StepRow(step=step, wall_s=0.0), [tap_row(np.ones((1, 1)))])


@pytest.fixture
def running(tmp_path):
    """A run that is being written, and a reader that has read all of it."""
    writer = RunWriter(tmp_path / "run", Manifest(), chunk_steps=2, resume=True)
    append(writer, range(4))
    reader = open_run(tmp_path / "run")
    assert reader.all_scalars()["step"].tolist() == [0, 1, 2, 3]
    assert reader.steps["step"].tolist() == [0, 1, 2, 3]
    yield writer, reader
    writer.close()


def test_new_chunks_are_seen_after_a_refresh(running):
    writer, reader = running
    assert reader.refresh() is False
    append(writer, range(4, 7))
    assert reader.steps["step"].tolist() == [0, 1, 2, 3]
    assert reader.refresh() is True
    assert reader.steps["step"].tolist() == [0, 1, 2, 3, 4, 5]
    assert reader.all_scalars()["step"].tolist() == [0, 1, 2, 3, 4, 5]
    assert reader.rollups().n_steps.tolist() == [2, 2, 2]
    assert reader.whole("stem", "z").n_steps == 6
    assert not reader.finished
    writer.close()
    assert reader.refresh() is True
    assert reader.finished
    assert reader.n_chunks == 4
    assert reader.refresh() is False


def test_the_open_chunk_appears_after_its_seconds(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(_writer.time, "monotonic", lambda: now[0])
    with RunWriter(tmp_path / "run", Manifest(), chunk_seconds=30) as writer:
        reader = open_run(tmp_path / "run")
        append(writer, [0])
        now[0] = 29.0
        append(writer, [1])
        assert reader.refresh() is False
        now[0] = 30.0
        append(writer, [2])
        assert reader.refresh() is True
        assert reader.steps["step"].tolist() == [0, 1, 2]


def test_chunks_that_are_superseded_meanwhile(running):
    writer, reader = running
    writer.close()
    second = RunWriter(writer.path, Manifest(), chunk_steps=2, resume=True)
    append(second, [1, 2])
    assert reader.steps["step"].tolist() == [0, 1, 2, 3]
    assert reader.refresh()
    second.close()
    assert reader.refresh()
    assert reader.steps["step"].tolist() == [0, 1, 2]
    assert reader.superseded == ["chunk-000000", "chunk-000001"]


def test_a_chunk_that_vanishes_is_left_out_from_the_next_look_on(running):
    writer, reader = running
    shutil.rmtree(writer.path / "chunk-000000")
    assert reader.steps["step"].tolist() == [0, 1, 2, 3]  # known already
    append(writer, [4, 5])
    with pytest.warns(DeepHochuliWarning, match="is missing. The run is read without chunk-000000"):
        assert reader.refresh()
    assert reader.steps["step"].tolist() == [2, 3, 4, 5]


QUESTIONS = {
    "few": lambda run: run.all_scalars(("n", "sum")),
    "all": lambda run: run.all_scalars(),
    "rollups": lambda run: vars_of(run.rollups()),
    "bare rollups": lambda run: vars_of(run.rollups(())),
    "records": lambda run: vars_of(run.records(())),
    "history": lambda run: dict(zip(("step", "pairs"), run.history("stem", "z"), strict=True)),
    "whole": lambda run: run.whole("stem", "z").numbers,
}


def vars_of(rollups):
    columns = {name: getattr(rollups, name) for name in ("tap", "chunk", "step_first", "n_steps")}
    lists = {name: column.rows() for name, column in rollups.lists.items()}
    return columns | dict(rollups.numbers) | lists


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.filterwarnings("ignore::deephochuli.errors.DeepHochuliWarning")
def test_a_reader_that_followed_a_run_answers_as_a_new_one(tmp_path, seed):
    """Whatever is asked in between, taps that come later, steps recorded again, lost chunks."""
    rng, path = np.random.default_rng(seed), tmp_path / "run"
    writer = RunWriter(path, Manifest(), chunk_steps=2)
    reader, step = open_run(path), 0
    for turn in range(9):
        layers = ["stem", "head", "aux"][: 2 + (turn > 6)]  # one comes late, and is first by name
        for _ in range(rng.integers(0, 6)):
            rows = [tap_row(rng.normal(size=(2, 3)), layer=layer) for layer in layers]
            writer.append(StepRow(step=step, wall_s=0.0), rows)
            step += 1
        if turn in (3, 5):  # steps are recorded again
            writer.close()
            step = max(0, step - 3)
            writer = RunWriter(path, Manifest(), chunk_steps=2, resume=True)
        if turn == 7:
            shutil.rmtree(path / "chunk-000001")
        reader.refresh()
        fresh = open_run(path)
        if fresh.n_chunks and turn != 7:
            for name in rng.permutation(list(QUESTIONS))[: rng.integers(0, 5)]:
                np.testing.assert_equal(QUESTIONS[name](reader), QUESTIONS[name](fresh), name)
    writer.close()
    reader.refresh()
    reader.leave_out(1, StoreError("It is gone."))
    for name, ask in QUESTIONS.items():
        np.testing.assert_equal(ask(reader), ask(open_run(path)), name)


def test_columns_that_were_known_before_the_run_grew_stand_beside_those_that_were_not(tmp_path):
    def append_two(steps):
        for step in steps:
            rows = [tap_row(np.full((1, 1), step + 1.0), layer=name) for name in ("stem", "head")]
            writer.append(StepRow(step=step, wall_s=0.0), rows)

    with RunWriter(tmp_path / "run", Manifest(), chunk_steps=2) as writer:
        append_two(range(4))
        reader = open_run(tmp_path / "run")
        reader.all_scalars(("n",))
        append_two(range(4, 6))
        reader.refresh()
        reader.all_scalars(("n",))  # extended
        assert reader.all_scalars(("sum",))["sum"].tolist() == [*range(1, 7)] * 2
        assert reader.all_scalars(("n", "sum"))["step"].tolist() == [*range(6)] * 2


def test_what_was_read_before_a_run_grew_is_not_read_again(running, monkeypatch):
    writer, reader = running
    reader.rollups()
    append(writer, range(4, 8))
    reader.refresh()
    read: list[tuple[str, int]] = []
    columns = ChunkReader.columns

    def count(chunk, table, names, *rest):
        if "n" in names:  # that is not the list of taps
            read.append((table, chunk.number))
        return columns(chunk, table, names, *rest)

    monkeypatch.setattr(ChunkReader, "columns", count)
    assert reader.all_scalars()["step"].tolist() == [*range(8)]
    assert reader.rollups().n_steps.tolist() == [2] * 4
    assert sorted(read) == [("rollup", 2), ("rollup", 3), ("taps", 2), ("taps", 3)]


def test_damage_is_said_once(running):
    writer, reader = running
    append(writer, [4, 5])
    (writer.path / "chunk-000002" / "chunk.json").write_text("{")
    with pytest.warns(DeepHochuliWarning, match="chunk-000002"):
        assert reader.refresh()
    assert reader.refresh() is False
    assert [damage.chunk for damage in reader.damaged] == ["chunk-000002"]


def test_another_run_in_its_place_is_refused(running, tmp_path):
    writer, reader = running
    writer.close()
    shutil.rmtree(writer.path)
    with pytest.raises(StoreError, match=r"manifest\.json cannot be read"):
        reader.refresh()
    other = write_run(tmp_path / "other", [])
    other.rename(writer.path)
    with pytest.raises(StoreError, match="holds another run than before"):
        reader.refresh()
