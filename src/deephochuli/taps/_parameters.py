"""The parameters that an optimizer changes, and the state it keeps about them."""

# Parameters are asked of the module that owns them, which `named_parameters` does not tell.
# pyright: reportPrivateUsage=false, reportUnknownMemberType=false
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from deephochuli.taps._catalogue import Catalogue, modules_of
from deephochuli.taps._place import STATE, UPDATE, WEIGHT, WEIGHT_GRADIENT, Place


@dataclass(frozen=True, slots=True)
class ParameterTap:
    """One parameter and the places at it; a place is None where nobody looks.

    Attributes:
        name: Qualified name, the first one if the parameter is tied.
        parameter: The parameter. Read it under ``torch.no_grad()`` and do not keep its values.
        w: Place of its value.
        g: Place of its gradient; None for a frozen parameter.
        dw: Place of its update; None for a frozen parameter.
        state: Places and tensors of the optimizer's state about it, as they are now.
    """

    name: str
    parameter: Tensor
    w: Place | None
    g: Place | None
    dw: Place | None
    state: tuple[tuple[Place, Tensor], ...] = field(default=())


class ParameterCatalogue:
    """Names the parameters of a model and of its optimizers."""

    def __init__(self, catalogue: Catalogue) -> None:
        """Name the parameters by the modules of `catalogue`."""
        self._catalogue = catalogue
        self._places: dict[tuple[str, str], Place | None] = {}

    def taps(self, optimizer: Optimizer, *, with_frozen: bool) -> Iterator[ParameterTap]:
        """Yield what can be seen at the parameters of one optimizer, each parameter once.

        Args:
            optimizer: Its parameters are yielded, in the order of the model.
            with_frozen: Whether to add the model's frozen parameters, of which there is only `w`.
        """
        stepped = {id(parameter): parameter for parameter in parameters_of(optimizer)}
        for name, owner, parameter in self._named():
            is_stepped = stepped.pop(id(parameter), None) is not None
            is_frozen = not parameter.requires_grad
            if is_stepped or (is_frozen and with_frozen):
                yield self._tap(name, owner, parameter, optimizer if is_stepped else None)
        for index, parameter in enumerate(stepped.values()):
            name = f"{type(optimizer).__name__}.parameter{index}"
            yield self._tap(name, self._catalogue.model, parameter, optimizer)

    def _named(self) -> Iterator[tuple[str, nn.Module, Tensor]]:
        """Yield name, owning module and parameter; a tied parameter only once."""
        seen: set[int] = set()
        for path, module in modules_of(self._catalogue.model):
            for role, parameter in module._parameters.items():
                if parameter is not None and id(parameter) not in seen:
                    seen.add(id(parameter))
                    yield (f"{path}.{role}" if path else role), module, parameter

    def _tap(
        self, name: str, owner: nn.Module, parameter: Tensor, optimizer: Optimizer | None
    ) -> ParameterTap:
        place = self._place
        w = place(name, WEIGHT, owner, parameter)
        if optimizer is None or not parameter.requires_grad:
            return ParameterTap(name, parameter, w, None, None)
        g = place(name, WEIGHT_GRADIENT, owner, parameter)
        dw = place(name, UPDATE, owner, parameter)
        state = tuple(self._state(name, owner, parameter, optimizer))
        return ParameterTap(name, parameter, w, g, dw, state)

    def _state(
        self, name: str, owner: nn.Module, parameter: Tensor, optimizer: Optimizer
    ) -> Iterator[tuple[Place, Tensor]]:
        kept: dict[str, Any] = optimizer.state.get(parameter, {})
        for key, value in kept.items():
            if isinstance(value, Tensor) and value.ndim > 0 and value.is_floating_point():
                place = self._place(name, f"{STATE}:{key}", owner, value)
                if place is not None:
                    yield place, value

    def _place(self, name: str, quantity: str, owner: nn.Module, like: Tensor) -> Place | None:
        """Return the one place of this name, or None if nobody looks there."""
        key = (name, quantity)
        if key not in self._places:
            tapped = self._catalogue.by_id.get(id(owner))
            path = tapped.path if tapped else ""
            role = name.rpartition(".")[2]
            dim = parameter_channel_dim(owner, like)
            order = self._catalogue.order_of(path)
            place = Place(name, quantity, path, type(owner).__name__, role, dim, order)
            self._places[key] = place if self._catalogue.wants(place) else None
        return self._places[key]


def parameters_of(optimizer: Optimizer) -> Iterator[Tensor]:
    """Yield every parameter of an optimizer."""
    for group in optimizer.param_groups:
        yield from group["params"]


def parameter_channel_dim(owner: nn.Module, parameter: Tensor) -> int | None:
    """Say which dimension of a parameter counts output channels."""
    if parameter.ndim == 0:
        return None
    is_input_first = getattr(owner, "transposed", False) or type(owner).__name__ == "Conv1D"
    return 1 if is_input_first and parameter.ndim > 1 else 0
