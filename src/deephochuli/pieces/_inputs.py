"""Inputs that a segment runs between, checked and in float64."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from deephochuli.errors import PiecesError
from deephochuli.pieces._affine import Rows
from deephochuli.pieces._finite import check_numbers, double, shape_of, stacked


def check(x0: torch.Tensor, x1: torch.Tensor) -> None:
    """Refuse what no segment can run between, before a model is looked at."""
    segments([x0], [x1], shape_of(x0, "segment"))


def samples(examples: Sequence[torch.Tensor]) -> torch.Tensor:
    """Inputs on which a program is compared with its model: the examples, and one between two."""
    known = stacked(examples, "counter")
    if len(known) == 1:
        return known
    return torch.cat([known, (0.375 * known[0] + 0.625 * known[1])[None]])


def segments(
    starts: Sequence[torch.Tensor], ends: Sequence[torch.Tensor], shape: tuple[int, ...]
) -> Rows:
    """Both ends of many segments, shape (segments, 2, numel of an input).

    Args:
        starts: Where each begins; none has a batch dimension.
        ends: Where it ends.
        shape: Shape of the inputs of the model.

    Raises:
        PiecesError: Inputs do not fit the model, are not finite, or are the same point.
    """
    for x0, x1 in set(zip(_shapes(starts), _shapes(ends), strict=True)):
        _check_shapes(x0, x1, shape)
    found = np.stack([_rows(starts), _rows(ends)], axis=1)
    check_numbers(found, "segment")
    if (found[:, 0] == found[:, 1]).all(axis=1).any():
        raise PiecesError("Both ends of the segment are the same point; give two different ones.")
    return found


def _shapes(inputs: Sequence[torch.Tensor]) -> list[tuple[int, ...]]:
    """The shape of each input."""
    if isinstance(inputs, torch.Tensor):
        return [tuple(inputs.shape[1:])] * len(inputs)
    return [shape_of(x, "segment") for x in inputs]


def _rows(inputs: Sequence[torch.Tensor]) -> Rows:
    """Inputs one a row."""
    if isinstance(inputs, torch.Tensor):
        return double(inputs, "segment").numpy().reshape(len(inputs), -1)
    return np.stack([double(x, "segment").numpy().reshape(-1) for x in inputs])


def _check_shapes(of_x0: tuple[int, ...], of_x1: tuple[int, ...], shape: tuple[int, ...]) -> None:
    if of_x0 != of_x1:
        raise PiecesError(
            f"The ends of the segment have different shapes: {of_x0} and {of_x1}. Give two single "
            "inputs, without a batch dimension."
        )
    if of_x0 != shape:
        raise PiecesError(
            f"The counter was made for inputs of shape {shape}; got {of_x0}. Give single inputs, "
            "without a batch dimension."
        )
