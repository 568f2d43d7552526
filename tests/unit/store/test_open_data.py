"""A run folder is open data: tools that know nothing of us read it, with names, types and units."""

import dataclasses

import numpy as np
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from deephochuli.store import SCHEMA_VERSION, STEP_COLUMNS, TAP_COLUMNS, TapRow
from deephochuli.store._answers import TapInfo
from tests.unit.store.drawn import draw_run, rows_by_tap, write_run


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    run = draw_run(9)
    path = write_run(tmp_path_factory.mktemp("open") / "run", run, chunk_steps=4)
    (path / ".draft-chunk-000003").mkdir()
    (path / ".draft-chunk-000003" / "taps.parquet").write_bytes(b"half a file")
    return run, path


def totals(run) -> dict[tuple[str, str], int]:
    """Elements of each tap over the run."""
    return {name: 100 * len(pairs) for name, pairs in rows_by_tap(run).items()}


def test_pyarrow_dataset(written):
    run, path = written
    files = [str(p) for p in sorted(path.glob("chunk-*/sketches.parquet"))]
    table = ds.dataset(files).to_table(filter=ds.field("quantity") == "dw")
    assert table.num_rows == sum(row.quantity == "dw" for _, rows in run for row in rows)
    keys = {tuple(row.key.tolist()) for _, rows in run for row in rows if row.quantity == "dw"}
    assert {tuple(key) for key in table["key"].to_pylist()} == keys


def test_pandas(written):
    pandas = pytest.importorskip("pandas")
    run, path = written
    frame = pandas.concat(pandas.read_parquet(p) for p in sorted(path.glob("chunk-*/taps.parquet")))
    sums = frame.groupby(["layer", "quantity"])["n"].sum()
    assert {name: int(n) for name, n in sums.items() if n} == totals(run)


def test_duckdb(written):
    duckdb = pytest.importorskip("duckdb")
    run, path = written
    source = f"'{path}/chunk-*/sketches.parquet'"
    query = f"select layer, quantity, sum(list_sum(count)) from {source} group by all"
    assert {(a, b): int(n) for a, b, n in duckdb.sql(query).fetchall()} == totals(run)


def test_polars(written):
    polars = pytest.importorskip("polars")
    run, path = written
    frame = polars.read_parquet(f"{path}/chunk-*/rollup.parquet")
    frame = frame.with_columns(polars.col("layer", "quantity").cast(polars.String))
    sums = frame.group_by("layer", "quantity").agg(polars.col("count").list.sum().sum())
    assert {(a, b): n for a, b, n in sums.rows()} == totals(run)


def test_files_say_what_they_are_and_null_is_not_nan(written):
    _, path = written
    for file in ("taps", "sketches", "rollup", "steps"):
        metadata = pq.read_schema(path / "chunk-000001" / f"{file}.parquet").metadata
        assert metadata[b"deephochuli.schema_version"] == str(SCHEMA_VERSION).encode()
        assert metadata[b"deephochuli.file"] == file.encode()
        assert metadata[b"deephochuli.chunk"] == b"1"
    steps = pq.read_table(path / "chunk-000000" / "steps.parquet")
    assert steps["loss"].to_pylist()[:2] == [2.5, None]
    assert np.isnan(steps["loss"][2].as_py())
    taps = pq.read_table(path / "chunk-000000" / "taps.parquet").to_pylist()
    assert {row["n_unmoved"] is None for row in taps if row["quantity"] == "dw"} == {False}
    assert {row["n_unmoved"] for row in taps if row["quantity"] != "dw"} == {None}


def test_rows_of_a_tap_lie_together_in_the_order_of_steps(written):
    _, path = written
    for file in sorted(
        [*path.glob("chunk-*/taps.parquet"), *path.glob("chunk-*/sketches.parquet")]
    ):
        rows = pq.read_table(file, columns=["layer", "quantity", "step"]).to_pylist()
        names = [(row["layer"], row["quantity"]) for row in rows]
        runs = [name for i, name in enumerate(names) if not i or names[i - 1] != name]
        assert len(runs) == len(set(runs))
        for name in runs:
            steps = [r["step"] for r, n in zip(rows, names, strict=True) if n == name]
            assert steps == sorted(set(steps))


def test_every_column_is_described_and_every_field_is_a_column():
    for column in (*TAP_COLUMNS, *STEP_COLUMNS):
        assert column.meaning
        assert column.unit or column.kind in ("text", "bool") or column.name in ("order", "lr")
    names = {column.name for column in TAP_COLUMNS}
    assert {field.name for field in dataclasses.fields(TapRow)} <= names
    assert {field.name for field in dataclasses.fields(TapInfo)} <= names | {"n_records"}
