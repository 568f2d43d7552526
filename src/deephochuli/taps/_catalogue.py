"""The modules of one model, under the names that people know them by."""

# Whether a module has parameters of its own is asked without walking its children.
# pyright: reportPrivateUsage=false, reportUnknownMemberType=false
from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import cast

from torch import nn
from torch.nn.modules.batchnorm import _NormBase  # the one base of batch and instance norms
from torch.nn.modules.conv import _ConvNd

from deephochuli.errors import TapError
from deephochuli.taps._activations import ATTENTION, KINDS, RELU, activation_kind
from deephochuli.taps._place import (
    ACTIVATION,
    ACTIVATION_GRADIENT,
    PRE_ACTIVATION,
    PRE_ACTIVATION_GRADIENT,
    Place,
)
from deephochuli.taps._selection import Selection


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
        has_output: Whether its output is looked at.
        order: Index in the order of first execution, -1 before that.
        slots: What has been met at this module so far.
    """

    module: nn.Module
    path: str
    kind: str | None
    channel_hint: int | None
    has_output: bool = False
    order: int = -1
    slots: dict[Hashable, Slot] = field(default_factory=dict[Hashable, Slot])

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
    if n_dims == 4 and kind in {ATTENTION, "softmax"}:
        return 1
    if hint is not None and -n_dims <= hint < n_dims:
        return hint % n_dims
    return n_dims - 1 if n_dims == 3 else 1


class Catalogue:
    """Every module of a model by identity, and every place met at them so far."""

    def __init__(self, model: nn.Module, selection: Selection) -> None:
        """List the modules of `model`; `selection` decides which places are looked at."""
        self.model = model
        self.selection = selection
        self._modules = dict(modules_of(model))
        self._listed = {path: number for number, path in enumerate(self._modules)}
        self.by_id = {
            id(module): Tapped(
                module,
                path,
                activation_kind(module),
                channel_hint(module),
                selection.outputs and (module is model or has_output_of_interest(module)),
            )
            for path, module in self._modules.items()
        }
        self._ticks = itertools.count()
        self._is_listed = False
        self._check()

    def _check(self) -> None:
        """Refuse a model in which there is nothing to look at."""
        has_activations = any(tapped.kind is not None for tapped in self.by_id.values())
        parameters = [name for name, _ in self.model.named_parameters()]
        if not parameters and not has_activations:
            raise TapError(
                f"Cannot look at {type(self.model).__name__}: it has neither parameters nor "
                "activation modules. Pass the model that is trained."
            )
        names = [path for path in self._modules if path] + parameters
        functional = (
            f"{path}.{kind}" if path else kind for path in self._modules for kind in KINDS
        )
        self.selection.check(names, functional, self.model)

    def tick(self) -> int:
        """Return the next index in the order of first execution."""
        return next(self._ticks)

    def wants(self, place: Place) -> bool:
        """Say whether a place is looked at."""
        return self.selection.wants(place, list(self._around(place.module)))

    def _around(self, path: str) -> Iterator[nn.Module]:
        """Yield the module at `path` and the modules around it, innermost first."""
        while path:
            if path in self._modules:
                yield self._modules[path]
            path = path.rpartition(".")[0]
        yield self.model

    def order_of(self, path: str) -> int:
        """Return when a module was first executed, or else the nearest one around it.

        Before anything was executed it is the order in which the modules are listed.
        """
        orders = (self.by_id[id(module)].order for module in self._around(path))
        return next((order for order in orders if order >= 0), self._listed.get(path, 0))

    def take_listed_order(self) -> None:
        """Take the order in which modules are listed for that of their execution.

        Compiled code does not tell when a module is executed.
        """
        if not self._is_listed:
            self._is_listed = True
            for tapped in self.by_id.values():
                tapped.order = self.tick() if tapped.order < 0 else tapped.order

    def wanted_at(self, tapped: Tapped, function: str | None = None) -> Slot:
        """Return the places that are wanted around the calls of an activation module.

        Args:
            tapped: The module.
            function: Kind of a function that the module calls; the calls of that are meant then.
        """
        kind = function or tapped.kind or tapped.type_name
        layer = self._layer_of(tapped, function) if function else tapped.path or tapped.type_name
        return self._slot(tapped, _quantities(kind), layer, 1, kind, None, order=0)

    def module_slot(self, tapped: Tapped, index: int, dim: int | None) -> Slot:
        """Return the places around call number `index` of an activation module."""
        kind = tapped.kind or type(tapped.module).__name__
        key: Hashable = index
        if key not in tapped.slots:
            layer = tapped.path or tapped.type_name
            tapped.slots[key] = self._slot(tapped, _quantities(kind), layer, index, kind, dim)
        return tapped.slots[key]

    def function_slot(self, tapped: Tapped, kind: str, index: int, dim: int | None) -> Slot:
        """Return the places around call number `index` of a function in a module."""
        key: Hashable = (kind, index)
        if key not in tapped.slots:
            layer = self._layer_of(tapped, kind)
            tapped.slots[key] = self._slot(tapped, _quantities(kind), layer, index, kind, dim)
        return tapped.slots[key]

    def _layer_of(self, tapped: Tapped, function: str) -> str:
        """Name a function that a module calls, told apart from a module of the same name."""
        layer = f"{tapped.path}.{function}" if tapped.path else function
        return layer + "()" if layer in self._modules else layer

    def output_slot(self, tapped: Tapped, suffix: str, index: int, dim: int | None) -> Slot:
        """Return the places at one tensor that a module returns."""
        key: Hashable = (suffix, "output", index)
        if key not in tapped.slots:
            layer = (tapped.path or "output") + suffix
            quantities = [ACTIVATION, ACTIVATION_GRADIENT]
            tapped.slots[key] = self._slot(tapped, quantities, layer, index, "output", dim)
        return tapped.slots[key]

    def _slot(
        self,
        tapped: Tapped,
        quantities: list[str],
        layer: str,
        index: int,
        role: str,
        dim: int | None,
        order: int | None = None,
    ) -> Slot:
        slot = Slot()
        if order is None:
            order = tapped.order if self._is_listed else self.tick()
        name = layer if index == 1 else f"{layer}#{index}"
        for quantity in quantities:
            place = Place(name, quantity, tapped.path, tapped.type_name, role, dim, order)
            if self.wants(place):
                slot.set(quantity, place)
        return slot


def modules_of(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """List every module of a model under its first name."""
    walk = cast(Iterator[tuple[str, nn.Module]], model.named_modules())
    return list(walk)


def has_output_of_interest(module: nn.Module) -> bool:
    """Say whether a module is a layer: it has parameters of its own, or is an attention."""
    return bool(module._parameters) or isinstance(module, nn.MultiheadAttention)


def _quantities(kind: str) -> list[str]:
    """List what there is to see around one kind of activation."""
    if kind == ATTENTION:
        return [ACTIVATION, ACTIVATION_GRADIENT]
    if kind == RELU:  # its output follows exactly from its input
        return [PRE_ACTIVATION, PRE_ACTIVATION_GRADIENT, ACTIVATION_GRADIENT]
    return [PRE_ACTIVATION, ACTIVATION, PRE_ACTIVATION_GRADIENT, ACTIVATION_GRADIENT]
