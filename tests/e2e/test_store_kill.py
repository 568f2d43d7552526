"""kill -9 at any time: the folder opens, whole chunks are there, and nothing of the open one.

The rows that are written follow from the number of the step, so that whatever a reader finds can
be checked without knowing when the kill came.
"""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deephochuli.store import Manifest, RunWriter, StepRow, TapRow, open_run

if not hasattr(os, "fork"):
    pytest.skip("this system cannot fork", allow_module_level=True)

# The child only writes, and Arrow writes without threads.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")

CHUNK_STEPS = 3
N_TAPS = 20
N_KEYS = 50


def counts_of(step: int, tap: int) -> np.ndarray:
    """Counts that a tap has in a step."""
    return (np.arange(N_KEYS) * 7919 + step * 104729 + tap * 1299709) % 1000 + 1


def rows_of(step: int) -> list[TapRow]:
    return [
        TapRow(
            layer=f"layer{tap}",
            quantity="z",
            module="",
            module_type="Conv2d",
            role="relu",
            dtype="float32",
            order=tap,
            calls=1,
            sum=float(step),
            sum_sq=float(tap),
            min_abs=1.0,
            max_abs=2.0,
            key=np.arange(N_KEYS, dtype=np.uint16) + 100,
            count=counts_of(step, tap),
        )
        for tap in range(N_TAPS)
    ]


def write_run(path: Path, n_steps: int, announce: Callable[[int], object]) -> None:
    """Write a run; each chunk is announced once it is whole."""
    writer = RunWriter(path, Manifest(seed=7), chunk_steps=CHUNK_STEPS, chunk_seconds=1e9)
    for step in range(n_steps):
        writer.append(StepRow(step=step, wall_s=0.0, loss=float(step)), rows_of(step))
        if step % CHUNK_STEPS == CHUNK_STEPS - 1 and writer.is_open:
            announce(step // CHUNK_STEPS)
    writer.close()


def in_child(work: Callable[[], object]) -> int:
    """Start a process that does some work and then ends without any of Python's goodbyes."""
    child = os.fork()
    if not child:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    return child


def check(path: Path, n_announced: int, n_possible: int) -> None:
    """All announced chunks are there, perhaps one more, and each is complete and right."""
    reader = open_run(path)
    assert not reader.damaged
    assert not reader.finished or reader.n_chunks == reader.manifest.n_chunks == n_possible
    assert reader.manifest.seed == 7
    assert n_announced <= reader.n_chunks <= n_possible
    n_steps = CHUNK_STEPS * reader.n_chunks
    steps = reader.steps
    assert steps["step"].tolist() == steps["loss"].tolist() == list(range(n_steps))
    assert len(reader.taps()) == (N_TAPS if reader.n_chunks else 0)
    rollups = reader.rollups(["key", "count"])
    assert len(rollups) == N_TAPS * reader.n_chunks
    for row, (tap, chunk) in enumerate(zip(rollups.tap, rollups.chunk, strict=True)):
        first = CHUNK_STEPS * chunk
        expected = sum(counts_of(step, tap) for step in range(first, first + CHUNK_STEPS))
        np.testing.assert_array_equal(rollups.lists["count"][row], expected)
    if reader.n_chunks:
        found, pairs = reader.history("layer3", "z")
        assert found.tolist() == list(range(n_steps))
        for step, (_, count) in zip(found, pairs, strict=True):
            np.testing.assert_array_equal(count, counts_of(step, 3))


def kill_after(path: Path, n_chunks: int, delay_s: float) -> None:
    """Kill a writer some time after it has announced some chunks, and check what it left."""
    reading, writing = os.pipe()
    child = in_child(lambda: write_run(path, 10**9, lambda _: os.write(writing, b".")))
    os.close(writing)
    for _ in range(n_chunks):
        assert os.read(reading, 1) == b"."
    time.sleep(delay_s)
    os.kill(child, signal.SIGKILL)
    n_announced = n_chunks + len(os.read(reading, 1 << 16))
    os.close(reading)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    check(path, n_announced, n_announced + 1)


def draw_moments(n: int, seed: int) -> list[tuple[int, float]]:
    """After how many chunks, and how long after, the kills come: within two chunks' time."""
    rng = np.random.default_rng(seed)
    return [(int(rng.integers(1, 4)), float(rng.uniform(0, 0.04))) for _ in range(n)]


def test_kill_at_random_moments(tmp_path):
    for number, (n_chunks, delay_s) in enumerate(draw_moments(10, seed=0)):
        kill_after(tmp_path / str(number), n_chunks, delay_s)


@pytest.mark.slow
def test_kill_at_a_hundred_random_moments(tmp_path):
    for number, (n_chunks, delay_s) in enumerate(draw_moments(100, seed=1)):
        kill_after(tmp_path / str(number), n_chunks, delay_s)


@pytest.mark.parametrize("call", ["fsync", "rename", "close", "mkdir"])
def test_death_at_each_call_that_touches_the_disk(tmp_path, call):
    """The writer dies just before its n-th call of one kind, for every n until it lives on."""
    left: set[int] = set()
    for n in range(1, 60):
        path = tmp_path / f"{call}{n}"
        _, status = os.waitpid(in_child(lambda: die_at_call(call, n, path)), 0)  # noqa: B023
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0
            break
        if not (path / "manifest.json").exists():
            continue  # it died before the constructor returned: there is no run yet
        n_chunks = open_run(path).n_chunks
        check(path, n_chunks, 2)
        left.add(n_chunks)
    assert left >= {0, 1}
    assert open_run(path).finished


def die_at_call(call: str, n: int, path: Path) -> None:
    """Write two chunks in this process, and kill it before the n-th call; if it gets that far."""
    count = 0
    original = getattr(os, call)

    def counted(*args: object, **kwargs: object) -> object:
        nonlocal count
        count += 1
        if count == n:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)

    setattr(os, call, counted)
    write_run(path, 2 * CHUNK_STEPS, lambda _: None)


def test_a_disk_that_really_takes_no_more(tmp_path):
    """Files may not grow beyond a limit: the writer says so once, and ends in order."""
    path = tmp_path / "run"
    command = [sys.executable, "-W", "always", __file__, str(path), "9000"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr.count("DeepHochuliWarning") == 1
    assert "File too large" in done.stderr
    reader = open_run(path)
    assert reader.finished
    assert "File too large" in reader.manifest.stopped
    assert reader.n_chunks == len(done.stdout.split())
    assert sorted(p.name for p in path.iterdir())[-1] == "manifest.json"


if __name__ == "__main__":
    # Writing further then fails with EFBIG, as it fails with ENOSPC on a full disk.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
    write_run(Path(sys.argv[1]), 30, print)
