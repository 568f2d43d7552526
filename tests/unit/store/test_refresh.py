"""A reader sees what a writer has added, when it is asked to look again and not before."""

import shutil

import numpy as np
import pytest

from deephochuli.errors import DeepHochuliWarning, StoreError
from deephochuli.store import Manifest, RunWriter, StepRow, _writer, open_run
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


def test_a_chunk_that_vanishes_is_left_out_when_it_is_read(running):
    writer, reader = running
    shutil.rmtree(writer.path / "chunk-000000")
    assert reader.steps["step"].tolist() == [0, 1, 2, 3]  # known already
    append(writer, [4, 5])
    assert reader.refresh()
    with pytest.warns(DeepHochuliWarning, match="is missing. The run is read without chunk-000000"):
        assert reader.steps["step"].tolist() == [2, 3, 4, 5]


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
