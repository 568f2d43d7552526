"""Points are measured once, whatever happens in between, and give the same bytes."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from deephochuli.errors import StudyError
from deephochuli.studies import Local, Point, PointCache, get_study, run_studies
from tests.unit.studies.toy import STUDY


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def measured(log):
    return [int(line.split()[0]) for line in log.read_text().splitlines()]


@pytest.fixture
def log(tmp_path, monkeypatch):
    path = tmp_path / "log"
    path.touch()
    monkeypatch.setenv("TOY_LOG", str(path))
    return path


def test_a_point_is_named_by_its_content_alone():
    point = Point("toy", 1, {"a": 1, "b": [0.5, "x"]})
    assert point.id == Point("toy", 1, {"b": [0.5, "x"], "a": 1}).id
    others = [
        Point("toy", 2, point.params),
        Point("boy", 1, point.params),
        Point("toy", 1, {"a": 1.5, "b": [0.5, "x"]}),
    ]
    assert len({point.id, *(other.id for other in others)}) == 4


def test_results_come_in_the_order_of_the_plan_and_heavy_points_begin(tmp_path, log):
    (answer,) = run_studies([STUDY], PointCache(tmp_path / "points"), engine=Local(1))
    assert [result.params["n"] for result in answer.results] == list(range(12))
    assert answer.conclusion.answer == "The sum is 506."
    assert measured(log) == list(range(12))[::-1]


def test_known_points_are_not_measured_again(tmp_path, log):
    cache = PointCache(tmp_path / "points")
    run_studies([STUDY], cache, quick=True, engine=Local(1))
    before = contents(cache.folder)
    told = []
    run_studies([STUDY], cache, engine=Local(1), tell=told.append)
    assert sorted(measured(log)) == list(range(12))
    assert (told[0].n_points, told[0].n_known, told[0].seconds_left) == (12, 3, None)
    assert (told[-1].n_measured, told[-1].seconds_left, told[-1].last) == (9, 0.0, "toy")
    assert before.items() <= contents(cache.folder).items()


def test_a_new_version_measures_anew(tmp_path, log):
    cache = PointCache(tmp_path / "points")
    run_studies([STUDY], cache, quick=True, engine=Local(1))
    run_studies([replace(STUDY, version=2)], cache, quick=True, engine=Local(1))
    assert len(measured(log)) == 6


@pytest.mark.distributed
def test_a_pool_gives_the_same_bytes_as_one_process(tmp_path, log):
    alone, pool = PointCache(tmp_path / "alone"), PointCache(tmp_path / "pool")
    first = run_studies([STUDY], alone, quick=True, engine=Local(1))
    log.write_text("")
    second = run_studies([STUDY], pool, quick=True, engine=Local(2))
    assert contents(alone.folder) == contents(pool.folder)
    assert first[0].conclusion == second[0].conclusion
    pids = {line.split()[1] for line in log.read_text().splitlines()}
    assert str(os.getpid()) not in pids


def test_a_point_that_fails_is_named_and_costs_no_other(tmp_path, log, monkeypatch):
    monkeypatch.setenv("TOY_FAILS_AT", "7")
    cache = PointCache(tmp_path / "points")
    with pytest.raises(StudyError, match=r"1 of 12 points.*kept(?s:.*)'n': 7(?s:.*)unlucky"):
        run_studies([STUDY], cache, engine=Local(1))
    assert len(list(cache)) == 11
    monkeypatch.delenv("TOY_FAILS_AT")
    log.write_text("")
    run_studies([STUDY], cache, engine=Local(1))
    assert measured(log) == [7]


@pytest.mark.parametrize("values", [{"x": math.nan}, {"x": {1, 2}}])
def test_values_that_cannot_be_kept_are_refused(tmp_path, values):
    study = replace(STUDY, measure=lambda params: values)
    with pytest.raises(StudyError, match="finite numbers"):
        run_studies([study], PointCache(tmp_path), quick=True, engine=Local(1))
    assert contents(tmp_path) == {}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "other fields"),
        ('{"study": "toy"}', "other fields"),
        ('{"study": "toy", "version": 1, "params": {"n": 5}, "values": {}}', "another point"),
    ],
)
def test_a_file_that_is_not_the_result_is_named(tmp_path, text, why):
    cache = PointCache(tmp_path)
    point = STUDY.points()[0]
    cache.put(point, {"square": 0, "third": 0.0})
    cache.path(point).write_text(text)
    with pytest.raises(StudyError, match=f"{point.id}.*{why}.*Delete the file"):
        cache.get(point)


def test_values_come_back_from_disk_as_from_the_measurement(tmp_path):
    cache = PointCache(tmp_path)
    point = STUDY.points()[1]
    assert cache.get(point) is None
    put = cache.put(point, {"third": 1 / 3, "pair": (1, 2)})
    assert put == cache.get(point)
    assert put.values == {"third": 1 / 3, "pair": [1, 2]}
    assert json.loads(cache.path(point).read_text())["params"] == {"n": 1, "seed": 3}


def test_an_unknown_study_is_refused_with_near_matches():
    with pytest.raises(StudyError, match="no study 'bariers'"):
        get_study("bariers")


RUNNER = """
from pathlib import Path
import sys
from deephochuli.studies import Local, PointCache, run_studies
from tests.unit.studies.toy import STUDY

