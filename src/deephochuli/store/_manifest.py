"""manifest.json: what a run is, how it was made and how it ended."""

from __future__ import annotations

import json
import math
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from deephochuli.errors import SchemaVersionError, StoreError
from deephochuli.store._files import write_atomically
from deephochuli.store._schema import SCHEMA_VERSION
from deephochuli.store._text import as_utf8

MANIFEST_NAME = "manifest.json"


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelSummary(_Data):
    """The model that was trained."""

    class_name: str = ""
    n_parameters: int = 0
    n_modules: int = 0


class OptimizerSummary(_Data):
    """The optimizer, with the hyperparameters of each of its groups."""

    class_name: str = ""
    groups: list[dict[str, JsonValue]] = Field(default_factory=list[dict[str, JsonValue]])


class Manifest(_Data):
    """Provenance of a run. The store fills in the fields up to ``n_chunks``, the recorder the rest.

    Attributes:
        schema_version: Version of the run folder.
        run_id: Name of the run that no other run has; each file of the run repeats it.
        created: When the recording began.
        ended: When it ended.
        finished: The recording ended in order (not by a kill).
        stopped: Why recording ended before training did (disk cap, disk full), or None.
        n_steps: Recorded steps, once finished.
        n_chunks: Chunks, once finished.
        versions: Version by package: deephochuli, torch, numpy, python.
        platform: Operating system and processor.
        device: Where the model was, such as "cpu" or "cuda:0".
        n_threads: Threads that torch used.
        flags: Switches that change results: TF32, flush-to-zero, deterministic algorithms.
        dtypes: dtype of each parameter by its name.
        seed: Seed of torch's generator at the start.
        command: Command line.
        model: The model.
        optimizer: The optimizer, if there was one.
        schedule: Which steps were recorded.
        selection: Which taps were recorded.
        extra: Whatever else a recorder knows.
    """

    schema_version: int = SCHEMA_VERSION
    run_id: str = Field(default_factory=lambda: uuid.uuid4().hex)
    created: datetime = Field(default_factory=lambda: datetime.now(UTC))
    ended: datetime | None = None
    finished: bool = False
    stopped: str | None = None
    n_steps: int | None = None
    n_chunks: int | None = None
    versions: dict[str, str] = Field(default_factory=dict[str, str])
    platform: str = ""
    device: str = ""
    n_threads: int | None = None
    flags: dict[str, bool | int | float | str | None] = Field(
        default_factory=dict[str, bool | int | float | str | None]
    )
    dtypes: dict[str, str] = Field(default_factory=dict[str, str])
    seed: int | None = None
    command: list[str] = Field(default_factory=list[str])
    model: ModelSummary = Field(default_factory=ModelSummary)
    optimizer: OptimizerSummary | None = None
    schedule: str = ""
    selection: str = ""
    extra: dict[str, JsonValue] = Field(default_factory=dict[str, JsonValue])


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Put a manifest into a run folder: the old one or the new one is there, never a part."""
    data = _in_json(manifest.model_dump(mode="json"))
    text = json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(folder / MANIFEST_NAME, text.encode())


def _in_json(value: Any) -> JsonValue:
    """Values that JSON has a word for: inf and nan become text, which reads back as a float."""
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value).items()
        return {as_utf8(name): _in_json(item) for name, item in items}
    if isinstance(value, list):
        return [_in_json(item) for item in cast("list[Any]", value)]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return as_utf8(value) if isinstance(value, str) else value


def read_manifest(folder: Path) -> Manifest:
    """Manifest of a run folder; fields that this version does not know go to ``extra``."""
    path = folder / MANIFEST_NAME
    data = _read_object(path)
    version = data.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool):
        raise StoreError(
            f"{folder} is not a run folder of DeepHochuli: its {MANIFEST_NAME} has no whole "
            f"number 'schema_version'. Give the folder that a recording was written to."
        )
    if version > SCHEMA_VERSION:
        raise SchemaVersionError(
            f"{folder} was written by a newer DeepHochuli: its schema version is {version}, this "
            f"one reads up to {SCHEMA_VERSION}. Update with: pip install --upgrade deephochuli"
        )
    extra = {name: data.pop(name) for name in set(data) - set(Manifest.model_fields)}
    data["extra"] = {**extra, **cast("dict[str, Any]", data.get("extra") or {})}
    try:
        return Manifest.model_validate_json(json.dumps(data))
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()
        )
        raise StoreError(
            f"{path} is damaged: {faults}. The chunks beside it may be whole."
        ) from error


def _read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file."""
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{path} is damaged: it is not JSON ({error}).") from error
    if not isinstance(data, dict):
        raise StoreError(f"{path} is damaged or foreign: it holds no JSON object.")
    return cast("dict[str, Any]", data)
