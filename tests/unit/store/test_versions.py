"""Run folders of older versions open as they did then.

The golden folders were written by the versions themselves, and the answers beside them by their
readers; neither is ever made again.
"""

import json
import shutil
from pathlib import Path

import pytest

from deephochuli.errors import DeepHochuliWarning
from deephochuli.store import SCHEMA_VERSION, RunReader, _migrations, open_run

GOLDEN = Path(__file__).parent / "golden"
LISTS = ("key", "count", "ratio", "ratio_count", "positive", "zero", "nonfinite")


def plain(array) -> list:
    return [None if value != value else value for value in array.tolist()]


def rows_of(lists) -> dict:
    return {
        name: [None if row is None else row.tolist() for row in ragged.rows()]
        for name, ragged in lists.items()
    }


def answers(run: RunReader) -> dict:
    """What the golden answers hold, of a run."""
    rollups, records = run.rollups(LISTS), run.records(LISTS)
    return {
        "steps": {name: plain(column) for name, column in run.steps.items()},
        "taps": [
            [
                *(t.layer, t.quantity, t.module, t.module_type, t.role, t.dtype, t.order),
                *(t.n_records, t.n_channels),
            ]
            for t in run.taps()
        ],
        "scalars": {name: plain(column) for name, column in run.all_scalars().items()},
        "rollup numbers": {name: plain(column) for name, column in rollups.numbers.items()},
        "rollup lists": rows_of(rollups.lists),
        "record lists": rows_of(records.lists),
    }


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION))
def test_a_golden_run_says_what_it_said(version):
    expected = json.loads((GOLDEN / f"v{version}.json").read_text())
    run = open_run(GOLDEN / f"v{version}")
    assert answers(run) == expected
    assert not run.damaged


def test_a_tap_of_a_golden_run():
    run = open_run(GOLDEN / "v1")
    expected = json.loads((GOLDEN / "v1.json").read_text())
    tap = next(i for i, row in enumerate(expected["taps"]) if row[:2] == ["stem", "z"])
    rows = [i for i, index in enumerate(expected["scalars"]["tap"]) if index == tap]
    steps, pairs = run.history("stem", "z")
    assert steps.tolist() == [expected["scalars"]["step"][i] for i in rows]
    sizes = [int(count.sum()) for _, count in pairs]
    assert sizes == [expected["scalars"]["n"][i] for i in rows]
    assert run.whole("stem", "z").numbers["n"] == sum(sizes)


def test_the_manifest_of_version_1_gets_its_session():
    manifest = open_run(GOLDEN / "v1").manifest
    assert (manifest.schema_version, manifest.n_chunks, manifest.seed) == (1, 2, 7)
    assert [session.started for session in manifest.sessions] == [manifest.created]
    assert [session.ended for session in manifest.sessions] == [manifest.ended]
    assert manifest.faults == []


def test_every_older_version_has_its_step_and_its_layout():
    assert sorted(_migrations._STEPS) == list(range(1, SCHEMA_VERSION))
    assert sorted(_migrations._LAYOUTS) == list(range(1, SCHEMA_VERSION + 1))


@pytest.mark.parametrize("file", ["taps", "rollup", "steps"])
def test_damage_in_a_golden_run_is_left_out(tmp_path, file):
    shutil.copytree(GOLDEN / "v1", tmp_path / "run")
    path = tmp_path / "run" / "chunk-000001" / f"{file}.parquet"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.warns(DeepHochuliWarning, match=f"{file}.parquet is damaged"):
        run = open_run(tmp_path / "run")
    assert run.n_chunks == 1
    assert len(run.steps["step"]) == 2
