"""What the ranks saw of their reductions, put together."""

from __future__ import annotations

import re
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from deephochuli.errors import StoreError
from deephochuli.record import REDUCTION_FOLDER

_NAME: Final = re.compile(r"step-(\d{8,12})\.rank-(\d{1,7})\.npz")
_FIELDS: Final = {"owner": "U", "before": "f", "after": "f", "dtype": "U", "ranks": "i"}
_DAMAGE: Final = (OSError, ValueError, KeyError, EOFError, MemoryError, zipfile.BadZipFile)
_SHOWN: Final = 120


@dataclass(frozen=True, slots=True, eq=False)
class Reduced:
    """Some gradients of one step, before and after their reduction.

    Attributes:
        step: Which reduction, from 0.
        owner: Name of the parameter of each.
        before: What each rank contributed, float64 [ranks, elements].
        after: What each rank got back, likewise.
        dtype: Type of the buckets, of each element.
    """

    step: int
    owner: NDArray[np.str_]
    before: NDArray[np.float64]
    after: NDArray[np.float64]
    dtype: NDArray[np.str_]


def read_reductions(path: Path) -> list[Reduced]:
    """Read the steps that all ranks have written, in their order.

    Args:
        path: The folder that was given to `watch_reduction`.

    Raises:
        StoreError: There are none, or a file is damaged.
    """
    folder = path / REDUCTION_FOLDER
    by_step: defaultdict[int, dict[int, Path]] = defaultdict(dict)
    for file in sorted(folder.iterdir()) if folder.is_dir() else ():
        if match := _NAME.fullmatch(file.name):
            by_step[int(match[1])][int(match[2])] = file
    found = [each for step in sorted(by_step) for each in _together(step, by_step[step])]
    if not found:
        raise StoreError(
            f"{path} holds no reductions that all ranks have seen. Call "
            "deephochuli.watch_reduction(model, to=...) on every rank before the first backward, "
            "and close it at the end."
        )
    return found


def _together(step: int, files: dict[int, Path]) -> Iterator[Reduced]:
    """The files of one step as one, unless a rank is missing."""
    parts = {rank: _read(file) for rank, file in sorted(files.items())}
    n_ranks = {int(part["ranks"][1]) for part in parts.values()}
    if n_ranks != {len(parts)} or set(parts) != set(range(len(parts))):
        return
    first = parts[0]
    for rank, part in parts.items():
        if not np.array_equal(part["owner"], first["owner"]):
            raise StoreError(
                f"{files[rank]} and {files[0]} do not belong together: they name other gradients. "
                "Give each training a folder of its own."
            )
    yield Reduced(
        step,
        first["owner"],
        np.stack([part["before"] for part in parts.values()]),
        np.stack([part["after"] for part in parts.values()]),
        first["dtype"],
    )


def _read(path: Path) -> dict[str, Any]:
    """The arrays of one file; nothing in it is run."""
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            arrays = {name: file[name] for name in _FIELDS}
    except _DAMAGE as error:
        raise StoreError(f"{path} is damaged: {str(error)[:_SHOWN]}.") from error
    kinds = {name: array.dtype.kind for name, array in arrays.items()}
    lengths = {len(np.atleast_1d(array)) for name, array in arrays.items() if name != "ranks"}
    if kinds != _FIELDS or len(lengths) != 1 or arrays["ranks"].shape != (2,):
        raise StoreError(f"{path} is damaged: its arrays are not those of a reduction.")
    return arrays
