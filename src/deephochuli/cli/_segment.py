"""Where ``deephochuli pieces`` takes its model and the points of its segment or plane from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from deephochuli.cli._model import built
from deephochuli.errors import MissingExtraError, PiecesError, near_matches

if TYPE_CHECKING:
    import torch
    from torch import nn

_EXPECTED: Final = (
    "Expected 'module:callable' or 'path/to/file.py:callable' that returns a model, or (model, "
    "batch)."
)
_FILES: Final = (".npy", ".safetensors")


@dataclass(frozen=True, slots=True)
class Ends:
    """What the user said about the ends of the segment.

    Attributes:
        begin: File of the one end.
        end: File of the other.
        random: Seed of two random points.
        data: Name of a data set.
        samples: Numbers of two samples, of the data set or of the model's batch.
        shape: Shape of one input, where nothing else says it.
        third: File of a third point, for a plane.
        third_sample: Number of a third sample, for a plane.
    """

    begin: Path | None = None
    end: Path | None = None
    random: int | None = None
    data: str | None = None
    samples: tuple[int, int] = (0, 1)
    shape: str | None = None
    third: Path | None = None
    third_sample: int = 2

    def check(self) -> None:
        """Refuse ends that contradict each other."""
        if (self.begin is None) != (self.end is None):
            raise PiecesError("--from and --to go together: name a file for each end.")
        ways = {"--from/--to": self.begin, "--random": self.random, "--data": self.data}
        given = [name for name, value in ways.items() if value is not None]
        if len(given) > 1:
            raise PiecesError(f"{given[0]} and {given[1]} contradict each other; give one of them.")


def model_and_batch(name: str) -> tuple[nn.Module, torch.Tensor | None]:
    """Call what the user named.

    Raises:
        TapError: Nothing is there, or importing or calling it fails.
        PiecesError: It returns no model.
    """
    import torch
    from torch import nn

    found = built(name, _EXPECTED)
    if isinstance(found, Mapping):
        given = cast("Mapping[str, Any]", found)
        parts: list[Any] = [given.get("model"), given.get("batch")]
    else:
        parts = [*cast("tuple[Any, ...]", found)] if isinstance(found, tuple) else [found]
    if not parts or not isinstance(parts[0], nn.Module):
        what = type(parts[0]).__name__ if parts else "nothing"
        raise PiecesError(f"{name!r} returns {what}, which is no model. {_EXPECTED}")
    batch: Any = parts[1] if len(parts) > 1 else None
    while isinstance(batch, tuple | list) and batch:
        batch = cast("list[Any]", batch)[0]
    return parts[0], batch if isinstance(batch, torch.Tensor) else None


def points_of(ends: Ends, batch: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """The ends of the segment.

    Raises:
        PiecesError: They cannot be had as asked.
    """
    ends.check()
    if ends.begin is not None and ends.end is not None:
        return _read(ends.begin), _read(ends.end)
    if ends.random is not None:
        first, second = _random(ends.random, _shape(ends.shape, batch))
        return first, second
    if ends.data is not None:
        return _chosen(_data(ends.data, ends.shape, batch), ends.samples, f"data {ends.data!r}")
    if batch is None:
        raise PiecesError(
            "The ends of the segment are missing: the model comes without a batch. Give --from and "
            "--to, or --random SEED with --shape, or --data digits."
        )
    return _chosen(batch, ends.samples, "the model's batch")


def third_of(ends: Ends, batch: torch.Tensor | None) -> torch.Tensor:
    """A third point, which spans a plane with the two ends.

    Raises:
        PiecesError: It cannot be had as asked.
    """
    if ends.third is not None:
        return _read(ends.third)
    if ends.begin is not None:
        raise PiecesError("A plane needs a third point: name its file with --third.")
    if ends.random is not None:
        return _random(ends.random, _shape(ends.shape, batch), 3)[2]
    both = ends.samples[0], ends.third_sample
    if ends.data is not None:
        return _chosen(_data(ends.data, ends.shape, batch), both, f"data {ends.data!r}")[1]
    if batch is None:
        raise PiecesError("A plane needs a third point; give --third FILE.")
    return _chosen(batch, both, "the model's batch")[1]


def _chosen(
    batch: torch.Tensor, samples: tuple[int, int], where: str
) -> tuple[torch.Tensor, torch.Tensor]:
    for i in samples:
        if not 0 <= i < len(batch):
            raise PiecesError(
                f"There is no sample {i} in {where}: it has {len(batch)}, counted from 0."
            )
    return batch[samples[0]], batch[samples[1]]


def _shape(text: str | None, batch: torch.Tensor | None) -> tuple[int, ...]:
    """Shape of one input."""
    if text is None:
        if batch is None:
            raise PiecesError(
                "--random needs the shape of an input: --shape 3,32,32 or --shape 64."
            )
        return tuple(batch.shape[1:])
    sizes = text.replace("x", ",").split(",")
    if not all(size.strip().isdigit() and int(size) > 0 for size in sizes):
        raise PiecesError(f"--shape {text!r} is no shape; expected numbers such as 3,32,32.")
    return tuple(int(size) for size in sizes)


def _random(seed: int, shape: tuple[int, ...], n: int = 2) -> tuple[torch.Tensor, ...]:
    """Points; the first ones are the same for any number of them."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(n))


def _data(name: str, shape: str | None, batch: torch.Tensor | None) -> torch.Tensor:
    """Samples of a data set that comes with scikit-learn, in [0, 1]."""
    import torch

    if name != "digits":
        raise PiecesError(f"There is no data set {name!r}. {near_matches(name, ['digits'])}")
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingExtraError("The data set 'digits'", "scikit-learn", "demo") from error
    digits = cast("Mapping[str, Any]", load_digits())
    data = torch.as_tensor(digits["data"]) / 16.0
    wanted = _shape(shape, batch) if shape is not None or batch is not None else (64,)
    size = torch.Size(wanted).numel()
    if size != 64:
        raise PiecesError(
            f"An image of 'digits' has 64 numbers, and an input of shape {tuple(wanted)} has "
            f"{size}. Give --shape, such as 64 or 1,8,8, or other ends."
        )
    return data.reshape(-1, *wanted)


def _read(path: Path) -> torch.Tensor:
    """A point from a file that holds one array."""
    import numpy as np
    import torch

    if path.suffix not in _FILES:
        raise PiecesError(f"{path} is not read: expected one of {', '.join(_FILES)}.")
    if not path.is_file():
        raise PiecesError(f"There is no file {path}.")
    try:
        if path.suffix == ".npy":
            array: Any = np.load(path, allow_pickle=False)
            return torch.as_tensor(np.asarray(array, dtype=np.float64))
        tensors = _safetensors(path)
    except ValueError as error:
        raise PiecesError(f"{path} cannot be read as one array of numbers: {error}") from error
    if len(tensors) != 1:
        raise PiecesError(f"{path} holds {len(tensors)} tensors; expected one.")
    return next(iter(tensors.values()))


def _safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        from safetensors import safe_open
    except ImportError as error:
        raise MissingExtraError(
            "Reading a .safetensors file", "safetensors", "transformers"
        ) from error
    opened = cast("Any", safe_open(path, framework="pt"))
    with opened as file:
        names = cast("list[str]", file.keys())
        return {name: cast("torch.Tensor", file.get_tensor(name)) for name in names}