if __name__ == "__main__":
    run_studies([STUDY], PointCache(Path(sys.argv[1])), engine=Local(int(sys.argv[2])))
"""


def start(tmp_path, n_processes):
    script = tmp_path / "runner.py"
    script.write_text(RUNNER)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path.cwd()), *sys.path])}
    return subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "points"), str(n_processes)],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("n_processes", [1, 2])
def test_an_interrupted_run_goes_on_and_gives_the_same_bytes(
    tmp_path, log, monkeypatch, how, n_processes
):
    whole = PointCache(tmp_path / "whole")
    run_studies([STUDY], whole, engine=Local(1))
    log.write_text("")
    monkeypatch.setenv("TOY_SECONDS", "0.3")
    with start(tmp_path, n_processes) as process:
        deadline = time.monotonic() + 60
        while len(measured(log)) < 4 and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(how)
        process.communicate(timeout=60)
    assert process.returncode != 0
    kept = len(list(PointCache(tmp_path / "points")))
    assert 0 < kept < 12
    monkeypatch.setenv("TOY_SECONDS", "0")
    log.write_text("")
    with start(tmp_path, n_processes) as finished:
        finished.communicate(timeout=120)
    assert finished.returncode == 0
    assert len(measured(log)) == 12 - kept
    assert contents(tmp_path / "points") == contents(whole.folder)


@pytest.mark.distributed
def test_a_worker_that_is_killed_costs_its_open_point_another_attempt(tmp_path, log, monkeypatch):
    whole = PointCache(tmp_path / "whole")
    run_studies([STUDY], whole, engine=Local(1))
    log.write_text("")
    monkeypatch.setenv("TOY_KILLED_AT", "3,11")
    killed = PointCache(tmp_path / "killed")
    run_studies([STUDY], killed, engine=Local(2))
    assert sorted(measured(log)) == sorted([*range(12), 3, 11])
    assert contents(killed.folder) == contents(whole.folder)


@pytest.mark.distributed
def test_a_point_over_which_every_worker_dies_is_named_and_costs_no_other(
    tmp_path, log, monkeypatch
):
    monkeypatch.setenv("TOY_DIES_AT", "5")
    cache = PointCache(tmp_path / "points")
    with pytest.raises(StudyError, match=r"1 of 12(?s:.*)'n': 5(?s:.*)from outside 3 times"):
        run_studies([STUDY], cache, engine=Local(2))
    assert len(list(cache)) == 11
    assert measured(log).count(5) == 3
