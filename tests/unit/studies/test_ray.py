"""A Ray of two workers gives the bytes that one process gives, also where a worker is killed."""

import os
import signal
import socket
import sys

import pytest

from deephochuli.errors import MissingExtraError, StudyError
from deephochuli.studies import Local, PointCache, Ray, run_studies
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


@pytest.fixture
def _four_minutes_at_most():
    def end(*_):
        raise TimeoutError("Ray did not come to an end.")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(240)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.distributed
@pytest.mark.usefixtures("_four_minutes_at_most")
def test_killed_workers_cost_their_open_points_another_attempt(tmp_path, log, monkeypatch):
    """One start of Ray for all: it takes half a minute where cores are shared."""
    ray = pytest.importorskip("ray")
    whole = PointCache(tmp_path / "whole")
    run_studies([STUDY], whole, engine=Local(1))
    log.write_text("")
    known = PointCache(tmp_path / "ray")
    run_studies([STUDY], known, quick=True, engine=Local(1))
    monkeypatch.setenv("TOY_KILLED_AT", "4,11")
    monkeypatch.setenv("TOY_DIES_AT", "7")
    with pytest.raises(StudyError, match=r"1 of 12(?s:.*)'n': 7(?s:.*)from outside 3 times"):
        run_studies([STUDY], known, engine=Ray(2))
    assert not ray.is_initialized()
    assert sorted(measured(log)) == sorted([*range(12), 4, 11, 7, 7])
    pids = {int(line.split()[1]) for line in log.read_text().splitlines()[3:]}
    assert os.getpid() not in pids
    monkeypatch.delenv("TOY_DIES_AT")
    run_studies([STUDY], known, engine=Local(1))
    assert contents(known.folder) == contents(whole.folder)


def test_without_ray_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'deephochuli\[ray\]'"):
        run_studies([STUDY], PointCache(tmp_path), engine=Ray(2))


def test_nothing_to_measure_starts_nothing(tmp_path):
    cache = PointCache(tmp_path)
    run_studies([STUDY], cache, quick=True, engine=Local(1))
    (outcome,) = run_studies([STUDY], cache, quick=True, engine=Ray(2, "nowhere:1"))
    assert outcome.conclusion.answer == "The sum is 5."


def test_workers_of_a_cluster_are_not_known_before_it_is_asked():
    assert Ray(3, "auto").n_workers == 3
    assert Ray(None, "auto").n_workers is None
    assert Ray(2).n_workers == 2


@pytest.mark.parametrize("address", ["{}", "ray://{}"])
def test_an_address_where_nobody_listens_is_told_at_once(tmp_path, address):
    pytest.importorskip("ray")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    where = address.format(f"127.0.0.1:{port}")
    with pytest.raises(StudyError, match=f"Ray at {where} does not answer.*refused"):
        run_studies([STUDY], PointCache(tmp_path), engine=Ray(2, where))
