"""A mode below autograd that computes what a model computes as another arithmetic would.

Every operator of the model's forward and of its backward passes through here, whatever called it:
modules, functions, attention, user-written autograd functions, recomputed checkpoints. Sums of
products are formed by the emulated arithmetic; what other operators return is rounded as it would
be on its way to memory.
"""

# Modes below autograd, and the node that is being worked, have no public interface in torch.
# pyright: reportPrivateUsage=false, reportUnknownMemberType=false
# pyright: reportUnnecessaryComparison=false
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from deephochuli.arithmetic._arithmetic import Arithmetic
from deephochuli.arithmetic._dispatched import PRODUCTS, Kept, form, kept_for
from deephochuli.arithmetic._operators import (
    COPYING,
    EXACT,
    FIRST_ONLY,
    OTHER_PRODUCTS,
    mapped,
    tensors_in,
    written_arguments,
)
from deephochuli.arithmetic._places import Places
from deephochuli.arithmetic._storage import Storage
from deephochuli.errors import say
from deephochuli.formats import Format


class Emulation(TorchDispatchMode):
    """Runs the operators of one model in the arithmetic of the layer that they belong to."""

    def __init__(
        self, model: nn.Module, plan: Mapping[str, Arithmetic | None], storage: Storage
    ) -> None:
        """Emulate `plan[path]` in the layer of each path; None leaves a layer alone."""
        super().__init__()
        self.places = Places(model)
        self._model = model
        self._plan = plan
        self._root = plan[""]
        self._storage = storage
        self._weights: set[int] = set()
        self._keeps_weights = any(each and each.weights for each in plan.values())
        self._said: set[Any] = set()
        self.stepping = 0

    def notice_weights(self) -> None:
        """Know the weights by their memory: what an operator is given is often a view of one."""
        self._weights = {each.untyped_storage().data_ptr() for each in self._model.parameters()}

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Compute one operator."""
        kwargs = kwargs or {}
        if torch.is_inference_mode_enabled() and func._can_decompose():
            with self:  # below inference mode composite operators arrive in one piece
                return func.decompose(*args, **kwargs)
        is_exact = func.overloadpacket in EXACT
        if is_exact and not (self._keeps_weights and func.overloadpacket in COPYING):
            return func(*args, **kwargs)
        if self.stepping:
            return func(*args, **kwargs) if is_exact else self._step(func, args, kwargs)
        in_backward, layer = self._where()
        arithmetic = None if layer is None else self._plan.get(layer, self._root)
        if arithmetic is None:
            return func(*args, **kwargs)
        with torch.no_grad():
            args, weights = self._with_narrow_weights(func, args, kwargs, arithmetic)
            if is_exact:
                return func(*args, **kwargs)
            if in_backward:
                return self._backward(func, args, kwargs, arithmetic, weights)
            return self._forward(func, args, kwargs, arithmetic)

    def _where(self) -> tuple[bool, str | None]:
        """Whether a backward is in progress, and the layer at work; None outside the model."""
        if self.places.is_inside:  # also when a checkpoint is computed again
            return False, self.places.here()
        if torch._C._current_graph_task_id() == -1:
            return False, None
        node = torch._C._current_autograd_node()
        return True, "" if node is None else self.places.of_node(node)

    def _forward(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], arithmetic: Arithmetic
    ) -> Any:
        out = self._computed(func, args, kwargs, arithmetic, None)
        return self._store(func, args, kwargs, out, arithmetic, arithmetic.activations)

    def _backward(
        self,
        func: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        arithmetic: Arithmetic,
        weights: list[Tensor],
    ) -> Any:
        in_products = arithmetic.backward or arithmetic
        kept: Kept = None
        if in_products.gradient_inputs is not None and func.overloadpacket in PRODUCTS:
            kept = kept_for(torch._C._current_autograd_node())
            kept |= {each.untyped_storage().data_ptr() for each in weights}
        out = self._computed(func, args, kwargs, in_products, kept)
        return self._store(func, args, kwargs, out, arithmetic, arithmetic.gradients)

    def _computed(
        self,
        func: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        arithmetic: Arithmetic,
        kept: Kept,
    ) -> Any:
        """What an operator makes: its sums of products by the arithmetic, all else by torch."""
        packet = func.overloadpacket
        out = form(func, args, kwargs, arithmetic, kept) if packet in PRODUCTS else None
        if out is not None:
            return out
        is_product = packet in OTHER_PRODUCTS or packet in PRODUCTS
        if is_product and packet not in self._said and _has_inexact_numbers(args):
            self._said.add(packet)
            say(
                f"run_as: {packet} is computed by torch here, on numbers of the type that it is "
                f"given, and not by the arithmetic {arithmetic.name!r}; only its result is rounded."
            )
        return func(*args, **kwargs)

    def _step(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """One operator of an optimizer; scalars such as the count of steps stay as they are."""
        out = func(*args, **kwargs)
        arithmetic = self._root
        if arithmetic is None or arithmetic.optimizer is None:
            return out
        written = written_arguments(func, args, kwargs)
        for tensor in tensors_in(written or out):
            if tensor.dim():
                self._storage.round_in_place(tensor, arithmetic.optimizer, arithmetic.rounding)
        return out

    def finish_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Round weights of one number and their states, which look like counts of steps till then.

        Whatever else an optimizer keeps in tensors of no dimension stays as it is.
        """
        arithmetic = self._root
        if arithmetic is None or arithmetic.optimizer is None:
            return
        own = {id(each) for each in self._model.parameters()}
        for group in optimizer.param_groups:
            for each in (p for p in group["params"] if not p.dim() and id(p) in own):
                states = optimizer.state.get(each, {}).items()
                kept = [v for key, v in states if isinstance(v, Tensor) and key != "step"]
                for tensor in (each, *kept):
                    self._storage.round_in_place(
                        tensor.detach(), arithmetic.optimizer, arithmetic.rounding
                    )

    def _with_narrow_weights(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], arithmetic: Arithmetic
    ) -> tuple[tuple[Any, ...], list[Tensor]]:
        """The arguments with weights as they would lie in memory, and these weights.

        Those that the operator writes to stay as they are.
        """
        narrow: list[Tensor] = []
        if arithmetic.weights is None:
            return args, narrow
        written = {id(each) for each in written_arguments(func, args, kwargs)}

        def read(tensor: Tensor) -> Tensor:
            if id(tensor) in written or not self._is_weight(tensor):
                return tensor
            made = self._storage.rounded(tensor, arithmetic.weights, arithmetic.rounding)
            narrow.append(made)
            return made

        return mapped(args, read), narrow

    def _is_weight(self, tensor: Tensor) -> bool:
        return tensor.layout is torch.strided and (
            tensor.untyped_storage().data_ptr() in self._weights
        )

    def _store(
        self,
        func: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        out: Any,
        arithmetic: Arithmetic,
        fmt: Format | None,
    ) -> Any:
        """Round what an operator made, as it would be rounded on its way to memory.

        A weight that it wrote to is kept in the format of the weights.
        """
        if fmt is None and arithmetic.weights is None:
            return out
        written = written_arguments(func, args, kwargs)
        if func.overloadpacket in FIRST_ONLY:
            made: Any = out[0]
        else:
            made = written or out
        for tensor in tensors_in(made):
            kept = arithmetic.weights if written and self._is_weight(tensor) else fmt
            if kept is not None:
                self._storage.round_in_place(tensor, kept, arithmetic.rounding)
        return out


def _has_inexact_numbers(args: tuple[Any, ...]) -> bool:
    return any(each.is_floating_point() or each.is_complex() for each in tensors_in(args))
