"""Disks that fill up, folders that vanish, clocks that jump, processes that fork and die."""

import errno
import json
import os
import resource
import shutil
import signal
import time
import warnings

import pytest
import torch

from deephochuli.record import record
from deephochuli.store import open_run
from tests.faults.training import (
    EVERYTHING,
    N_STEPS,
    Trained,
    loop,
    mostly_slow,
    nothing,
    parts,
    recorded,
    small_chunks,
    undisturbed,
)

posix = pytest.mark.skipif(os.name != "posix", reason="needs fork and limits of POSIX")


def at(step, change):
    def between(i, _model, _optimizer):
        if i == step:
            change()

    return between


# ---- the disk


def vanish(path):
    shutil.rmtree(path)


def become_a_file(path):
    shutil.rmtree(path)
    path.write_text("a file")


def become_a_dangling_link(path):
    shutil.rmtree(path)
    path.symlink_to(path.parent / "nowhere")


def occupy_the_next_chunk(path):
    for n in range(9):
        (path / f"chunk-{n:06d}").mkdir(exist_ok=True)
        (path / f"chunk-{n:06d}" / "mine").write_text("x")


def lose_the_manifest(path):
    (path / "manifest.json").unlink()
    (path / "manifest.json").mkdir()


DISASTERS = (vanish, become_a_file, become_a_dangling_link, occupy_the_next_chunk)


@pytest.mark.parametrize("step", mostly_slow(range(N_STEPS)))
@pytest.mark.parametrize("disaster", DISASTERS, ids=lambda each: each.__name__)
def test_a_folder_that_is_taken_away(tmp_path, disaster, step):
    trained = recorded(tmp_path / "run", at(step, lambda: disaster(tmp_path / "run")))
    assert trained.is_same(undisturbed())
    assert len(trained.said) == 1, trained.said


@pytest.mark.parametrize("step", mostly_slow(range(N_STEPS)))
def test_a_manifest_that_cannot_be_written(tmp_path, step):
    trained = recorded(tmp_path / "run", at(step, lambda: lose_the_manifest(tmp_path / "run")))
    assert trained.is_same(undisturbed())
    assert len(trained.said) == 1
    assert "could not be noted" in trained.said[0]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_permission_lost(tmp_path):
    path = tmp_path / "run"
    try:
        trained = recorded(path, at(3, lambda: path.chmod(0o500)))
    finally:
        path.chmod(0o700)
    assert trained.is_same(undisturbed())
    assert len(trained.said) == 1


@pytest.mark.parametrize("cap", mostly_slow([1, 1000, 5000, 20_000, 60_000, 200_000, 10**9]))
def test_a_cap(tmp_path, cap):
    trained = recorded(tmp_path / "run", max_bytes=cap)
    assert trained.is_same(undisturbed())
    size = sum(p.stat().st_size for p in (tmp_path / "run").rglob("*") if p.is_file())
    assert size <= cap + 20_000  # the manifest is not bound by it
    assert len(trained.said) == (0 if cap == 10**9 else 1) or size < cap


class Limited:
    """A limit of the kernel, which holds from the first step on."""

    def __init__(self, which, value):
        self.which, self.value = which, value
        self.before = resource.getrlimit(which)

    def begin(self):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(self.which, (self.value, self.before[1]))

    def end(self):
        resource.setrlimit(self.which, self.before)
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)


@posix
@pytest.mark.parametrize("most", mostly_slow([0, 1, 100, 2000, 8000, 16_000, 30_000]))
def test_files_that_may_not_grow(tmp_path, most):
    """The kernel refuses to write, as on a full disk, at any place in a file."""
    limit = Limited(resource.RLIMIT_FSIZE, most)
    try:
        trained = recorded(tmp_path / "run", faults=limit)
    finally:
        limit.end()
    assert trained.is_same(undisturbed())
    assert len(trained.said) == 1 or most >= 8000, trained.said
    assert len(trained.said) <= 1


@posix
def test_no_file_can_be_opened(tmp_path):
    limit = Limited(resource.RLIMIT_NOFILE, 3)
    try:
        trained = recorded(tmp_path / "run", faults=limit)
    finally:
        limit.end()
    assert trained.is_same(undisturbed())
    assert len(trained.said) == 1, trained.said


class Filling:
    """A disk that takes a number of bytes and no more: `os.fsync` and all writes fail after it."""

    def __init__(self, after):
        self.after, self.n = after, 0
        self.fsync = os.fsync

    def begin(self):
        def fsync(handle):
            self.n += 1
            if self.n > self.after:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self.fsync(handle)

        os.fsync = fsync

    def end(self):
        os.fsync = self.fsync


@pytest.mark.parametrize("after", mostly_slow(range(24)))
def test_a_disk_that_is_full_at_the_nth_file(tmp_path, after):
    disk = Filling(after)
    try:
        trained = recorded(tmp_path / "run", faults=disk)
    finally:
        disk.end()
    assert trained.is_same(undisturbed())
    assert len(trained.said) == (1 if disk.n > after else 0), trained.said
    run = open_run(tmp_path / "run")
    steps = run.steps["step"].tolist()
    assert steps == list(range(len(steps)))


def test_a_user_who_turns_warnings_into_errors(tmp_path, capfd):
    model, optimizer, scaler = parts()
    with warnings.catch_warnings(), small_chunks():
        warnings.simplefilter("error")
        with record(model, optimizer, to=tmp_path / "run", select=EVERYTHING) as recording:
            loop(model, optimizer, scaler, at(2, lambda: vanish(tmp_path / "run")), recording)
    assert capfd.readouterr().err.count("DeepHochuliWarning: ") == 1


# ---- what users hand over


