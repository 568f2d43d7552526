"""In which arithmetic a copy of a model is run while its kinks are counted."""

# Operators of torch are looked up by name.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false, reportPrivateUsage=false
from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from deephochuli.arithmetic import Arithmetic, get_arithmetic, run_as
from deephochuli.errors import CompareError, near_matches
from deephochuli.formats import Format, format_of_dtype

aten: Any = torch.ops.aten

Bias = Literal["fused", "apart"]
"""Whether a bias is added by the kernel that forms the sum, or to the sum after it was rounded."""

_NATIVE = {"fp64": torch.float64, "fp32": torch.float32}

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True, slots=True)
class Execution:
    """One way to compute a model.

    Attributes:
        name: Its name in tables.
        dtype: Of parameters and inputs; None for those that the model has.
        arithmetic: What it is run as, besides; None for torch's own.
        bias: "fused": as torch's kernels add it; "apart": added to the rounded sum, and rounded.

    Raises:
        CompareError: The dtype is none that gradients are formed in, or `bias` is unknown.
    """

    name: str
    dtype: torch.dtype | None = None
    arithmetic: Arithmetic | str | None = None
    bias: Bias = "fused"

    def __post_init__(self) -> None:
        if self.dtype is not None and self.dtype not in DTYPES:
            names = ", ".join(str(each) for each in DTYPES)
            raise CompareError(f"Execution {self.name!r} has dtype={self.dtype}; one of {names}.")
        if self.bias not in get_args(Bias):
            raise CompareError(
                f"Execution {self.name!r} has bias={self.bias!r}. "
                f"{near_matches(str(self.bias), get_args(Bias))}"
            )
        if self.arithmetic is not None:
            get_arithmetic(self.arithmetic)


Spec = Execution | torch.dtype | Arithmetic | str | None


def execution_of(spec: Spec) -> Execution:
    """An execution from its short form: a dtype, an arithmetic or its name, None for as it is.

    "fp64" and "fp32" are computed by torch in these dtypes; other arithmetics are emulated, their
    numbers carried in float32.

    Raises:
        ArithmeticSpecError: There is no arithmetic of this name.
        CompareError: torch forms no gradients in this dtype.

    Example:
        >>> execution_of(torch.bfloat16).name, execution_of("bf16").name, execution_of(None).name
        ('bfloat16', 'as bf16', 'as it is')
    """
    if isinstance(spec, Execution):
        return spec
    if isinstance(spec, torch.dtype):
        return Execution(str(spec).removeprefix("torch."), dtype=spec)
    if spec is None:
        return Execution("as it is")
    if spec in _NATIVE:
        return Execution(str(spec), dtype=_NATIVE[str(spec)])
    arithmetic = get_arithmetic(spec)
    return Execution(f"as {arithmetic.name}", dtype=torch.float32, arithmetic=arithmetic)


@contextmanager
def executing(model: nn.Module, execution: Execution, seed: int) -> Generator[None]:
    """Compute whatever `model` computes inside the block in the way of an execution."""
    with ExitStack() as entered:
        if execution.arithmetic is not None:
            entered.enter_context(run_as(model, execution.arithmetic, seed=seed))
        if execution.bias == "apart":
            entered.enter_context(BiasApart())
        yield


def stored_format(execution: Execution, dtype: torch.dtype) -> Format:
    """The format that pre-activations of a dtype are kept in."""
    if execution.arithmetic is not None:
        arithmetic = get_arithmetic(execution.arithmetic)
        kept = arithmetic.activations or arithmetic.output
        if kept is not None:
            return kept
    return format_of_dtype(str(dtype))


class BiasApart(TorchDispatchMode):
    """Adds biases to sums that are rounded already, as a kernel without an epilogue does."""

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Take a product and the addition of its bias apart."""
        kwargs = kwargs or {}
        if func.overloadpacket is aten.convolution and args[2] is not None:
            made = func(*args[:2], None, *args[3:], **kwargs)
            return made + args[2].view(-1, *[1] * (made.dim() - 2))
        if func.overloadpacket is aten.addmm and not kwargs:
            return aten.mm(*args[1:3]) + args[0]
        return func(*args, **kwargs)
