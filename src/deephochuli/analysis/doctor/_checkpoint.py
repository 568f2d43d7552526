"""Reading the tensors of a safetensors file: a length, a JSON header, and bytes; no code is run."""

from __future__ import annotations

import json
import math
import mmap
from pathlib import Path
from typing import Any, Final, cast

import torch
from torch import Tensor

from deephochuli.analysis.doctor._patient import Held, Patient
from deephochuli.errors import TapError

SUFFIX: Final = ".safetensors"
_MOST_HEADER_BYTES: Final = 100_000_000
_DTYPES: Final = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
    "C64": torch.complex64,
}


def read_checkpoint(path: Path) -> Patient:
    """Read the tensors of a safetensors file, or of all such files in a folder.

    Raises:
        TapError: There is no such file, or it is not what its header says.
    """
    files = sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else [path]
    if not files:
        raise TapError(
            f"No file with the suffix {SUFFIX} in the folder {path}. Give the folder of a "
            "checkpoint that was saved with safetensors."
        )
    return Patient(tuple(held for file in files for held in _read_file(file)))


def _read_file(path: Path) -> list[Held]:
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            header, start = _header(file.read(8), file.read, size, path)
            data = memoryview(b"")
            if size > start:  # the mapping lives as long as the tensors that look into it
                data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))[start:]
    except OSError as error:
        raise TapError(f"Cannot read {path}: {error.strerror or error}.") from error
    entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
    _check_layout(entries, len(data), path)
    return [held for name, entry in entries.items() if (held := _held(name, entry, data, path))]


def _header(length: bytes, read: Any, size: int, path: Path) -> tuple[dict[str, Any], int]:
    """Read the header; return it with the position of the first byte behind it."""
    n = int.from_bytes(length, "little")
    if len(length) < 8 or n > min(_MOST_HEADER_BYTES, size - 8):
        raise _damaged(path, f"a header of {n:,} bytes does not fit into {size:,} bytes")
    try:
        header: Any = json.loads(read(n).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"its header is no JSON ({type(error).__name__})") from None
    if not isinstance(header, dict):
        raise _damaged(path, "its header is no JSON object")
    return cast("dict[str, Any]", header), 8 + n


def _check_layout(entries: dict[str, Any], n_bytes: int, path: Path) -> None:
    """Make sure that each entry is well formed and that no two share bytes."""
    spans = sorted(_span(name, entry, path) for name, entry in entries.items())
    end = 0
    for begin, stop, name in spans:
        if begin < end or stop > n_bytes:
            raise _damaged(path, f"the bytes of {name!r} overlap others or lie beyond the end")
        end = stop


def _span(name: str, entry: Any, path: Path) -> tuple[int, int, str]:
    entry = cast("dict[str, Any]", entry) if isinstance(entry, dict) else {}
    offsets: Any = entry.get("data_offsets")
    shape: Any = entry.get("shape")
    dtype: Any = entry.get("dtype")
    is_formed = isinstance(dtype, str) and _are_sizes(shape) and _are_sizes(offsets)
    if not is_formed or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise _damaged(path, f"the entry of {name!r} is malformed")
    known = _DTYPES.get(dtype)
    if known is not None and math.prod(shape) * known.itemsize != offsets[1] - offsets[0]:
        raise _damaged(path, f"shape and size of {name!r} contradict each other")
    return offsets[0], offsets[1], name


def _are_sizes(value: Any) -> bool:
    parts = cast("list[object]", value) if isinstance(value, list) else None
    return parts is not None and all(type(part) is int and 0 <= part < 2**62 for part in parts)


def _held(name: str, entry: dict[str, Any], data: memoryview, path: Path) -> Held | None:
    """One tensor; None for a dtype that torch cannot hold."""
    dtype = _DTYPES.get(entry["dtype"])
    if dtype is None:
        return None
    begin, end = entry["data_offsets"]
    if begin == end:
        tensor = torch.empty(entry["shape"], dtype=dtype)
    else:
        tensor = _view(data[begin:end], dtype).reshape(entry["shape"])
    return Held(name, "tensor", name.rpartition(".")[2], tensor)


def _view(data: memoryview, dtype: torch.dtype) -> Tensor:
    """Bytes as numbers, without a copy; a file need not align them."""
    raw = torch.frombuffer(data, dtype=torch.uint8)
    is_aligned = raw.data_ptr() % dtype.itemsize == 0
    return (raw if is_aligned else raw.clone()).view(dtype)


def _damaged(path: Path, reason: str) -> TapError:
    return TapError(f"{path} is damaged or no safetensors file: {reason}. Copy it again.")
