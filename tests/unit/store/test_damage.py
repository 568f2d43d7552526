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
from tests.unit.store.seals import crc_of, reseal

FILES = ("taps", "sketches", "rollup", "steps")
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
    found += [ragged.rows() for ragged in reader.records([*LISTS]).lists.values()]
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
            SchemaVersionError, match=r"version is 7, this one reads up to 2. Update"
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
    def check(self, run, reason, *, sealed: bool = True):
        """The chunk is left out with one warning, and all else is said as before."""
        if sealed:
            reseal(run / CHUNK)
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
    def test_a_file_that_is_not_as_it_was_sealed(self, run, file):
        path = run / CHUNK / f"{file}.parquet"
        data = path.read_bytes()
        path.write_bytes(data + b"\0")
        with pytest.warns(DeepHochuliWarning, match="has .* bytes and had"):
            assert open_run(run).n_chunks == 2
        flip(path, len(data) // 2)
        path.write_bytes(path.read_bytes()[:-1])
        self.check(run, "its checksum does not agree", sealed=False)

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"run_id": "another"}, "run_id is another, not .* out of place"),
            ({"chunk": 0}, "chunk is 0, not 1: it is out of place"),
            ({"schema_version": 3}, "schema version is 3, this DeepHochuli reads up to 2"),
            ({"step_first": -1}, "-1 is no whole number"),
            ({"step_last": True}, "True is no whole number"),
            ({"n_steps": 0}, "its steps contradict each other"),
            ({"files": {}}, "seal does not name"),
            ({"files": []}, "chunk.json is damaged"),
            ({"more": 1}, "chunk.json is damaged"),
            ({"step_last": 10**9}, "its steps are not those of its seal"),
        ],
    )
    def test_a_seal_that_contradicts(self, run, change, reason):
        if "files" in change:
            write_seal(run / CHUNK, change)
        else:
            reseal(run / CHUNK, **change)
        self.check(run, reason, sealed=False)

    def test_a_seal_that_is_missing_or_no_seal(self, run):
        path = run / CHUNK / "chunk.json"
        text = path.read_text()
        for content in ("", "[]", "[" * 50_000, text.replace("1", "2", 1), text + " " * 70_000):
            path.write_text(content)
            with pytest.warns(DeepHochuliWarning, match="chunk.json is damaged"):
                assert open_run(run).n_chunks == 2
        path.unlink()
        self.check(run, "chunk.json is missing", sealed=False)

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
        self.check(run, "run_id is .* out of place")

    def test_a_file_of_a_newer_schema(self, run):
        path = run / CHUNK / "taps.parquet"
        table = pq.read_table(path)
        metadata = table.schema.metadata | {b"deephochuli.schema_version": b"3"}
        pq.write_table(table.replace_schema_metadata(metadata), path)
        self.check(run, "schema version is 3, this DeepHochuli reads up to 2")

    @pytest.mark.parametrize(
        ("file", "column", "values", "reason"),
        [
            ("sketches", "key", lambda rows: [row[:-1] for row in rows], "differ in length"),
            ("sketches", "key", lambda rows: [row[::-1] for row in rows], "not increase strictly"),
            (
                "sketches",
                "count",
                lambda rows: [[-c for c in row] for row in rows],
                "count below 1",
            ),
            ("sketches", "n", lambda rows: [n + 1 for n in rows], "does not add up to 'n'"),
            ("sketches", "step", lambda rows: [9 for _ in rows], "rows are not those of the taps"),
            ("sketches", "layer", lambda rows: ["stem" for _ in rows], "not those of the taps"),
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
        pq.write_table(table.drop_columns("n"), path)
        reseal(run / CHUNK)
        with pytest.warns(DeepHochuliWarning, match="has no column 'n'"):
            answers(run)
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
    rewrite(path / CHUNK / "sketches.parquet", replace_column("n", lambda rows: [9 for _ in rows]))
    reseal(path / CHUNK)
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


def write_seal(folder: Path, changes: dict) -> None:
    """A seal that says something else, with the right checksum of itself."""
    body = json.loads((folder / "chunk.json").read_text()) | changes
    body.pop("crc32")
    (folder / "chunk.json").write_text(json.dumps(body | {"crc32": crc_of(body)}))


def check_flips(run: Path, said: list[object], file: str, positions) -> int:
    """A flipped bit is noticed, or changes nothing that is said. Returns how many were noticed.

    The chunk is sealed again, so that it is not the checksum that notices.
    """
    path = run / CHUNK / f"{file}.parquet"
    original = path.read_bytes()
    noticed = 0
    for position in positions:
        flip(path, position)
        reseal(run / CHUNK)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = answers(run)
        path.write_bytes(original)
        reseal(run / CHUNK)
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
