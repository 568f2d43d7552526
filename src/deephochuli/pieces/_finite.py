"""The inputs between which is counted, checked."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from deephochuli.errors import PiecesError

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
    shapes = [tuple(x.shape) for x in inputs]
    if len(set(shapes)) > 1:
        raise PiecesError(
            f"The inputs of the {of} have different shapes: {' and '.join(map(str, shapes))}. "
            "Give single inputs, without a batch dimension."
        )
    if any(x.is_complex() for x in inputs):
        raise PiecesError(f"An input of the {of} is complex; pieces are those of real numbers.")
    found = torch.stack([x.detach().to("cpu", torch.float64) for x in inputs])
    if not bool(torch.isfinite(found).all()):
        raise PiecesError(f"An input of the {of} holds NaN or infinity; all must be finite.")
    if found.numel() and float(found.abs().max()) > LARGEST:
        raise PiecesError(
            f"An input of the {of} holds numbers beyond {LARGEST:.0e}, whose squares do not fit "
            "into float64. Scale the inputs down, and the first layer up."
        )
    return found
