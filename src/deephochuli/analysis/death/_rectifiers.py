"""Every rectifier that a model calls, in order, with what goes into it and what comes out."""

# Function modes of torch have no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from deephochuli.taps import CLAMP, FUNCTION_KINDS, is_rectifying_clamp

KINDS = ("relu", "relu6")

SeeInput = Callable[[int, Tensor], None]
"""Takes the number of a rectifier's call and its pre-activations."""

SeeOutput = Callable[[int, Tensor], "Tensor | None"]
"""Takes the number of the call and the activations; gives what stands in their place, or None."""


class Rectifiers(TorchFunctionMode):
    """Shows the input and the output of each rectifier: modules, functions, in place or not.

    A tensor is shown before it can be overwritten. Rectifiers are known by their number in the
    order of the calls, which is the same in every execution of one model on one batch.
    """

    def __init__(self, see: SeeInput | None = None, replace: SeeOutput | None = None) -> None:
        """Show pre-activations to `see`, and put what `replace` gives in place of activations."""
        super().__init__()
        self._see = see
        self._replace = replace
        self.n_calls = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call a function of torch as it would have been called."""
        kwargs = kwargs or {}
        kind = FUNCTION_KINDS.get(func)
        if kind not in KINDS and not (kind == CLAMP and is_rectifying_clamp(args, kwargs)):
            return func(*args, **kwargs)
        z = args[0] if args else kwargs["input"]
        index, self.n_calls = self.n_calls, self.n_calls + 1
        if self._see is not None:
            self._see(index, z)
        out = func(*args, **kwargs)
        other = None if self._replace is None else self._replace(index, out)
        if other is not None:
            with torch.no_grad():
                out.copy_(other)
        return out
