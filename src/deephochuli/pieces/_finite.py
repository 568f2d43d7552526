"""The inputs between which is counted, checked."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from deephochuli.errors import PiecesError, check_kind

LARGEST = 1e150
"""Squares of larger numbers do not fit into float64."""


def stacked(inputs: Sequence[torch.Tensor], of: str) -> torch.Tensor:
    """Single inputs in float64, one behind the other.

    Args:
        inputs: Tensors of one shape, of any real dtype.
        of: What they are inputs of, for messages.

    Raises:
        PiecesError: They have different shapes, or are complex, not finite, or beyond `LARGEST`.
    """
    shapes = [shape_of(x, of) for x in inputs]
    if len(set(shapes)) > 1:
        raise PiecesError(
            f"The inputs of the {of} have different shapes: {' and '.join(map(str, shapes))}. "
            "Give single inputs, without a batch dimension."
        )
    found = torch.stack([double(x, of) for x in inputs])
    check_numbers(found.numpy(), of)
    return found


def shape_of(x: torch.Tensor, of: str) -> tuple[int, ...]:
    """The shape of an input, which is to be a tensor."""
    check_kind(x, torch.Tensor, "a torch.Tensor", PiecesError, f"An input of the {of} cannot be")
    return tuple(x.shape)


def double(x: torch.Tensor, of: str) -> torch.Tensor:
    """A real tensor in float64, on the CPU.

    Raises:
        PiecesError: It is complex.
    """
    if x.is_complex():
        raise PiecesError(f"An input of the {of} is complex; pieces are those of real numbers.")
    return x.detach().to("cpu", torch.float64)


def check_numbers(inputs: NDArray[np.float64], of: str) -> None:
    """Refuse inputs that hold NaN, infinity, or numbers beyond `LARGEST`."""
    largest = float(np.abs(inputs).max(initial=0.0))  # NaN if there is one
    if not math.isfinite(largest):
        raise PiecesError(f"An input of the {of} holds NaN or infinity; all must be finite.")
    if largest > LARGEST:
        raise PiecesError(
            f"An input of the {of} holds numbers beyond {LARGEST:.0e}, whose squares do not fit "
            "into float64. Scale the inputs down, and the first layer up."
        )
