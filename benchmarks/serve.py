"""What `deephochuli serve` takes while a run grows: memory, processor, and the wait for an answer.

    python benchmarks/serve.py                      # 60 layers, 10,000 steps, which are drawn first
    python benchmarks/serve.py --run runs/large     # keeps what it has drawn, and uses it next time

Most of the chunks of a run are there when the page is asked for; the rest come one by one, as if a
training wrote them. Requests come twenty times a second, from another process than the server's.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from store import N_VARIANTS, draw_row, draw_taps

from deephochuli.store import Manifest, RunWriter, StepRow
from deephochuli.store._lock import drop_lock, take_lock

PAUSE = 0.05
MIB = 1 << 10  # in the kibibytes of /proc


def draw_run(folder: Path, n_layers: int, n_steps: int) -> None:
    """Write a run whose steps are dealt out of a few that were drawn."""
    rng = np.random.default_rng(0)
    taps = draw_taps(n_layers, 8, rng)
    steps = [[draw_row(tap, rng) for tap in taps] for _ in range(N_VARIANTS)]
    with RunWriter(folder, Manifest(), chunk_seconds=1e9) as writer:
        for step in range(n_steps):
            row = StepRow(step=step, wall_s=0.1 * step, loss=1.0 / (1 + step))
            writer.append(row, steps[step % N_VARIANTS])


class Growing:
    """A folder that gets the chunks of a run one by one."""

    def __init__(self, run: Path, folder: Path, n_missing: int) -> None:
        self.folder = folder
        self._left = sorted(run.glob("chunk-*"))
        folder.mkdir()
        manifest = json.loads((run / "manifest.json").read_text())
        manifest |= {"finished": False, "ended": None, "n_chunks": None}
        (folder / "manifest.json").write_text(json.dumps(manifest))
        while len(self._left) > n_missing:
            self.grow()

    def grow(self) -> bool:
        """Add a chunk, unless all are there."""
        if not self._left:
            return False
        chunk = self._left.pop(0)
        draft = self.folder / f".draft-{chunk.name}"
        shutil.copytree(chunk, draft, copy_function=os.link)
        draft.rename(self.folder / chunk.name)
        return True


class Page:
    """What a browser would ask of a server."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self._pid = process.pid
        self._base, _, self._token = process.stdout.readline().strip().partition("/?token=")

    def get(self, path: str) -> tuple[bytes, float]:
        """An answer, and the milliseconds that it took."""
        asked = urllib.request.Request(
            self._base + path, headers={"Authorization": f"Bearer {self._token}"}
        )
        began = time.perf_counter()
        with urllib.request.urlopen(asked) as answer:
            body = answer.read()
        return body, 1e3 * (time.perf_counter() - began)

    def version(self) -> tuple[int, float]:
        """Version of the data that can be had, and the milliseconds that it took to learn it."""
        body, ms = self.get("/state")
        runs = json.loads(body)["runs"]
        return (runs[0]["version"] if runs else 0), ms

    def memory(self) -> tuple[int, int]:
        """Mebibytes of the server now, and at most until now."""
        status = Path(f"/proc/{self._pid}/status").read_text()
        kib = dict(re.findall(r"^(\w+):\s+(\d+) kB$", status, re.MULTILINE))
        return int(kib["VmRSS"]) // MIB, int(kib["VmHWM"]) // MIB

    def processor(self) -> float:
        """Seconds of the processor that the server has taken."""
        fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def served(folder: Path) -> Iterator[Page]:
    """A server of a folder that somebody seems to write."""
    take_lock(folder)
    command = [sys.executable, "-m", "deephochuli", "serve", str(folder)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        yield Page(process)
    finally:
        process.terminate()
        process.wait()
        drop_lock(folder)


def measure(growing: Growing, every: float) -> None:
    """Ask while the run grows, and print what it took."""
    with served(growing.folder) as page:
        while not (version := page.version()[0]):
            time.sleep(PAUSE)
        first = page.processor()
        print(f"first data: {first:.1f} s of the processor, {show_memory(page)}")
        waits, due, n_versions = [], time.monotonic(), 0
        while time.monotonic() < due or growing.grow():
            due += every * (time.monotonic() >= due)
            newest, ms = page.version()
            waits.append(ms)
            if newest != version:
                version, n_versions = newest, n_versions + 1
                waits.append(page.get("/runs/0")[1])
            time.sleep(PAUSE)
        p50, p95, most = np.quantile(waits, [0.5, 0.95, 1.0])
        print(f"{len(waits)} answers: median {p50:.1f} ms, p95 {p95:.1f} ms, at most {most:.0f} ms")
        print(f"{n_versions} new versions: {page.processor() - first:.1f} s of the processor")
        print(f"{show_memory(page)}; load of the machine {os.getloadavg()[0]:.1f}")


def show_memory(page: Page) -> str:
    """Memory in words."""
    now, most = page.memory()
    return f"{now} MiB, at most {most} MiB"


def main() -> None:
    """Draw a run, unless it is there, and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, help="where the run is, or is kept")
    parser.add_argument("--layers", type=int, default=60)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--missing", type=int, default=16, help="chunks that come one by one")
    parser.add_argument("--every", type=float, default=2.5, help="seconds between two of them")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.run and options.run.parent) as scratch:
        run = options.run or Path(scratch) / "run"
        if not run.exists():
            draw_run(run, options.layers, options.steps)
        measure(Growing(run, Path(scratch) / "growing", options.missing), options.every)


if __name__ == "__main__":
    main()
