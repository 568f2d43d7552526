"""Looking at the tensors around an activation: the value now, the gradient when it comes."""

# `_base` has no public interface in torch. All of this runs outside of function modes.
# pyright: reportPrivateUsage=false, reportUnknownMemberType=false
from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from deephochuli.taps._activations import ATTENTION, CLAMP, is_rectifying_clamp
from deephochuli.taps._catalogue import Catalogue, Slot, Tapped, channel_dim
from deephochuli.taps._checkpoint import in_backward
from deephochuli.taps._frames import Call, ThreadState
from deephochuli.taps._outputs import is_real, tensors_in
from deephochuli.taps._place import Place
from deephochuli.taps._reader import BaseGradientHook, GradientHook, Reader


class Look:
    """Shows what is there at each place, once per logical forward and backward.

    In a recomputation (activation checkpointing) values were shown on the first run, but the
    gradient hooks belong here: the first run of a reentrant checkpoint has no graph, and the
    second graph of a non-reentrant one gets no gradients.
    """

    def __init__(self, catalogue: Catalogue, reader: Reader) -> None:
        """Find places in `catalogue` and show tensors through `reader`."""
        self._catalogue = catalogue
        self._reader = reader
        self._leaf_hooks: list[RemovableHandle] = []
        self._regions: WeakKeyDictionary[object, dict[Hashable, int]] = WeakKeyDictionary()

    def remember_counts(self, region: object | None, counts: Mapping[Hashable, int]) -> None:
        """Keep how often things had been called where a reentrant checkpoint began."""
        if region is not None and region not in self._regions:
            self._regions[region] = dict(counts)

    def counts_at(self, region: object | None) -> Mapping[Hashable, int]:
        """Return what was kept for a region."""
        return {} if region is None else self._regions.get(region, {})

    def at_module_input(self, state: ThreadState, call: Call, tapped: Tapped, z: Tensor) -> None:
        """Look at what goes into an activation module."""
        dim = channel_dim(state.channel_hint, z.ndim, tapped.kind or "")
        call.slot = self._catalogue.module_slot(tapped, call.index, dim)
        self._input(call.slot, z, bool(getattr(tapped.module, "inplace", False)))

    def at_module_outputs(
        self, state: ThreadState, tapped: Tapped, index: int, output: object
    ) -> None:
        """Look at every tensor that a module returns."""
        for suffix, tensor in tensors_in(output):
            dim = channel_dim(state.channel_hint, tensor.ndim, "output")
            self.at_output(self._catalogue.output_slot(tapped, suffix, index, dim), tensor)

    def at_function_input(
        self,
        state: ThreadState,
        kind: str,
        function: Callable[..., object],
        args: tuple[object, ...],
        kwargs: dict[str, object],
    ) -> Slot | None:
        """Look at what goes into an activation function, unless its caller is not looked at."""
        caller = state.enclosing_of_model()
        z = args[0] if args else kwargs.get("input", kwargs.get("query"))
        if caller is None or caller.tapped is None or not is_real(z):
            return None
        if kind == CLAMP and not is_rectifying_clamp(args, kwargs):
            return None
        dim = channel_dim(state.channel_hint, z.ndim, kind)
        slot = self._catalogue.function_slot(caller.tapped, kind, caller.count(kind), dim)
        if kind != ATTENTION:
            self._input(slot, z, is_in_place(function, args, kwargs))
        return slot

    def at_output(self, slot: Slot, output: object) -> None:
        """Look at what an activation returns."""
        if not is_real(output) or (slot.a is None and slot.da is None):
            return
        if slot.a is not None and not in_backward():
            self._reader.see(slot.a, output)
        if slot.da is not None:
            self._hook(output, slot.da, is_in_place=False)

    def _input(self, slot: Slot, z: Tensor, is_in_place: bool) -> None:
        if slot.z is not None and not in_backward():
            self._reader.see(slot.z, z)
        if slot.dz is not None:
            self._hook(z, slot.dz, is_in_place)

    def _hook(self, tensor: Tensor, place: Place, is_in_place: bool) -> None:
        """Have the gradient shown when it comes."""
        if not (tensor.requires_grad and torch.is_grad_enabled()):
            return
        hooked, hook = tensor, GradientHook(self._reader, place)
        if is_in_place and tensor._base is not None:
            hooked = tensor._base
            hook = BaseGradientHook(self._reader, place, tensor, hooked)
        if in_backward() and _has_hook(hooked, place):
            return  # what goes into a checkpoint is the same tensor on both runs
        handle = cast(RemovableHandle, hooked.register_hook(hook))
        if hooked.is_leaf:
            self._leaf_hooks.append(handle)

    def drop_leaf_hooks(self) -> None:
        """Unhook the user's own tensors: unlike a graph, they live on after a step."""
        while self._leaf_hooks:
            self._leaf_hooks.pop().remove()


def _has_hook(tensor: Tensor, place: Place) -> bool:
    """Say whether the gradient of a tensor is to be shown at a place already."""
    hooks: Mapping[int, object] = tensor._backward_hooks or {}
    known = [hook.place for hook in hooks.values() if isinstance(hook, GradientHook)]
    return place in known


def is_in_place(
    function: Callable[..., object], args: tuple[object, ...], kwargs: dict[str, object]
) -> bool:
    """Say whether a call of an activation function overwrites its argument."""
    name: str = getattr(function, "__name__", "")
    is_asked = any(argument is True for argument in args[1:])
    return name.endswith("_") or bool(kwargs.get("inplace")) or is_asked
