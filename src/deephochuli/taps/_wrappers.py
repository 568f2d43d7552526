"""What users and libraries hand over, and the plain model and optimizers inside."""

# `_orig_mod` is how torch.compile marks what it has compiled.
# pyright: reportPrivateUsage=false, reportUnknownMemberType=false
from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from deephochuli.errors import TapError, check_kind
from deephochuli.taps._parameters import parameters_of


def check_module(given: object) -> None:
    """Refuse what is no model."""
    check_kind(given, nn.Module, "a torch.nn.Module", TapError, "Cannot look at")


def listed(optimizers: Any) -> list[Any]:
    """Make a list of one optimizer, of several or of none."""
    if optimizers is None:
        return []
    is_many = isinstance(optimizers, Iterable) and not isinstance(optimizers, Optimizer)
    return list(optimizers) if is_many else [optimizers]  # pyright: ignore[reportUnknownArgumentType]


def plain_optimizer(given: Any) -> Optimizer:
    """Unwrap what libraries put around an optimizer.

    That of accelerate is an optimizer by name, but was never initialised as one: it has no hooks.
    """
    inner = given
    while hasattr(inner, "optimizer") and not hasattr(inner, "_optimizer_step_post_hooks"):
        inner = inner.optimizer
    if not isinstance(inner, Optimizer):
        raise TapError(
            f"Cannot look at the updates of a {type(given).__name__}: expected a "
            "torch.optim.Optimizer or a wrapper with an attribute 'optimizer'."
        )
    return inner


def check_optimizer(model: nn.Module, optimizer: Optimizer) -> None:
    """Refuse an optimizer that changes nothing of the model: it was made for another one."""
    own = {id(parameter) for parameter in model.parameters()}
    if own and not any(id(parameter) in own for parameter in parameters_of(optimizer)):
        raise TapError(
            f"No parameter of {type(model).__name__} belongs to this {type(optimizer).__name__}. "
            "Make the optimizer after the model, from model.parameters()."
        )


def _from_outside_in(model: nn.Module) -> Iterator[nn.Module]:
    """Yield a model and what is inside of it, as far as torch has wrapped it."""
    yield model
    name = "module" if isinstance(model, DistributedDataParallel) else "_orig_mod"
    inner = model._modules.get(name)
    if inner is not None:
        yield from _from_outside_in(inner)


def plain_model(model: nn.Module) -> nn.Module:
    """Unwrap what torch puts around a model to compile it or to train it on several ranks."""
    return list(_from_outside_in(model))[-1]
