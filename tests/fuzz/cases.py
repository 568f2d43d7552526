"""One case of the fuzzer: a run folder, spoiled in one of many ways, and everything asked of it."""

import json
import os
import random
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deephochuli.errors import StoreError
from deephochuli.store import Manifest, RunReader, RunWriter, StepRow, open_run
from deephochuli.store._chunks import ChunkReader
from tests.fuzz.mutations import (
    BYTES,
    LIES,
    PARQUET,
    Files,
    bomb,
    flip_bits,
    overwrite,
    seal,
    spoil_json,
    write_seal,
)
from tests.unit.store.drawn import tap_row

RUN_ID = "0" * 32
CHUNK = "chunk-000000"
LISTS = ("key", "count", "ratio", "ratio_count", "positive", "zero", "nonfinite")
GOLDEN = Path(__file__).parents[1] / "unit" / "store" / "golden" / "v1"


@dataclass
class Ground:
    """A folder in which runs are spoiled, and what they are before.

    Attributes:
        run: The run folder.
        files: Its files: those of the chunk, and manifest.json.
        version: Its schema version.
    """

    run: Path
    files: Files
    version: int

    def path(self, name: str) -> Path:
        """Where a file belongs."""
        return self.run / name if name == "manifest.json" else self.run / CHUNK / name

    def put(self, files: Files) -> None:
        """Write what differs from the whole run."""
        for name, data in files.items():
            if data is not self.files.get(name):
                self.path(name).write_bytes(data)

    def restore(self, files: Files) -> None:
        """Undo `put`."""
        for name, data in self.files.items():
            if files.get(name) is not data:
                self.path(name).write_bytes(data)


def make_grounds(folder: Path) -> list[Ground]:
    """A tiny run of the present version, and one chunk of the golden one of version 1."""
    rng = np.random.default_rng(0)
    with RunWriter(folder / "v2", Manifest(run_id=RUN_ID), chunk_steps=2) as writer:
        for step in range(2):
            z = tap_row(rng.standard_normal((2, 4)), channels=True)
            more: dict[str, Any] = {"n_updatable": 4, "n_unmoved": 1}
            more |= {"ratio": np.array([-9, -3], np.int16), "ratio_count": np.array([1, 2])}
            dw = tap_row(rng.standard_normal((1, 4)), quantity="dw", **more)
            writer.append(StepRow(step=step, wall_s=0.0, loss=1.0), [z, dw])
    shutil.copytree(GOLDEN, folder / "v1")
    shutil.rmtree(folder / "v1" / "chunk-000001")
    manifest = json.loads((folder / "v1" / "manifest.json").read_text())
    (folder / "v1" / "manifest.json").write_text(json.dumps(manifest | {"n_chunks": 1}))
    return [_ground(folder / "v2", 2), _ground(folder / "v1", 1)]


def _ground(run: Path, version: int) -> Ground:
    names = [path.name for path in (run / CHUNK).iterdir()]
    files = {name: (run / CHUNK / name).read_bytes() for name in sorted(names)}
    files["manifest.json"] = (run / "manifest.json").read_bytes()
    return Ground(run, files, version)


def run_case(grounds: list[Ground], number: int, seed: int) -> str:
    """Spoil a run and read all of it.

    Returns:
        "refused" if it is said that something is wrong, "read" if not.

    Raises:
        Exception: Anything but a `StoreError`: the reader is at fault.
    """
    rng = random.Random(seed << 40 | number)
    ground = grounds[0] if rng.random() < 0.95 else grounds[1]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            is_whole = _pick(rng)(ground, rng)
        except StoreError:
            return "refused"
    return "refused" if said or not is_whole else "read"


def _pick(rng: random.Random) -> Callable[[Ground, random.Random], bool]:
    kinds = (_spoil_file, _spoil_sealed, _lie, _spoil_texts, _spoil_paths, _explode)
    return rng.choices(kinds, (22, 38, 26, 12, 1.5, 0.5))[0]


def _spoil_file(ground: Ground, rng: random.Random) -> bool:
    """Bytes change as a disk or a network changes them: the seal does not know."""
    name = rng.choice(sorted(ground.files))
    files = ground.files | {name: rng.choice(BYTES)(ground.files[name], rng)}
    return _with(ground, files, lambda: _ask_about(ground, name, rng))


def _spoil_sealed(ground: Ground, rng: random.Random) -> bool:
    """Bytes change as somebody changes them on purpose: the seal agrees."""
    return _change(ground, rng, rng.choice(BYTES))


def _lie(ground: Ground, rng: random.Random) -> bool:
    """Well-formed footers and page headers say what is not so."""
    return _change(ground, rng, rng.choice(LIES))


def _explode(ground: Ground, rng: random.Random) -> bool:
    return _change(ground, rng, bomb)


