"""Record one execution of a model: every call's inputs and outputs, and the gradients by both."""

# torch leaves much of its interface without types.
# pyright: reportUnknownMemberType=false
from __future__ import annotations

from typing import Any

from torch import Tensor

from deephochuli.analysis.compare._trace import Call, Trace
from deephochuli.errors import CompareError


class Capture:
    """Copies what crosses the border of each call into a trace.

    What goes on is a copy too, which autograd knows: its gradient is that of this call alone, also
    where a tensor is used by several, and a module that works in place changes only its copy.
    """

    def __init__(self, trace: Trace, max_bytes: int) -> None:
        """Fill `trace`, and stop with an error where it would need more than `max_bytes`."""
        self._trace = trace
        self._left = max_bytes
        self._max_bytes = max_bytes

    def enter(self, call: Call) -> None:
        """Open a call in the trace."""
        self._trace.calls[call.name] = call

    def visit_input(self, call: Call, tensor: Tensor, place: int) -> Tensor:
        """Keep an input and, later, its gradient."""
        return self._keep(call, tensor, call.inputs, call.grad_inputs)

    def visit_output(self, call: Call, tensor: Tensor, place: int) -> Tensor:
        """Keep an output and, later, its gradient."""
        return self._keep(call, tensor, call.outputs, call.grad_outputs)

    def _keep(
        self, call: Call, tensor: Tensor, kept: list[Tensor], gradients: list[Tensor | None]
    ) -> Tensor:
        self._spend(call, tensor)
        kept.append(tensor.detach().clone())
        gradients.append(None)
        passed = tensor.clone()
        if passed.requires_grad:
            self._spend(call, tensor)
            place = len(gradients) - 1

            def keep(gradient: Any) -> None:
                gradients[place] = gradient.detach().clone()

            passed.register_hook(keep)
        return passed

    def _spend(self, call: Call, tensor: Tensor) -> None:
        self._left -= tensor.numel() * tensor.element_size()
        if self._left < 0:
            raise CompareError(
                f"Keeping every call of this model needs more than {self._max_bytes / 2**30:.1f} "
                f"GiB, spent at {call.path or 'the model itself'!r} after "
                f"{len(self._trace.calls)} calls. Give a smaller batch, compare a part of the "
                "model (model.some_block with its own input), or raise max_bytes."
            )
