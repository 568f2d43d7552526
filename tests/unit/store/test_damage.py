"""A run that is missing, foreign, damaged or newer: a clear error, or a chunk is left out."""

import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deephochuli.errors import DeepHochuliWarning, SchemaVersionError, StoreError
from deephochuli.store import RunReader, StepRow, open_run
from deephochuli.store._tables import open_writer
from tests.unit.store.drawn import draw_run, tap_row, write_run

FILES = ("taps", "rollup", "steps")
CHUNK = "chunk-000001"
LISTS = ("key", "count", "ratio", "ratio_count", "positive", "zero", "nonfinite")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of three chunks with two steps each."""
    return write_run(
        tmp_path_factory.mktemp("whole") / "run", draw_run(6, n_layers=2), chunk_steps=2
    )


@pytest.fixture(scope="module")
def said(whole):
    """All that the undamaged run says."""
    return answers(whole)


@pytest.fixture
def run(whole, tmp_path):
    """A copy to be damaged."""
    shutil.copytree(whole, tmp_path / "run")
    return tmp_path / "run"


def answers(path: Path) -> list[object]:
    """Everything that a reader says, as plain values, once it has seen all damage there is."""
    reader = open_run(path)
    ask(reader)
    return json.loads(json.dumps(ask(reader), default=_plain))


def ask(reader: RunReader) -> list[object]:
    rollups = reader.rollups([*LISTS])
    found: list[object] = [reader.steps, reader.all_scalars(), rollups.numbers, rollups.chunk]
    found += [ragged.rows() for ragged in rollups.lists.values()]
    for tap in reader.taps():
        steps, pairs = reader.history(tap.layer, tap.quantity)
        found += [tap, steps, pairs]
    return [*found, [damage.chunk for damage in reader.damaged]]


def _plain(value: object) -> object:
    return value.tolist() if isinstance(value, np.ndarray) else repr(value)


def rewrite(path: Path, change) -> None:
    """Write a file again after a change to its table, with all our metadata."""
    table = pq.read_table(path)
    metadata = {k.decode(): v.decode() for k, v in table.schema.metadata.items()}
    table = change(table)
    with path.open("wb") as file, open_writer(file, path.stem, metadata) as writer:
        writer.write_table(table.cast(writer.schema))


def replace_column(name: str, values: list):
    def change(table: pa.Table) -> pa.Table:
        index = table.schema.get_field_index(name)
        field = table.schema.field(index)
        return table.set_column(index, field, pa.array(values(table[name].to_pylist()), field.type))

    return change


class TestNoRun:
    def test_a_missing_folder(self, tmp_path):
        with pytest.raises(StoreError, match=r"There is no run folder .*nowhere\. Give the folder"):
            open_run(tmp_path / "nowhere")

    def test_a_file(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(StoreError, match="is a file, not a run folder"):
            open_run(tmp_path / "file")

    def test_an_empty_and_a_foreign_folder(self, tmp_path):
        (tmp_path / "notes.txt").touch()
        with pytest.raises(StoreError, match=r"not a run folder: it has no manifest\.json"):
            open_run(tmp_path)

    def test_a_run_without_its_manifest(self, run):
        (run / "manifest.json").unlink()
        with pytest.raises(StoreError, match=r"damaged run folder: manifest\.json is missing"):
            open_run(run)

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("", "is not JSON"),
            ("{", "is not JSON"),
            ("\xff", "is not JSON"),
            ("[" * 100_000, "is not JSON"),
            ("[]", "holds no JSON object"),
            ('{"name": "a web page", "icons": []}', "not a run folder of DeepHochuli"),
            ('{"schema_version": "1"}', "not a run folder of DeepHochuli"),
            ('{"schema_version": true}', "not a run folder of DeepHochuli"),
            ('{"schema_version": 1, "seed": "x", "n_threads": []}', "damaged: .*seed.*n_threads|"),
        ],
    )
    def test_a_manifest_that_is_damaged_or_foreign(self, run, text, reason):
        (run / "manifest.json").write_text(text, "latin-1")
        with pytest.raises(StoreError, match=reason) as caught:
            open_run(run)
        assert str(run) in str(caught.value)

    def test_a_manifest_cut_short(self, run):
        text = (run / "manifest.json").read_bytes()
        for size in range(0, len(text), 37):
            (run / "manifest.json").write_bytes(text[:size])
            with pytest.raises(StoreError, match=r"manifest\.json is damaged"):
                open_run(run)

    def test_a_newer_schema(self, run):
        data = json.loads((run / "manifest.json").read_text())
        (run / "manifest.json").write_text(json.dumps(data | {"schema_version": 7, "seed": []}))
        with pytest.raises(
            SchemaVersionError, match=r"version is 7, this one reads up to 1. Update"
        ):
            open_run(run)

    def test_a_manifest_with_fields_of_another_version(self, run):
        data = json.loads((run / "manifest.json").read_text())
        data |= {"weather": "fine", "extra": {"a": 1}}
        (run / "manifest.json").write_text(json.dumps(data))
        assert open_run(run).manifest.extra == {"weather": "fine", "a": 1}

    def test_a_tap_that_is_not_there(self, run):
        reader = open_run(run)
        with pytest.raises(StoreError, match=r"no tap .stem., quantity .q.\. This layer has: dw"):
            reader.whole("stem", "q")
        with pytest.raises(StoreError, match=r"no tap 'x', quantity 'z'. See taps\(\)"):
            reader.history("x", "z")


class TestDamagedChunks:
    def check(self, run, reason):
        """The chunk is left out with one warning, and all else is said as before."""
        with pytest.warns(DeepHochuliWarning, match=reason) as caught:
            found = answers(run)
        assert len(caught) == 1
        assert "The run is read without chunk-000001." in str(caught[0].message)
        shutil.rmtree(run / CHUNK)
        with pytest.warns(DeepHochuliWarning, match="chunk-000001 is missing"):
            assert found == answers(run)
        assert len(found[0]["step"]) == 4

    @pytest.mark.parametrize("file", FILES)
    @pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
    def test_a_file_cut_short(self, run, file, share):
        path = run / CHUNK / f"{file}.parquet"
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])
        self.check(run, f"{file}.parquet is damaged or")

    @pytest.mark.parametrize("file", FILES)
    def test_a_missing_file(self, run, file):
        (run / CHUNK / f"{file}.parquet").unlink()
        self.check(run, f"{file}.parquet is missing")

    @pytest.mark.parametrize("file", FILES)
    def test_a_file_of_another_chunk(self, run, file):
        shutil.copy(run / "chunk-000000" / f"{file}.parquet", run / CHUNK)
        self.check(run, "deephochuli.chunk is 0, not 1: it is out of place")

    def test_a_file_of_another_kind(self, run):
        shutil.copy(run / CHUNK / "rollup.parquet", run / CHUNK / "taps.parquet")
        self.check(run, "deephochuli.file is rollup, not taps")

    def test_a_chunk_of_another_run(self, run, tmp_path):
        other = write_run(tmp_path / "other", draw_run(6, seed=1, n_layers=2), chunk_steps=2)
        shutil.rmtree(run / CHUNK)
        shutil.copytree(other / CHUNK, run / CHUNK)
        self.check(run, "deephochuli.run_id is .* out of place")

    def test_a_file_of_a_newer_schema(self, run):
        path = run / CHUNK / "taps.parquet"
        table = pq.read_table(path)
        metadata = table.schema.metadata | {b"deephochuli.schema_version": b"2"}
        pq.write_table(table.replace_schema_metadata(metadata), path)
        self.check(run, "schema version is 2, this DeepHochuli reads up to 1")

    @pytest.mark.parametrize(
        ("file", "column", "values", "reason"),
        [
            ("taps", "key", lambda rows: [row[:-1] for row in rows], "differ in length"),
            ("taps", "key", lambda rows: [row[::-1] for row in rows], "not increase strictly"),
            ("taps", "count", lambda rows: [[-c for c in row] for row in rows], "count below 1"),
            ("taps", "n", lambda rows: [n + 1 for n in rows], "does not add up to 'n'"),
            ("taps", "layer", lambda rows: ["elsewhere" for _ in rows], "is in no rollup"),
            ("rollup", "count", lambda rows: [[c + 1 for c in r] for r in rows], "add up to 'n'"),
            ("rollup", "zero", lambda rows: [r and r[1:] for r in rows], "differ in length"),
            ("rollup", "zero", lambda rows: [r and [-1] * 4 for r in rows], "negative count"),
            ("rollup", "positive", lambda rows: [r and [999] * 4 for r in rows], "n_per_channel"),
            ("rollup", "ratio", lambda rows: [r and r[::-1] for r in rows], "increase strictly"),
            ("steps", "step", lambda rows: rows[::-1], "steps do not increase"),
        ],
    )
    def test_columns_that_contradict_each_other(self, run, file, column, values, reason):
        rewrite(run / CHUNK / f"{file}.parquet", replace_column(column, values))
        self.check(run, reason)

    def test_a_missing_column_and_a_column_of_another_type(self, run):
        path = run / CHUNK / "taps.parquet"
        table = pq.read_table(path)
        pq.write_table(table.drop_columns("key"), path)
        with pytest.warns(DeepHochuliWarning, match="has no column 'key'"):
            open_run(run)
        text = table.set_column(
            table.schema.get_field_index("n"), "n", table["n"].cast(pa.string())
        )
        pq.write_table(text, path)
        self.check(run, "column 'n' holds string, not int64")

    def test_a_missing_chunk_in_the_middle_and_at_the_end(self, run):
        shutil.rmtree(run / CHUNK)
        shutil.rmtree(run / "chunk-000002")
        with pytest.warns(DeepHochuliWarning, match="is missing") as caught:
            reader = open_run(run)
        assert [damage.chunk for damage in reader.damaged] == [CHUNK, "chunk-000002"]
        assert len(caught) == 2
        assert reader.n_chunks == 1

    def test_all_chunks_damaged(self, run):
        for path in run.rglob("steps.parquet"):
            path.write_bytes(b"PAR1")
        with pytest.warns(DeepHochuliWarning, match="damaged"):
            reader = open_run(run)
        assert (len(reader.damaged), reader.taps(), len(reader.steps["step"])) == (3, [], 0)

    def test_things_that_are_no_chunks_are_passed_over(self, run, said):
        shutil.copytree(run / CHUNK, run / ".draft-chunk-000003")
        shutil.copytree(run / CHUNK, run / "chunk-7")
        (run / "report.html").touch()
        assert answers(run) == said


def test_taps_are_numbered_anew_when_a_chunk_is_dropped(tmp_path):
    """Only the damaged chunk has the first tap: all others move up."""
    values = np.ones((1, 1))
    later = [tap_row(values * i, layer=f"layer{i}", order=i) for i in (1, 2)]
    first = tap_row(values, layer="layer0", order=0)
    run = [(StepRow(step=i, wall_s=0.0), [*later, first][: 2 + (i == 1)]) for i in range(3)]
    path = write_run(tmp_path / "run", run, chunk_steps=1)
    rewrite(path / CHUNK / "taps.parquet", replace_column("n", lambda rows: [9 for _ in rows]))
    reader = open_run(path)
    assert [tap.layer for tap in reader.taps()] == ["layer0", "layer1", "layer2"]
    assert reader.scalars("layer2", "z")["max_abs"].tolist() == [2.0, 2.0, 2.0]
    with pytest.warns(DeepHochuliWarning, match="does not add up to 'n'"):
        steps, pairs = reader.history("layer2", "z")
    assert steps.tolist() == [0, 2]
    assert [key.tolist() for key, _ in pairs] == [later[1].key.tolist()] * 2
    assert [tap.layer for tap in reader.taps()] == ["layer1", "layer2"]
    with pytest.raises(StoreError, match="has no tap 'layer0'"):
        reader.history("layer0", "z")


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 0x10
    path.write_bytes(data)


def check_flips(run: Path, said: list[object], file: str, positions) -> int:
    """A flipped bit is noticed, or changes nothing that is said. Returns how many were noticed."""
    path = run / CHUNK / f"{file}.parquet"
    original = path.read_bytes()
    noticed = 0
    for position in positions:
        flip(path, position)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = answers(run)
        path.write_bytes(original)
        noticed += bool(caught)
        assert caught or found == said, f"byte {position} of {len(original)}"
    return noticed


@pytest.mark.parametrize("file", FILES)
def test_a_flipped_bit_in_a_page_is_noticed(run, said, file):
    path = run / CHUNK / f"{file}.parquet"
    footer = int.from_bytes(path.read_bytes()[-8:-4], "little") + 8
    body = path.stat().st_size - footer
    positions = np.random.default_rng(0).integers(4, body, 5)
    assert check_flips(run, said, file, positions.tolist()) >= 3


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES)
def test_flipped_bits_everywhere(run, said, file):
    size = (run / CHUNK / f"{file}.parquet").stat().st_size
    positions = np.random.default_rng(1).choice(size, 150, replace=False)
    assert check_flips(run, said, file, positions.tolist()) > 75
