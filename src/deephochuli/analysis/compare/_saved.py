"""Executions on disk, so that two machines can be compared: one folder, open files.

    trace.json     what was executed, where, and which array belongs where
    arrays.npz     every tensor as a NumPy array; bfloat16 and 8-bit floats as their bit patterns

Nothing in such a folder is code, and nothing read from it is believed unchecked.
"""

# torch leaves much of its interface without types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportAttributeAccessIssue=false
from __future__ import annotations

import json
import os
import platform
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from deephochuli._version import VERSION
from deephochuli.analysis.compare._trace import Call, Trace
from deephochuli.errors import SchemaVersionError, StoreError

SCHEMA = 1
DESCRIPTION = "trace.json"
ARRAYS = "arrays.npz"
DEFAULT_BYTES = 32 * 2**30
_DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
        *(torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz),
    )
}
_BITS = {1: torch.uint8, 2: torch.int16}


class _Array(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    key: str
    dtype: str


class _Call(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    path: str
    index: int = Field(ge=0)
    kind: str
    parent: tuple[str, int] | None = Field(default=None, strict=False)
    is_leaf: bool
    inputs: list[_Array]
    outputs: list[_Array]
    grad_inputs: list[_Array | None]
    grad_outputs: list[_Array | None]


class _Description(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    schema_version: int
    written_by: str
    executor: str
    loss: float | None
    environment: dict[str, str]
    calls: list[_Call]
    gradients: dict[str, _Array]
    updates: dict[str, _Array]


def environment() -> dict[str, str]:
    """What of this machine may change the numbers: versions, processor, device, flags."""
    cuda = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none"
    return {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cpu capability": torch.backends.cpu.get_cpu_capability(),
        "cuda device": cuda,
        "threads": str(torch.get_num_threads()),
        "fp32 matmul on cuda": str(torch.backends.cuda.matmul.fp32_precision),
        "fp32 conv on cuda": str(torch.backends.cudnn.conv.fp32_precision),
        "deterministic": str(torch.are_deterministic_algorithms_enabled()),
    }


def save(trace: Trace, folder: str | os.PathLike[str]) -> Path:
    """Write an execution as a new folder.

    Raises:
        StoreError: The folder is there already, or cannot be written.
    """
    path = Path(folder)
    shelf = _Shelf()
    description = _Description(
        schema_version=SCHEMA,
        written_by=f"deephochuli {VERSION}",
        executor=trace.executor,
        loss=trace.loss,
        environment=trace.environment or environment(),
        calls=[_described(call, shelf) for call in trace.calls.values()],
        gradients={name: shelf.put(tensor) for name, tensor in trace.gradients.items()},
        updates={name: shelf.put(tensor) for name, tensor in trace.updates.items()},
    )
    try:
        path.mkdir(parents=True)
        np.savez(path / ARRAYS, allow_pickle=False, **shelf.arrays)
        text = description.model_dump_json(indent=1)
        (path / DESCRIPTION).write_text(text, encoding="utf-8")  # last: it makes the folder whole
    except OSError as error:
        raise StoreError(
            f"{path} cannot be written: {error.strerror or error}. Name a new folder."
        ) from error
    return path


def is_saved(folder: str | os.PathLike[str]) -> bool:
    """Whether a path is the folder of a saved execution."""
    return (Path(folder) / DESCRIPTION).is_file()


def load(folder: str | os.PathLike[str], max_bytes: int = DEFAULT_BYTES) -> Trace:
    """Read an execution that was saved, on this machine or another.

    Raises:
        StoreError: The folder is missing, damaged or larger than `max_bytes`.
        SchemaVersionError: It was written by a newer version.
    """
    path = Path(folder)
    description = _read_description(path)
    arrays = _read_arrays(path, max_bytes)
    trace = Trace(
        description.executor, loss=description.loss, environment=dict(description.environment)
    )
    for call in description.calls:
        made = _call_of(call, arrays, path)
        trace.calls[made.name] = made
    trace.gradients = {n: _tensor(a, arrays, path) for n, a in description.gradients.items()}
    trace.updates = {n: _tensor(a, arrays, path) for n, a in description.updates.items()}
    return trace


class _Shelf:
    """Arrays under short names, and how each is to be read."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray[Any, Any]] = {}

    def put(self, tensor: Tensor) -> _Array:
        """Take a tensor; return where it lies."""
        key = f"t{len(self.arrays)}"
        plain = tensor.detach().cpu().contiguous()
        dtype = str(plain.dtype).removeprefix("torch.")
        if dtype not in ("float64", "float32", "float16"):
            plain = plain.view(_BITS[plain.element_size()])
        self.arrays[key] = plain.numpy()
        return _Array(key=key, dtype=dtype)

    def put_optional(self, tensor: Tensor | None) -> _Array | None:
        """Take a tensor that may be missing."""
        return None if tensor is None else self.put(tensor)


def _described(call: Call, shelf: _Shelf) -> _Call:
    return _Call(
        path=call.path,
        index=call.index,
        kind=call.kind,
        parent=call.parent,
        is_leaf=call.is_leaf,
        inputs=[shelf.put(each) for each in call.inputs],
        outputs=[shelf.put(each) for each in call.outputs],
        grad_inputs=[shelf.put_optional(each) for each in call.grad_inputs],
        grad_outputs=[shelf.put_optional(each) for each in call.grad_outputs],
    )


def _read_description(path: Path) -> _Description:
    try:
        text = (path / DESCRIPTION).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(
            f"{path} is no saved execution: its {DESCRIPTION} cannot be read ({error}). "
            "`deephochuli compare MODEL --save FOLDER` writes one."
        ) from error
    try:
        found = json.loads(text)
        version = found.get("schema_version") if isinstance(found, dict) else None
        if isinstance(version, int) and version > SCHEMA:
            raise SchemaVersionError(
                f"{path} has schema {version}; this version reads up to {SCHEMA}. "
                "Upgrade with: pip install --upgrade deephochuli"
            )
        return _Description.model_validate(found, strict=False)
    except (ValidationError, json.JSONDecodeError, RecursionError) as error:
        raise StoreError(
            f"{path / DESCRIPTION} is damaged: {str(error).splitlines()[0]}. Save it again."
        ) from error


def _read_arrays(path: Path, max_bytes: int) -> dict[str, np.ndarray[Any, Any]]:
    file = path / ARRAYS
    try:
        with zipfile.ZipFile(file) as archive:
            size = sum(info.file_size for info in archive.infolist())
        if size > max_bytes:
            raise StoreError(
                f"{file} holds {size / 2**30:.1f} GiB, more than {max_bytes / 2**30:.1f} GiB; "
                "raise max_bytes if that is what you saved."
            )
        with np.load(file, allow_pickle=False) as arrays:
            return {key: arrays[key] for key in arrays.files}
    except StoreError:
        raise
    except Exception as error:  # zipfile and numpy raise many kinds on damaged files
        raise StoreError(f"{file} is damaged: {error}. Save the execution again.") from error


def _call_of(call: _Call, arrays: dict[str, np.ndarray[Any, Any]], path: Path) -> Call:
    return Call(
        path=call.path,
        index=call.index,
        kind=call.kind,
        parent=call.parent,
        is_leaf=call.is_leaf,
        inputs=[_tensor(each, arrays, path) for each in call.inputs],
        outputs=[_tensor(each, arrays, path) for each in call.outputs],
        grad_inputs=[_optional(each, arrays, path) for each in call.grad_inputs],
        grad_outputs=[_optional(each, arrays, path) for each in call.grad_outputs],
    )


def _optional(
    entry: _Array | None, arrays: dict[str, np.ndarray[Any, Any]], path: Path
) -> Tensor | None:
    return None if entry is None else _tensor(entry, arrays, path)


def _tensor(entry: _Array, arrays: dict[str, np.ndarray[Any, Any]], path: Path) -> Tensor:
    dtype, array = _DTYPES.get(entry.dtype), arrays.get(entry.key)
    if dtype is None or array is None or array.itemsize != dtype.itemsize:
        raise StoreError(
            f"{path} is damaged: array {entry.key!r} of dtype {entry.dtype!r} is "
            f"{'missing' if array is None else f'stored as {array.dtype}'}. Save it again."
        )
    tensor = torch.from_numpy(array)
    return tensor if tensor.dtype == dtype else tensor.view(dtype)
