"""Run folders of older versions, step by step: what each version changed, and nothing else.

A reader takes a folder of version v through the steps v -> v + 1 -> ... -> `SCHEMA_VERSION`; the
folder itself stays as it is. A step says two things: how the manifest of the older version becomes
one of the next, and in which file of a chunk of that version the columns lie.

Version 2 moved the lists of taps.parquet into sketches.parquet, sealed each chunk by a chunk.json
with checksums, and notes sessions and faults in the manifest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from deephochuli.store._schema import FILES, SCHEMA_VERSION, STEP, TAP_COLUMNS, Column

Data = dict[str, Any]


@dataclass(frozen=True, slots=True)
class FileLayout:
    """In which file of a chunk some columns lie.

    Attributes:
        file: Name of the file, without its suffix.
        columns: The columns that it has.
    """

    file: str
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class ChunkLayout:
    """What a chunk of one version is made of.

    Attributes:
        files: For each table that a reader asks for, the file that has it.
        is_sealed: The chunk has a chunk.json.
    """

    files: dict[str, FileLayout]
    is_sealed: bool


def _from_1(manifest: Data) -> Data:
    """Version 1 knew one session, which wrote every chunk, and noted no faults."""
    session = {"started": manifest.get("created"), "ended": manifest.get("ended")}
    session["reason"] = manifest.get("stopped")
    known = {name: value for name, value in session.items() if value is not None}
    return manifest | {"sessions": [known], "faults": []}


_STEPS: Final[dict[int, Callable[[Data], Data]]] = {1: _from_1}
_ALL_1 = FileLayout("taps", (STEP, *TAP_COLUMNS))
_LAYOUTS: Final[dict[int, ChunkLayout]] = {
    1: ChunkLayout(
        {
            "taps": _ALL_1,
            "sketches": _ALL_1,
            "rollup": FileLayout("rollup", FILES["rollup"]),
            "steps": FileLayout("steps", FILES["steps"]),
        },
        is_sealed=False,
    ),
    2: ChunkLayout(
        {name: FileLayout(name, columns) for name, columns in FILES.items()}, is_sealed=True
    ),
}


def migrate_manifest(manifest: Data, version: int) -> Data:
    """What a manifest of an older version is in the present one, but for its version."""
    for step in range(version, SCHEMA_VERSION):
        manifest = _STEPS[step](manifest)
    return manifest


def layout_of(version: int) -> ChunkLayout:
    """What a chunk of a version is made of."""
    return _LAYOUTS[version]
