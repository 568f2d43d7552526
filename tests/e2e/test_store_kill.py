"""kill -9 at any time: the folder opens, whole chunks are there, and nothing of the open one.

The rows that are written follow from the number of the step, so that whatever a reader finds can
be checked without knowing when the kill came.
"""

import argparse
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deephochuli.store import Manifest, RunWriter, StepRow, TapRow, _writer, open_run

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


def kill_inside_a_write(path: Path, n_chunks: int, delay_s: float) -> bool:
    """Kill a writer soon after it has begun to write a chunk; says whether it was in time.

    The writer tells when it begins to write a chunk and when the chunk is there: the kill came
    between the two if it told only of the beginning.
    """
    reading, writing = os.pipe()
    child = in_child(lambda: write_aloud(path, writing))
    os.close(writing)
    told = b""
    while told.count(b"(") <= n_chunks:
        told += os.read(reading, 1)
    time.sleep(delay_s)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while more := os.read(reading, 1 << 16):
        told += more
    os.close(reading)
    check(path, told.count(b")"), told.count(b"("))
    resume(path, told.count(b"("))
    return told.endswith(b"(")


def write_aloud(path: Path, writing: int) -> None:
    """Write a run and tell when a chunk is begun and when it is there."""

    class Aloud(_writer.ChunkDraft):
        def complete(self, session: int, resumed_at: int) -> int:
            os.write(writing, b"(")
            return super().complete(session, resumed_at)

    _writer.ChunkDraft = Aloud
    write_run(path, 10**9, lambda _: os.write(writing, b")"))


def resume(path: Path, n_possible: int) -> None:
    """The folder of a killed writer can be written to at once, by another process."""
    n_steps = len(open_run(path).steps["step"])
    with RunWriter(path, Manifest(seed=7), chunk_steps=CHUNK_STEPS, resume=True) as writer:
        for step in range(n_steps, n_steps + CHUNK_STEPS):
            writer.append(StepRow(step=step, wall_s=0.0, loss=float(step)), rows_of(step))
    reader = open_run(path)
    assert reader.finished
    assert reader.n_chunks <= n_possible + 1
    check(path, 1, reader.n_chunks)


def test_kill_inside_a_write(tmp_path):
    delays = np.random.default_rng(2).uniform(0, 0.01, 8)
    found = [
        kill_inside_a_write(tmp_path / str(number), 1, float(delay))
        for number, delay in enumerate(delays)
    ]
    assert any(found)


@pytest.mark.slow
def test_many_kills(tmp_path):
    """The whole number by one command: python -m tests.e2e.test_store_kill"""
    n_kills, n_inside = kill_many(tmp_path, n_random=200, n_inside=20, seed=1)
    assert n_kills >= 220
    assert n_inside >= 20


def kill_many(folder: Path, *, n_random: int, n_inside: int, seed: int) -> tuple[int, int]:
    """Kill writers at random moments, and inside of writes until there are enough of these.

    Returns:
        How many were killed, and how many of them inside a write.
    """
    path = folder / "killed"
    for n_chunks, delay_s in draw_moments(n_random, seed):
        kill_after(path, n_chunks, delay_s)
        shutil.rmtree(path)
    rng = np.random.default_rng(seed)
    n_tried = n_hit = 0
    while n_hit < n_inside:
        n_hit += kill_inside_a_write(path, int(rng.integers(0, 3)), float(rng.uniform(0, 0.012)))
        n_tried += 1
        shutil.rmtree(path)
    return n_random + n_tried, n_hit


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


def main() -> None:
    """Kill many writers, and say how many."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--random", type=int, default=1800, help="kills at random moments")
    parser.add_argument("--inside", type=int, default=200, help="kills inside a write")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    memory = Path("/dev/shm")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        n_kills, n_inside = kill_many(
            Path(folder), n_random=options.random, n_inside=options.inside, seed=options.seed
        )
    seconds = time.monotonic() - began
    print(
        f"{n_kills} kills, {n_inside} of them inside a write: every folder opened, at most the "
        f"open chunk was missing, no partial record was accepted ({seconds:.0f} s)"
    )


def fill_disk(path: Path, n_bytes: int) -> None:
    """Write a run in files that may not grow beyond a size."""
    # Writing further then fails with EFBIG, as it fails with ENOSPC on a full disk.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))
    write_run(path, 30, print)


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[2].isdecimal() and not sys.argv[1].startswith("-"):
        fill_disk(Path(sys.argv[1]), int(sys.argv[2]))
    else:
        main()
