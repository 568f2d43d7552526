import re
import subprocess
import sys

import pytest

from tests.architecture.project import ROOT


def bench(*words):
    command = [sys.executable, str(ROOT / "benchmarks" / "overhead.py"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


@pytest.mark.slow
def test_the_overhead_benchmark_measures_and_writes(tmp_path):
    page = tmp_path / "page.md"
    done = bench(
        *("--pairs", 2, "--width", 4, "--batch", 2, "--threads", 1),
        *("--only", "noise,every1", "--write", page),
    )
    assert done.returncode == 0, done.stderr
    rows = [line for line in page.read_text().splitlines() if line.startswith("| ")][2:]
    assert [re.split(r" \| ", row)[0] for row in rows] == [
        "| plain again (noise floor)",
        "| deephochuli, every step",
    ]
    written = [re.search(r"(\d+) kB", row)[1] for row in rows]
    assert written[0] == "0"
    assert int(written[1]) > 0


@pytest.mark.slow
def test_an_unknown_contender_is_refused():
    done = bench("--only", "nobody")
    assert done.returncode != 0
    assert "unknown: nobody. Known: noise" in done.stderr
