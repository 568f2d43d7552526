"""Folders made to do harm: each is refused at once, and takes neither memory nor time."""

import json
import os
import random
import resource
import shutil
import sys
import time

import numpy as np
import pytest

from deephochuli.errors import DeepHochuliWarning, StoreError
from deephochuli.store import _parquet, open_run
from deephochuli.store._cover import gaps
from tests.fuzz import thrift
from tests.fuzz.mutations import bomb
from tests.unit.store.drawn import draw_run, write_run
from tests.unit.store.seals import reseal
from tests.unit.store.test_damage import ask

CHUNK = "chunk-000001"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("whole") / "run", draw_run(4), chunk_steps=2)


@pytest.fixture
def run(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture(autouse=True)
def _costs_nothing():
    """Less than 5 s of CPU time, and no new peak of memory worth the name."""
    before, began = peak(), time.process_time()
    yield
    assert time.process_time() - began < 5
    assert peak() - before < 300e6


def peak() -> float:
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


def check(run, reason):
    reseal(run / CHUNK)
    reader = open_run(run)
    with pytest.warns(DeepHochuliWarning, match=reason):
        ask(reader)
    assert reader.n_chunks == 1


def change_footer(path, change) -> None:
    """Let the footer of a file say something else, well-formed."""
    data = path.read_bytes()
    size = int.from_bytes(data[-8:-4], "little")
    fields, _ = thrift.read(data[-8 - size : -8])
    change(fields)
    footer = thrift.write(fields)
    path.write_bytes(data[: -8 - size] + footer + len(footer).to_bytes(4, "little") + b"PAR1")


def first_column(fields) -> dict:
    return fields[4][1][1][0][1][1][1][0][3][1]


@pytest.mark.parametrize("seed", range(8))
def test_a_page_that_unpacks_to_a_gigabyte(run, seed):
    path = run / CHUNK / "sketches.parquet"
    path.write_bytes(bomb(path.read_bytes(), random.Random(seed)))
    check(run, r"sketches\.parquet is damaged")


def test_a_file_that_unpacks_to_more_than_it_may(run, monkeypatch):
    monkeypatch.setattr(_parquet, "MEMORY_ANY_FILE_MAY_TAKE", 0)
    monkeypatch.setattr(_parquet, "MEMORY_PER_BYTE", 0.1)
    with pytest.warns(DeepHochuliWarning, match=r"bytes would become .* in memory"):
        assert len(open_run(run).steps["step"]) == 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda f: first_column(f).update({4: (5, 99)}), "packed in a way that we never use"),
        (lambda f: first_column(f).update({4: (5, 5)}), "packed in a way that we never use"),
        (lambda f: first_column(f).update({5: (6, 1 << 40)}), "larger than it can be"),
        (lambda f: first_column(f).update({5: (6, -1)}), "larger than it can be"),
        (lambda f: first_column(f).update({9: (6, 1 << 40)}), "outside of the file"),
        (lambda f: first_column(f).update({9: (6, -5)}), "outside of the file"),
        (lambda f: first_column(f).update({1: (5, 3)}), "not what the schema says"),
        (lambda f: f.update({3: (6, 1 << 40)}), "another number of rows"),
        (lambda f: f[4][1][1][0].update({3: (6, -1)}), "another number of rows or columns"),
        (lambda f: f[4][1][1][0][1][1][1][0].update({1: (8, b"/dev/zero")}), "in another file"),
        (lambda f: f[2][1][1].extend([f[2][1][1][1]] * 2000), "list that is too long"),
        (lambda f: f[2][1][1].extend([f[2][1][1][1]] * 300), "its schema has"),
        (lambda f: f.update({8: (12, {})}), "not one of ours"),
        (lambda f: f.pop(4), "lacks something"),
    ],
)
def test_footers_that_lie(run, change, reason):
    change_footer(run / CHUNK / "taps.parquet", change)
    check(run, reason)


def test_a_schema_of_a_thousand_levels(run):
    def deepen(fields):
        root, *_ = elements = fields[2][1][1]
        level = {**elements[1], 5: (5, 1)}
        level.pop(1)
        elements[1:] = [level] * 200 + [elements[1]]
        root[5] = (5, 1)

    change_footer(run / CHUNK / "taps.parquet", deepen)
    check(run, "taps.parquet is damaged")


def test_a_file_of_a_terabyte_of_nothing(run):
    with (run / CHUNK / "steps.parquet").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.warns(DeepHochuliWarning, match="has 1,099,511,627,776 bytes and had"):
        assert open_run(run).n_chunks == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("name", ["manifest.json", f"{CHUNK}/chunk.json", f"{CHUNK}/taps.parquet"])
def test_pipes_and_devices_and_circles(run, name):
    path = run / name
    for make in (os.mkfifo, lambda p: p.symlink_to("/dev/zero"), lambda p: p.symlink_to(p.name)):
        path.unlink()
        make(path)
        if name == "manifest.json":
            with pytest.raises(StoreError):
                open_run(run)
        else:
            with pytest.warns(DeepHochuliWarning, match="read without chunk-000001"):
                assert open_run(run).n_chunks == 1


def test_a_chunk_that_is_far_away(run):
    """A number says how many chunks should be there: a lie must not be counted to."""
    shutil.copytree(run / CHUNK, run / "chunk-999999999")
    with pytest.warns(DeepHochuliWarning) as caught:
        reader = open_run(run)
    assert [damage.chunk for damage in reader.damaged] == [
        "chunk-999999999",
        "chunk-000002 to chunk-999999998",
    ]
    assert len(caught) == 2
    assert list(gaps([0, 1], 10**9)) == [(2, 10**9 - 1)]
    assert list(gaps([3], 0)) == [(0, 0), (1, 1), (2, 2)]


@pytest.mark.parametrize(
    "change",
    [
        {"n_chunks": 10**18},
        {"n_chunks": -1},
        {"n_chunks": 1e300},
        {"extra": [1]},
        {"sessions": [{}] * 100_000 + [3]},
        {"dtypes": {str(i): i for i in range(300_000)}},
        {"command": [[]] * 1_500_000},
        {"schema_version": 10**4000},
        {"schema_version": 0},
        {"run_id": None},
    ],
    ids=lambda change: next(iter(change)),
)
def test_manifests_that_lie(run, change):
    data = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps(data | change))
    with pytest.raises(StoreError) as caught:
        open_run(run)
    assert len(str(caught.value)) < 2000


def test_a_number_of_ten_thousand_digits_and_a_text_in_another_encoding(run):
    text = (run / "manifest.json").read_text()
    (run / "manifest.json").write_text(text.replace('"seed": null', '"seed": ' + "9" * 10_000))
    with pytest.raises(StoreError, match="is not JSON"):
        open_run(run)
    (run / "manifest.json").write_bytes(text.encode("utf-16"))
    with pytest.raises(StoreError, match="is not JSON"):
        open_run(run)


def test_a_question_that_asks_for_too_much_says_so(run, monkeypatch):
    monkeypatch.setattr("deephochuli.store._reader.most_memory", lambda n_bytes: 2000)
    reader = open_run(run)
    with pytest.raises(StoreError, match="cannot be read at once"):
        reader.records()
    assert reader.n_chunks == 2
    assert not reader.damaged
    assert np.all(np.diff(reader.steps["step"]) > 0)