def test_a_loss_that_is_none(tmp_path):
    with record(parts()[0], to=tmp_path / "run") as recording:
        with pytest.warns(match="the loss"):
            recording.log(loss=torch.ones(3))
        for loss in ("text", None, {}):
            recording.log(loss=loss)  # said already, and warnings are errors here


@pytest.mark.parametrize("step", mostly_slow([3, 1, N_STEPS - 1, N_STEPS]))
@pytest.mark.parametrize(
    "error", mostly_slow([ValueError("no"), KeyError(3), MemoryError()]), ids=repr
)
def test_a_schedule_that_fails(tmp_path, error, step):
    def schedule(n):
        if n == step:
            raise error
        return True

    trained = recorded(tmp_path / "run", every=schedule)
    assert trained.is_same(undisturbed())
    assert len(trained.said) == 1
    assert "the schedule" in trained.said[0]
    assert trained.n_steps == N_STEPS
    assert open_run(tmp_path / "run").steps["step"].tolist() == list(range(step))


def test_a_schedule_that_fails_at_once_is_said_at_once(tmp_path):
    with pytest.raises(ZeroDivisionError):
        recorded(tmp_path / "run", every=lambda n: 1 / n)
    recorded(tmp_path / "run")  # and nothing was left behind


# ---- clocks

JUMPS = {
    "backward": lambda now, n: now - 1e6 * (n % 2),
    "forward": lambda now, n: now + 1e6 * n,
    "standing still": lambda now, n: 5.0,
    "running backward": lambda now, n: 1e9 - n,
    "negative": lambda now, n: -1e12,
    "huge": lambda now, n: 1e300,
    "infinite": lambda now, n: float("inf"),
    "NaN": lambda now, n: float("nan"),
}


@pytest.mark.parametrize("clock", ["monotonic", "time", "perf_counter"])
@pytest.mark.parametrize("jump", mostly_slow(JUMPS))
def test_clocks_that_jump(tmp_path, monkeypatch, clock, jump):
    real, calls = getattr(time, clock), []

    def jumping():
        calls.append(1)
        return JUMPS[jump](real(), len(calls))

    monkeypatch.setattr(time, clock, jumping)
    trained = recorded(tmp_path / "run")
    monkeypatch.undo()
    assert trained.is_same(undisturbed())
    assert trained.said == []
    assert open_run(tmp_path / "run").steps["step"].tolist() == list(range(N_STEPS))


# ---- processes


def in_child(work):
    """Run something in a forked process; return how it ended."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(77)
    return os.waitpid(child, 0)[1]


@posix
@pytest.mark.parametrize("step", mostly_slow(range(N_STEPS)))
def test_a_fork_in_the_middle(tmp_path, step):
    """The child trains on as if nothing were recorded; the parent's run is whole."""
    path, told = tmp_path / "run", tmp_path / "told"

    def between(i, model, optimizer):
        if i == step and not told.exists():
            told.write_text("")
            child = os.fork()
            if child == 0:
                try:
                    losses = loop(model, optimizer, torch.amp.GradScaler("cpu"), nothing)
                    told.write_text(json.dumps(len(losses)))
                finally:
                    os._exit(0)
            os.waitpid(child, 0)

    trained = recorded(path, between)
    assert trained.is_same(undisturbed())
    assert trained.said == []
    assert told.read_text() == str(N_STEPS)
    run = open_run(path)
    assert run.finished
    assert run.steps["step"].tolist() == list(range(N_STEPS))


@posix
@pytest.mark.parametrize("step", mostly_slow(range(N_STEPS)))
@pytest.mark.parametrize("way", ["os._exit", "SIGTERM", "SIGKILL", "SIGABRT"])
def test_a_process_that_dies(tmp_path, way, step):
    """At most the open chunk is missing."""

    def die():
        signal.signal(signal.SIGABRT, signal.SIG_DFL)
        os._exit(3) if way == "os._exit" else os.kill(os.getpid(), getattr(signal, way))
        time.sleep(9)

    status = in_child(lambda: recorded(tmp_path / "run", at(step, die)))
    if way == "os._exit":
        assert os.waitstatus_to_exitcode(status) == 3
    else:
        assert os.waitstatus_to_exitcode(status) == -getattr(signal, way)
    run = open_run(tmp_path / "run")
    assert not run.finished
    assert run.steps["step"].tolist() == list(range(step // 2 * 2))


@posix
@pytest.mark.parametrize("step", mostly_slow(range(1, N_STEPS)))
@pytest.mark.parametrize("name", ["SIGINT", "SIGALRM", "SIGUSR1"])
def test_signals_that_raise_end_the_training_as_they_would(tmp_path, name, step):
    """The exception is the user's; what was seen before it is kept."""

    class Stop(BaseException):
        pass

    def handler(_number, _frame):
        raise Stop

    before = signal.signal(getattr(signal, name), handler)
    try:
        with pytest.raises(Stop):
            recorded(
                tmp_path / "run", at(step, lambda: os.kill(os.getpid(), getattr(signal, name)))
            )
    finally:
        signal.signal(getattr(signal, name), before)
    run = open_run(tmp_path / "run")
    assert run.finished
    assert run.steps["step"].tolist() == list(range(step))


@posix
def test_a_signal_handler_that_trains(tmp_path):
    """A handler runs in the middle of anything, also of the instrument; here it calls a model."""
    model, optimizer, scaler = parts()
    other, n_calls = parts()[0], []

    def handler(_number, _frame):
        n_calls.append(float(other(torch.ones(2, 6))["logits"].detach().sum()))

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
    try:
        with small_chunks(), record(model, optimizer, to=tmp_path / "run") as recording:
            losses = loop(model, optimizer, scaler, nothing, recording)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert n_calls
    assert Trained(losses, model.state_dict()).is_same(undisturbed())
    assert open_run(tmp_path / "run").finished
