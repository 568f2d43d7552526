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
from deephochuli.store._files import read_whole, write_atomically
from deephochuli.store._migrations import migrate_manifest
from deephochuli.store._schema import SCHEMA_VERSION
from deephochuli.store._text import as_utf8

MANIFEST_NAME = "manifest.json"
MOST_CHUNKS = 10**9

# Far beyond any model, and few enough that reading them takes no time and memory to speak of.
_MOST_BYTES = 1 << 26
_MOST_ITEMS = 1 << 20
_SHOWN_FAULTS = 5


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


class Session(_Data):
    """One stretch of recording: from the start, or from a resumption, to its end.

    Attributes:
        started: When it began.
        first_step: Step from which training went on, once it is known.
        ended: When it ended in order; None if it goes on, or was killed.
        reason: Why it ended before training did, or None.
        changed: Provenance that was not as it was when the run began.
    """

    started: datetime | None = None
    first_step: int | None = None
    ended: datetime | None = None
    reason: str | None = None
    changed: dict[str, JsonValue] = Field(default_factory=dict[str, JsonValue])


class RankOf(_Data):
    """Which rank of a training recorded a run, and what it holds of what all ranks hold.

    Attributes:
        rank: Its number.
        n_ranks: Ranks of the training.
        same_data: Ranks that compute on the same data as this one, itself included: those of a
            tensor-parallel group.
        shards: Of parameters that are split: first index along each dimension, then the shape of
            the part that this rank holds. All other parameters are whole on every rank.
    """

    rank: int = Field(ge=0)
    n_ranks: int = Field(ge=1)
    same_data: list[int] = Field(default_factory=list[int])
    shards: dict[str, list[int]] = Field(default_factory=dict[str, list[int]])


class RanksOf(_Data):
    """What a run that is merged from those of several ranks was made of.

    Attributes:
        n_ranks: Ranks of the training.
        merged: Ranks that are in it.
        sources: ``run_id`` and number of sessions of each of them.
    """

    n_ranks: int = Field(ge=1)
    merged: list[int] = Field(default_factory=list[int])
    sources: list[tuple[str, int]] = Field(default_factory=list[tuple[str, int]])


class Manifest(_Data):
    """Provenance of a run. The store fills in the fields up to ``faults``, the recorder the rest.

    Attributes:
        schema_version: Version of the run folder.
        run_id: Name of the run that no other run has; each file of the run repeats it.
        created: When the recording began.
        ended: When it ended.
        finished: The recording ended in order (not by a kill).
        stopped: Why recording ended before training did (disk cap, disk full), or None.
        raised: The error that ended the training, or None.
        n_steps: Recorded steps, once finished.
        n_chunks: Chunks, once finished.
        sessions: Stretches of recording: more than one if the run was resumed.
        faults: What could not be recorded, one sentence per cause.
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
        rank: Which rank of several recorded the run, or None.
        ranks: Which ranks the run was merged from, or None.
        extra: Whatever else a recorder knows.
    """

    schema_version: int = SCHEMA_VERSION
    run_id: str = Field(default_factory=lambda: uuid.uuid4().hex)
    created: datetime = Field(default_factory=lambda: datetime.now(UTC))
    ended: datetime | None = None
    finished: bool = False
    stopped: str | None = None
    raised: str | None = None
    n_steps: int | None = None
    n_chunks: int | None = Field(default=None, ge=0, le=MOST_CHUNKS)
    sessions: list[Session] = Field(default_factory=list[Session])
    faults: list[str] = Field(default_factory=list[str])
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
    rank: RankOf | None = None
    ranks: RanksOf | None = None
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
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise StoreError(
            f"{folder} is not a run folder of DeepHochuli: its {MANIFEST_NAME} has no whole "
            f"number 'schema_version'. Give the folder that a recording was written to."
        )
    if version > SCHEMA_VERSION:
        raise SchemaVersionError(
            f"{folder} was written by a newer DeepHochuli: its schema version is "
            f"{str(version)[:20]}, this one reads up to {SCHEMA_VERSION}. "
            "Update with: pip install --upgrade deephochuli"
        )
    data = migrate_manifest(data, version)
    given: Any = data.pop("extra", None) or {}
    if not isinstance(given, dict):
        raise StoreError(f"{path} is damaged: extra: it should hold a JSON object.")
    unknown = {name: data.pop(name) for name in set(data) - set(Manifest.model_fields)}
    data["extra"] = {**unknown, **cast("dict[str, Any]", given)}
    try:
        return Manifest.model_validate_json(json.dumps(data))
    except (ValidationError, RecursionError) as error:
        raise StoreError(
            f"{path} is damaged: {_faults(error)}. The chunks beside it may be whole."
        ) from error


def _faults(error: Exception) -> str:
    """What is wrong with the fields of a manifest, in one line."""
    if not isinstance(error, ValidationError) or error.error_count() > 100:
        return "its fields are not those of a manifest"
    faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
    more = "; ..." if len(faults) > _SHOWN_FAULTS else ""
    return "; ".join(fault[:200] for fault in faults[:_SHOWN_FAULTS]) + more


def _read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file."""
    try:
        text = read_whole(path, _MOST_BYTES)
        if sum(map(text.count, (b",", b"[", b"{"))) > _MOST_ITEMS:
            raise StoreError(f"{path} is damaged or foreign: it holds too many values.")
        data = json.loads(text.decode())  # bytes could be of any encoding
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{path} is damaged: it is not JSON ({str(error)[:200]}).") from error
    if not isinstance(data, dict):
        raise StoreError(f"{path} is damaged or foreign: it holds no JSON object.")
    return cast("dict[str, Any]", data)
