"""The modules of one model, under the names that people know them by."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field

from torch import nn
from torch.nn.modules.batchnorm import _NormBase  # the one base of batch and instance norms
from torch.nn.modules.conv import _ConvNd

from deephochuli.taps._activations import activation_kind
from deephochuli.taps._place import (
    ACTIVATION,
    ACTIVATION_GRADIENT,
    PRE_ACTIVATION,
    PRE_ACTIVATION_GRADIENT,
    Place,
)


@dataclass(slots=True)
class Slot:
    """The places around one activation, or at one output; None where nobody looks."""

    z: Place | None = None
    a: Place | None = None
    dz: Place | None = None
    da: Place | None = None

    def set(self, quantity: str, place: Place) -> None:
        """Fill in the place of one quantity."""
        setattr(self, quantity, place)


@dataclass(slots=True, eq=False)
class Tapped:
    """One module of the model.

    Attributes:
        module: The module itself; kept alive so that its identity stays its own.
        path: Its qualified name, ``""`` for the model.
        kind: The activation it computes, or None.
        channel_hint: Dimension in which its output counts channels, from the end if negative.
        order: Index in the order of first execution, -1 before that.
        slots: What has been met at this module so far.
    """

    module: nn.Module
    path: str
    kind: str | None
    channel_hint: int | None
    order: int = -1
    slots: dict[Hashable, Slot] = field(default_factory=dict)

    @property
    def type_name(self) -> str:
        """Class name of the module."""
        return type(self.module).__name__


def channel_hint(module: nn.Module) -> int | None:
    """Say where a layer's output counts its channels, as far as its type tells."""
    if isinstance(module, _ConvNd):
        return -1 - len(module.kernel_size)
    if isinstance(module, _NormBase | nn.GroupNorm):
        return 1
    if module._parameters and not isinstance(module, nn.PReLU):
        return -1
    return None


def channel_dim(hint: int | None, n_dims: int, kind: str) -> int | None:
    """Say which dimension of a tensor counts channels.

    Args:
        hint: What the last layer with parameters says, from the end if negative.
        n_dims: Number of dimensions of the tensor.
        kind: Activation computed; in attention (and a softmax over 4 dimensions) heads count.

    Returns:
        The dimension, or None when the tensor has fewer than two.
    """
    if n_dims < 2:
        return None
    if n_dims == 4 and kind in {"attention", "softmax"}:
        return 1
    if hint is not None and -n_dims <= hint < n_dims:
        return hint % n_dims
    return n_dims - 1 if n_dims == 3 else 1


class Catalogue:
    """Every module of a model by identity, and every place met at them so far."""

    def __init__(self, model: nn.Module, wants: Callable[[Place, nn.Module], bool]) -> None:
        """List the modules of `model`; `wants` decides which places are looked at."""
        self.model = model
        self.by_id = {
            id(module): Tapped(module, path, activation_kind(module), channel_hint(module))
            for path, module in model.named_modules()
        }
        self._paths = {tapped.path for tapped in self.by_id.values()}
        self._wants = wants
        self._ticks = itertools.count()

    def tick(self) -> int:
        """Return the next index in the order of first execution."""
        return next(self._ticks)

    def order_of(self, path: str) -> int:
        """Return when a module was first executed, or else the nearest one around it."""
        by_path = {tapped.path: tapped.order for tapped in self.by_id.values()}
        while path and by_path.get(path, -1) < 0:
            path = path.rpartition(".")[0]
        return max(by_path.get(path, 0), 0)

    def functional_layer(self, path: str, kind: str) -> str:
        """Name a functional activation, apart from any module of the same name."""
        layer = f"{path}.{kind}" if path else kind
        return f"{layer}()" if layer in self._paths else layer

    def activation_slot(
        self, tapped: Tapped, kind: str, index: int, dim: int | None, layer: str
    ) -> Slot:
        """Create the places around an activation, met here for the first time."""
        quantities = [PRE_ACTIVATION, PRE_ACTIVATION_GRADIENT, ACTIVATION_GRADIENT]
        if kind == "attention":
            quantities = [ACTIVATION, ACTIVATION_GRADIENT]
        elif kind != "relu":  # the output of a ReLU follows exactly from its input
            quantities.append(ACTIVATION)
        return self._slot(tapped, quantities, layer, index, kind, dim)

    def _slot(
        self,
        tapped: Tapped,
        quantities: list[str],
        layer: str,
        index: int,
        role: str,
        dim: int | None,
    ) -> Slot:
        slot, order = Slot(), self.tick()
        name = layer if index == 1 else f"{layer}#{index}"
        for quantity in quantities:
            place = Place(name, quantity, tapped.path, tapped.type_name, role, dim, order)
            if self._wants(place, tapped.module):
                slot.set(quantity, place)
        return slot

    def activations(self) -> Iterator[Tapped]:
        """Yield the modules that are activations."""
        return (tapped for tapped in self.by_id.values() if tapped.kind is not None)
