"""One execution of a model, call by call: what went in, what came out, and both gradients.

A *call* is one call of one module, named by the module's path and by how often it was called before
in the same execution. Executions on different machines, devices or dtypes are laid side by side by
these names.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass, field

from torch import Tensor

CallName = tuple[str, int]
"""Path of a module, and the index of its call."""

Place = tuple[CallName, str, int]
"""A call, "input" or "output", and which of its tensors."""


@dataclass(slots=True)
class Call:
    """What one call of one module took and gave.

    Attributes:
        path: Path of the module; "" is the model itself.
        index: How often the module was called before in this execution.
        kind: Class of the module.
        parent: The call inside which this one happened; None for the model's own.
        is_leaf: Whether the module has no modules below it.
        inputs: Floating-point tensors that went in, in the order of the arguments.
        outputs: Floating-point tensors that came out.
        grad_inputs: Gradient of the loss by each input through this call alone; None where none
            came.
        grad_outputs: Gradient of the loss by each output; None where none came.
    """

    path: str
    index: int
    kind: str
    parent: CallName | None
    is_leaf: bool
    inputs: list[Tensor] = field(default_factory=list[Tensor])
    outputs: list[Tensor] = field(default_factory=list[Tensor])
    grad_inputs: list[Tensor | None] = field(default_factory=list["Tensor | None"])
    grad_outputs: list[Tensor | None] = field(default_factory=list["Tensor | None"])

    @property
    def name(self) -> CallName:
        """Path and index."""
        return self.path, self.index


@dataclass(slots=True)
class Trace:
    """One execution of a model on one batch.

    Attributes:
        executor: What it was executed by.
        calls: All calls in the order in which they began.
        gradients: Gradient of the loss by each parameter, by its name.
        updates: What an optimizer step added to each parameter; empty without an optimizer.
        loss: The loss; None where there was none.
        environment: Versions and flags of the machine, for traces that are saved.
        is_whole: Whether the model ran in one piece, so that only its own call was seen.
    """

    executor: str
    calls: dict[CallName, Call] = field(default_factory=dict[CallName, Call])
    gradients: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    updates: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    loss: float | None = None
    environment: dict[str, str] = field(default_factory=dict[str, str])
    is_whole: bool = False

    def tensors(self) -> Iterator[Tensor]:
        """Every tensor that the trace holds."""
        for call in self.calls.values():
            yield from call.inputs
            yield from call.outputs
            yield from (each for each in call.grad_inputs if each is not None)
            yield from (each for each in call.grad_outputs if each is not None)
        yield from self.gradients.values()
        yield from self.updates.values()

    @property
    def n_bytes(self) -> int:
        """Memory of all its tensors."""
        return sum(each.numel() * each.element_size() for each in self.tensors())


def owner_of(parameter: str, calls: Container[CallName]) -> tuple[CallName, str]:
    """The call that a parameter is counted under, and its name from there on.

    That of the module that holds it; where that one is never called itself (the output projection
    of `nn.MultiheadAttention`, an `nn.ParameterList`), of the nearest one around it that is.

    Example:
        >>> owner_of("attn.out_proj.weight", [("", 0), ("attn", 0)])
        (('attn', 0), 'out_proj.weight')
    """
    parts = parameter.split(".")
    for length in range(len(parts) - 1, 0, -1):
        call = ".".join(parts[:length]), 0
        if call in calls:
            return call, ".".join(parts[length:])
    return ("", 0), parameter


def label(name: CallName) -> str:
    """A call as people read it.

    Example:
        >>> label(("blocks.0.conv", 0)), label(("relu", 2)), label(("", 0))
        ('blocks.0.conv', 'relu (call 3)', '(model)')
    """
    path, index = name
    return (path or "(model)") + (f" (call {index + 1})" if index else "")
