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

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from deephochuli.arithmetic._arithmetic import Arithmetic
from deephochuli.arithmetic._dispatched import PRODUCTS
from deephochuli.arithmetic._operators import (
    EXACT,
    FIRST_ONLY,
    mapped,
    tensors_in,
    written_arguments,
)
from deephochuli.arithmetic._places import Places
from deephochuli.arithmetic._storage import Storage


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
        if func.overloadpacket in EXACT:
            return func(*args, **kwargs)
        if self.stepping:
            return self._step(func, args, kwargs)
        in_backward, layer = self._where()
        arithmetic = None if layer is None else self._plan.get(layer, self._root)
        if arithmetic is None:
            return func(*args, **kwargs)
        with torch.no_grad():
            if in_backward:
                return self._backward(func, args, kwargs, arithmetic)
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
        if arithmetic.weights is not None:
            args = mapped(args, self._weight_reader(arithmetic))
        compute = PRODUCTS.get(func.overloadpacket)
        if compute is not None:
            out = compute(func, args, kwargs, arithmetic, None)
        else:
            out = func(*args, **kwargs)
        return self._store(func, args, kwargs, out, arithmetic, "activations")

    def _backward(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], arithmetic: Arithmetic
    ) -> Any:
        if arithmetic.weights is not None:
            args = mapped(args, self._weight_reader(arithmetic))
        compute = PRODUCTS.get(func.overloadpacket)
        if compute is not None:
            node = torch._C._current_autograd_node()
            out = compute(func, args, kwargs, arithmetic.backward or arithmetic, node)
        else:
            out = func(*args, **kwargs)
        return self._store(func, args, kwargs, out, arithmetic, "gradients")

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

    def _weight_reader(self, arithmetic: Arithmetic) -> Callable[[Tensor], Tensor]:
        """Reads a weight as it would lie in memory, and leaves anything else as it is."""

        def read(tensor: Tensor) -> Tensor:
            if tensor.untyped_storage().data_ptr() not in self._weights:
                return tensor
            return self._storage.rounded(tensor, arithmetic.weights, arithmetic.rounding)

        return read

    def _store(
        self,
        func: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        out: Any,
        arithmetic: Arithmetic,
        role: str,
    ) -> Any:
        """Round what an operator made, as it would be rounded on its way to memory."""
        fmt = getattr(arithmetic, role)
        if fmt is None:
            return out
        written = written_arguments(func, args, kwargs)
        if func.overloadpacket in FIRST_ONLY:
            made: Any = out[0]
        else:
            made = written or out
        for tensor in tensors_in(made):
            self._storage.round_in_place(tensor, fmt, arithmetic.rounding)
        return out
