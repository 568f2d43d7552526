"""A long run of a deep model still makes a page that opens at once."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time

import numpy as np
import pytest

from deephochuli.report import _read
from deephochuli.report._codes import Blob
from deephochuli.report._payload import build_payload
from deephochuli.report._read import read_run
from deephochuli.report._run import add_run
from deephochuli.store import open_run
from tests.e2e.large_run import write_large_run
from tests.e2e.synthetic import Shape, write_run
from tests.unit.report.node import call_all

MOST_BYTES = 5_000_000
MOST_SECONDS = 3.0


def arrays_of(blob: Blob) -> dict[str, list[float]]:
    (arrays,) = call_all("payload", [("unpackPlain", [blob.to_base64(), blob.directory])])
    return arrays


def test_a_long_run_is_read_from_its_chunks_with_the_same_totals(tmp_path, monkeypatch):
    folder = write_run(
        tmp_path / "run", Shape(layers=("a", "b"), n_steps=40, n_elements=120, n_channels=6)
    )
    packed = []
    for limit in (10**9, 0):
        monkeypatch.setattr(_read, "MOST_ROWS_READ_IN_FULL", limit)
        blob = Blob()
        part = add_run(blob, "0.", read_run(open_run(folder), "run", most_cells=10**6))
        packed.append((part, arrays_of(blob)))
    (fine, fine_arrays), (coarse, coarse_arrays) = packed
    assert len(fine["bins"]["first"]) == 40
    assert len(coarse["bins"]["first"]) == 2  # chunks of 32 steps
    assert coarse["bins"]["n"] == [32, 8]
    assert fine["columns"] == coarse["columns"]
    assert fine["units"] == coarse["units"]
    for name, values in fine_arrays.items():
        if re.search(r"sketch|series|ratio\.(?!bins)|total\.(min|max|n_)|steps", name):
            assert np.array_equal(values, coarse_arrays[name], equal_nan=True), name
        elif "total" in name:
            assert np.allclose(values, coarse_arrays[name], rtol=1e-12), name


def test_the_time_axes_are_bounded(tmp_path):
    folder = write_run(
        tmp_path / "run",
        Shape(layers=("a",), quantities=("w",), n_steps=450, n_elements=24, n_channels=2),
    )
    tables = read_run(open_run(folder), "run", most_cells=10**6)
    assert len(tables.columns) == 200
    assert len(tables.bins) == 48
    assert int(tables.columns.n.sum()) == int(tables.bins.n.sum()) == 450
    few = read_run(open_run(folder), "run", most_cells=30)
    assert len(few.columns) == 30


@pytest.mark.slow
def test_a_hundred_layers_and_a_thousand_steps_open_in_three_seconds(tmp_path):
    """From the folder to the page, the start of Python included, in a process of its own.

    The least of five, so that a machine that is busy for a moment does not fail the test.
    """
    folder = write_large_run(tmp_path / "large", n_layers=100, n_steps=1000)
    page = tmp_path / "page.html"
    command = [sys.executable, "-m", "deephochuli", "report", str(folder), "--html", str(page)]
    assert min(seconds_of(command) for _ in range(5)) < MOST_SECONDS
    assert page.stat().st_size < MOST_BYTES
    payload, _ = build_payload([open_run(folder)], ["large"], "large")
    assert len(payload["runs"][0]["taps"]) == 900  # 800 recorded, 100 activations derived
    assert len(json.dumps(payload)) < 500_000


def seconds_of(command: list[str]) -> float:
    began = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    return time.monotonic() - began
