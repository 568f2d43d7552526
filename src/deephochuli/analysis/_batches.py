"""Data as data loaders give them: pairs of inputs and target, and losses of both."""

# Trees of torch have no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from deephochuli.errors import CompareError

Loss = Callable[[Any, Any], Tensor]
"""Makes a scalar of the model's output and of the target, as ``F.cross_entropy`` does."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What the model is given at once.

    Attributes:
        inputs: A tensor, a tuple of arguments, or a mapping of keyword arguments.
        target: What the loss compares the output with; None where there is none.
    """

    inputs: Any
    target: Any = None


def batches_of(data: Any) -> tuple[Batch, ...]:
    """Read data in the forms that people have them in.

    Args:
        data: A tensor or a mapping (one batch without a target), a tuple of inputs and target (one
            batch), or a list or a data loader of any of these.

    Raises:
        CompareError: There is no batch, or something is none of these.

    Example:
        >>> x, y = torch.zeros(4, 3), torch.zeros(4)
        >>> [len(batches_of(each)) for each in (x, (x, y), [(x, y), (x, y)])]
        [1, 1, 2]
    """
    if isinstance(data, Tensor | Mapping | tuple):
        return (_batch(cast(Any, data)),)
    if not isinstance(data, Iterable):
        raise CompareError(_UNREADABLE.format(type(data).__name__))
    found = tuple(_batch(each) for each in cast("Iterable[Any]", data))
    if not found:
        raise CompareError("There are no data: expected one batch or more, got an empty list.")
    return found


_UNREADABLE = (
    "Data of type {} cannot be read: expected a tensor, a mapping of keyword arguments, a tuple "
    "(inputs, target), or a list or data loader of these."
)


def _batch(one: Any) -> Batch:
    if isinstance(one, Tensor | Mapping):
        return Batch(one)
    if isinstance(one, tuple | list) and len(cast("tuple[Any, ...]", one)) == 2:
        inputs, target = cast("tuple[Any, Any]", one)
        return Batch(inputs, target)
    raise CompareError(_UNREADABLE.format(type(one).__name__))


def placed(value: Any, model: nn.Module) -> Any:
    """The same structure with floating-point tensors in the dtype of a model's parameters."""
    own = next((p.dtype for p in model.parameters() if p.is_floating_point()), None)

    def place(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        leaf = leaf.detach()
        return leaf.to(own) if own is not None and leaf.is_floating_point() else leaf

    return pytree.tree_map(place, value)


def called(model: nn.Module, batch: Batch) -> Any:
    """The output of a model for a batch, which is brought to the model's dtype."""
    inputs = placed(batch.inputs, model)
    if isinstance(inputs, Mapping):
        return model(**cast("Mapping[str, Any]", inputs))
    return model(*inputs) if isinstance(inputs, tuple | list) else model(inputs)


def loss_of(model: nn.Module, batch: Batch, loss: Loss | None) -> Tensor:
    """The loss of a model for a batch.

    Raises:
        CompareError: No loss was given and the output has none of its own.
    """
    output = called(model, batch)
    if loss is not None:
        return loss(output, placed(batch.target, model))
    own = getattr(output, "loss", None)
    if isinstance(own, Tensor):
        return own
    raise CompareError(
        f"There is no loss to follow: the output of {type(model).__name__} has no attribute 'loss'."
        " Give one of output and target, for instance loss=torch.nn.functional.cross_entropy."
    )


def gradients_of(model: nn.Module, batch: Batch, loss: Loss | None, scale: float = 1.0) -> None:
    """Leave the gradients of a batch in a copy of a model, those of the loss times `scale`."""
    for parameter in model.parameters():
        parameter.grad = None
    with torch.enable_grad():
        value = loss_of(model, batch, loss)
        (value * scale if scale != 1.0 else value).backward()
