"""chunk.json: what a chunk holds, and a checksum of each of its files."""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from deephochuli.errors import StoreError
from deephochuli.store._files import read_whole
from deephochuli.store._schema import SCHEMA_VERSION

SEAL_NAME = "chunk.json"
_MOST_BYTES = 1 << 16
_WHOLE_NUMBERS = ("schema_version", "chunk", "session", "resumed_at", "step_first", "step_last")
_MOST = 1 << 62


@dataclass(frozen=True, slots=True)
class FileSeal:
    """What a file was when its chunk was completed."""

    n_bytes: int
    crc32: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """What chunk.json says.

    Attributes:
        run_id: Name of the run.
        chunk: Number of the chunk.
        session: Number of the session that wrote it: 0, and one more after each resumption.
        resumed_at: Step from which the session takes the place of what earlier ones recorded.
        step_first: First recorded step of the chunk.
        step_last: Last one.
        n_steps: How many.
        files: Size and checksum of each file, by its name.
        schema_version: Version of the chunk.
    """

    run_id: str
    chunk: int
    session: int
    resumed_at: int
    step_first: int
    step_last: int
    n_steps: int
    files: dict[str, FileSeal]
    schema_version: int = SCHEMA_VERSION


def checksum(data: bytes | memoryview) -> int:
    """CRC-32 of some bytes: finds what disks and networks do, at a gigabyte a second."""
    return zlib.crc32(data)


def seal_file(path: Path) -> FileSeal:
    """Size and checksum of a file."""
    crc, size = 0, 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            crc, size = zlib.crc32(block, crc), size + len(block)
    return FileSeal(size, crc)


def seal_text(seal: Seal) -> str:
    """Content of chunk.json, which ends in a checksum of itself."""
    body = asdict(seal)
    return json.dumps(body | {"crc32": _crc_of(body)}, indent=1)


def _crc_of(body: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(body, sort_keys=True, separators=(",", ":")).encode())


def read_seal(folder: Path, run_id: str, number: int) -> Seal:
    """Read the seal of a chunk, and check that it belongs there.

    Raises:
        StoreError: It is missing, damaged, newer, or of another chunk.
    """
    path = folder / SEAL_NAME
    try:
        body: Any = json.loads(read_whole(path, _MOST_BYTES).decode())
        seal = _parse(body)
    except FileNotFoundError as error:
        raise StoreError(f"{path} is missing.") from error
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        reason = str(error) or type(error).__name__
        raise StoreError(f"{path} is damaged: {reason[:200]}.") from error
    for name, expected in (("run_id", run_id), ("chunk", number)):
        if getattr(seal, name) != expected:
            found = str(getattr(seal, name))[:80]
            raise StoreError(
                f"{path} is damaged or foreign: {name} is {found}, not {expected}: it is out of "
                "place."
            )
    return seal


def _parse(body: Any) -> Seal:
    """A seal of what JSON holds, if that keeps the rules."""
    if not isinstance(body, dict):
        raise StoreError("it holds no JSON object")
    fields = cast("dict[str, Any]", body)
    version = fields.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise StoreError(
            f"its schema version is {str(version)[:20]}, this DeepHochuli reads up to "
            f"{SCHEMA_VERSION}"
        )
    crc = fields.pop("crc32")
    if crc != _crc_of(fields):
        raise StoreError("its checksum does not agree")
    files = {
        name: FileSeal(_whole_number(file["n_bytes"]), _whole_number(file["crc32"]))
        for name, file in fields.pop("files").items()
    }
    seal = Seal(**fields, files=files)
    for name in (*_WHOLE_NUMBERS, "n_steps"):
        _whole_number(getattr(seal, name))
    if not seal.step_first <= seal.step_last or seal.n_steps < 1:
        raise StoreError("its steps contradict each other")
    return seal


def _whole_number(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MOST:
        raise StoreError(f"{str(value)[:40]} is no whole number that it can have")
    return value