def _change(
    ground: Ground, rng: random.Random, change: Callable[[bytes, random.Random], bytes]
) -> bool:
    name = rng.choice([name for name in PARQUET if name in ground.files])
    files = ground.files | {name: change(ground.files[name], rng)}
    if ground.version > 1:
        seal(files)
    return _with(ground, files, lambda: _ask_about(ground, name, rng))


def _spoil_texts(ground: Ground, rng: random.Random) -> bool:
    """The JSON files say what is not so, or are no JSON."""
    files = dict(ground.files)
    name = rng.choice([name for name in ("manifest.json", "chunk.json") if name in files])
    if rng.random() < 0.2:
        files[name] = rng.choice((flip_bits, overwrite))(files[name], rng)
    elif name == "manifest.json":
        files[name] = json.dumps(spoil_json(files[name], rng)).encode()
    else:
        body = spoil_json(files[name], rng)
        body.pop("crc32", None)
        write_seal(files, body)
    return _with(ground, files, lambda: _ask_about(ground, name, rng))


def _spoil_paths(ground: Ground, rng: random.Random) -> bool:
    """A file or a folder is something else, or there are others beside it."""
    run = ground.run.with_name("paths")
    shutil.copytree(ground.run, run)
    target = run / CHUNK
    if rng.random() < 0.8:
        target = ground.path(rng.choice(sorted(ground.files)))
        target = run / target.relative_to(ground.run)
    try:
        rng.choice((_replace, _replace, _add_beside))(target, rng)
        return _ask_run(run)
    finally:
        shutil.rmtree(run)


def _replace(target: Path, rng: random.Random) -> None:
    if target.is_dir():
        shutil.rmtree(target)
    else:
        target.unlink()
    kind = rng.randrange(5)
    if kind == 0:
        target.mkdir()
    elif kind == 1:
        os.mkfifo(target)
    elif kind == 2:
        links = (target.name, "..", "/dev/zero", "/dev/null", "/proc/self/environ", "no/where")
        target.symlink_to(rng.choice(links))
    elif kind == 3:
        with target.open("wb") as file:
            file.truncate(rng.choice((0, 1, 1 << 20, 1 << 40)))


def _add_beside(target: Path, rng: random.Random) -> None:
    run = target.parent if target.name == "manifest.json" else target.parent.parent
    if target.name == CHUNK:
        run = target.parent
    name = rng.choice(
        (
            *("chunk-999999999", "chunk-9999999999999999999", "chunk-000001", "chunk-0000000"),
            *(
                "chunk-00000a",
                "..\\chunk-000001",
                "chunk-000001\n",
                "chunk-\u0660\u0661\u0662\u0663\u0664\u0665",
                "-rf",
                "~",
            ),
        )
    )
    if rng.random() < 0.5:
        shutil.copytree(run / CHUNK, run / name)
    else:
        (run / name).write_bytes(b"x")


def _with(ground: Ground, files: Files, ask: Callable[[], bool]) -> bool:
    ground.put(files)
    try:
        return ask()
    finally:
        ground.restore(files)


def _ask_about(ground: Ground, name: str, rng: random.Random) -> bool:
    """All that a spoiled file has to do with; now and then, all there is."""
    if rng.random() < 0.05:
        return _ask_run(ground.run)
    if name in PARQUET:
        return _ask_chunk(ground, name.partition(".")[0])
    reader = open_run(ground.run)
    assert len(reader.steps) > 1
    return not reader.damaged


def _ask_chunk(ground: Ground, table: str) -> bool:
    """Everything that a reader asks of one file of a chunk."""
    run_id = json.loads(ground.files["manifest.json"])["run_id"]
    chunk = ChunkReader(ground.run / CHUNK, 0, run_id, ground.version)
    index = {("stem", "z"): 0, ("stem", "dw"): 1, ("stem", "dz"): 2, ("stem", "w"): 3}
    if table == "steps":
        chunk.steps()
        return True
    if table == "taps" and ground.version == 1:
        chunk.rows(("step", "n", *LISTS))
    names = [name for name in chunk._files[table].columns if name not in ("layer", "quantity")]
    chunk.tap_of_row(table, index)
    chunk.columns(table, names)
    return True


def _ask_run(path: Path) -> bool:
    """Everything that a reader answers."""
    reader = open_run(path)
    _ask(reader)
    return not reader.damaged


def _ask(reader: RunReader) -> None:
    numbers = [reader.steps, reader.all_scalars(), reader.rollups(LISTS), reader.records(LISTS)]
    assert numbers
    for tap in reader.taps()[:2]:
        reader.history(tap.layer, tap.quantity)
        reader.whole(tap.layer, tap.quantity)
        reader.channels(tap.layer, tap.quantity)
        reader.scalars(tap.layer, tap.quantity)
