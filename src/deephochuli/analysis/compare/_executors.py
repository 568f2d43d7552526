"""Ways to execute a model: an arithmetic, a dtype, a device, flags, threads, a split batch."""

# torch leaves much of its interface without types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownLambdaType=false, reportAttributeAccessIssue=false
from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from deephochuli.analysis.compare import _onnx as _exported
from deephochuli.arithmetic import Arithmetic, get_arithmetic, list_arithmetics, run_as
from deephochuli.errors import ArithmeticSpecError, CompareError, check_kind, near_matches

Context = Callable[[nn.Module], AbstractContextManager[Any]]


def _nothing(model: nn.Module) -> AbstractContextManager[Any]:
    return nullcontext()


@dataclass(frozen=True, slots=True, kw_only=True)
class Executor:
    """One way to execute a model.

    Attributes:
        name: Name in tables.
        dtype: What the model's floating-point tensors are converted to; None leaves them.
        device: Where it runs; None where the model is.
        context: What is entered around forward, backward and optimizer step.
        n_parts: Into how many parts the batch is cut.
        prepare: Changes the copy of the model that will run.
        model: Another model to run in its place; None runs the model itself.
        optimizer: The optimizer of that other model; None takes the task's, with its parameters.
        precision: Significand bits of the arithmetic that this execution claims to use.
        is_whole: Whether the model runs in one piece, so that its layers cannot be seen.
    """

    name: str
    dtype: torch.dtype | None = None
    device: str | None = None
    context: Context = _nothing
    n_parts: int = 1
    prepare: Callable[[nn.Module], None] | None = None
    model: nn.Module | None = None
    optimizer: torch.optim.Optimizer | None = None
    precision: int = 24
    is_whole: bool = False


def native(name: str = "native") -> Executor:
    """The model as it is, on the device where it is."""
    return Executor(name=name)


def emulated(arithmetic: Arithmetic | str, scope: Any = None) -> Executor:
    """The model as if in an arithmetic, with binary32 tensors that carry the numbers."""
    value = get_arithmetic(arithmetic)
    precisions = (value.inputs, value.activations, value.output, value.sums.format)
    precision = min([24, *(fmt.precision for fmt in precisions if fmt is not None)])
    return Executor(
        name=value.name,
        dtype=torch.float32,
        context=lambda model: run_as(model, value, scope),
        precision=precision,
    )


def of_model(
    model: nn.Module,
    name: str = "other model",
    optimizer: torch.optim.Optimizer | None = None,
) -> Executor:
    """Another model, whose parts bear the same names, and its own optimizer if it has one."""
    return Executor(name=name, model=model, optimizer=optimizer)


def executor_of(spec: Executor | Arithmetic | nn.Module | str) -> Executor:
    """Find a way to execute a model by its name.

    Args:
        spec: An executor, an arithmetic, another model, or a text: a name of `list_arithmetics`;
            "native"; "autocast-bf16", "autocast-fp16"; a device such as "cuda" or "cuda:1";
            "cuda-tf32" and "cuda-ieee"; "threads=N"; "split=N" (the batch in N parts);
            "compiled" or "compiled=BACKEND" (each leaf module compiled; those that drop elements
            at random are left, since compiled code draws other numbers); "compiled-whole" or
            "compiled-whole=BACKEND" (the model compiled in one piece, so that operators of several
            layers are fused); "channels-last"; "onnx" (exported, in ONNX Runtime, as a whole and
            forward only).

    Raises:
        ArithmeticSpecError: The text names nothing of these; near names are given.
        CompareError: The device is not there.
    """
    if isinstance(spec, Executor):
        return spec
    if isinstance(spec, Arithmetic):
        return emulated(spec)
    if isinstance(spec, nn.Module):
        return of_model(spec)
    check_kind(
        spec,
        str,
        "an executor, an arithmetic, a module or a name",
        ArithmeticSpecError,
        "Cannot execute a model with",
    )
    for pattern, make in _MAKERS.items():
        if found := re.fullmatch(pattern, spec):
            return make(spec, *found.groups())
    try:
        return emulated(spec)
    except ArithmeticSpecError as error:
        names = [each.name for each in list_arithmetics()]
        others = (
            *("native", "autocast-bf16", "cuda", "threads=N", "split=N"),
            *("compiled", "compiled-whole", "onnx"),
        )
        raise ArithmeticSpecError(
            f"Unknown arithmetic or executor {spec!r}. {near_matches(spec, [*names, *others])}"
        ) from error


def _wide(spec: str) -> Executor:
    return Executor(name=spec, dtype=torch.float64, precision=53)


def _plain(spec: str) -> Executor:
    return Executor(name=spec, dtype=torch.float32)


def _native(spec: str) -> Executor:
    return native()


def _autocast(spec: str, name: str) -> Executor:
    dtype, precision = (torch.bfloat16, 8) if name == "bf16" else (torch.float16, 11)

    def context(model: nn.Module) -> AbstractContextManager[Any]:
        return torch.autocast(_device_of(model).type, dtype=dtype)

    return Executor(name=spec, context=context, precision=precision)


def _on_device(spec: str, device: str) -> Executor:
    _require_device(device)
    return Executor(name=spec, device=device)


def _cuda_flags(spec: str, kind: str) -> Executor:
    _require_device("cuda")
    return Executor(
        name=spec,
        device="cuda",
        context=lambda model: _tf32(kind == "tf32"),
        precision=11 if kind == "tf32" else 24,
    )


def _threads(spec: str, count: str) -> Executor:
    return Executor(name=spec, context=lambda model: _n_threads(int(count)))


def _split(spec: str, count: str) -> Executor:
    return Executor(name=spec, n_parts=int(count))


_DROPS = (*(nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d), nn.AlphaDropout, nn.RReLU)
"""Layers that draw random numbers; compiled code would draw others."""


def _compiled(spec: str, _: str | None, backend: str | None) -> Executor:
    def prepare(model: nn.Module) -> None:
        for module in model.modules():
            if next(module.children(), None) is None and not isinstance(module, _DROPS):
                module.forward = torch.compile(module.forward, backend=backend or "inductor")

    return Executor(name=spec, prepare=prepare, context=_compiling)


def _compiled_whole(spec: str, _: str | None, backend: str | None) -> Executor:
    def prepare(model: nn.Module) -> None:
        model.forward = torch.compile(model.forward, backend=backend or "inductor")

    return Executor(name=spec, prepare=prepare, context=_compiling, is_whole=True)


@contextmanager
def _compiling(model: nn.Module) -> Generator[None]:
    """The compiler looks at the gradient of every tensor that it is given, and torch then warns."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The .grad attribute of a Tensor that is not a leaf")
        yield


def _channels_last(spec: str) -> Executor:
    def prepare(model: nn.Module) -> None:
        model.to(memory_format=torch.channels_last)  # pyright: ignore

    return Executor(name=spec, prepare=prepare)


def _onnx(spec: str) -> Executor:
    _exported.require()
    return Executor(
        name=spec, dtype=torch.float32, prepare=_exported.replace_forward, is_whole=True
    )


_MAKERS: dict[str, Callable[..., Executor]] = {
    "fp64": _wide,
    "fp32": _plain,
    "native": _native,
    "autocast-(bf16|fp16)": _autocast,
    r"(cuda(?::\d+)?|cpu|mps|xpu)": _on_device,
    "cuda-(tf32|ieee)": _cuda_flags,
    r"threads=([1-9]\d*)": _threads,
    r"split=([1-9]\d*)": _split,
    r"compiled(=(\w+))?": _compiled,
    r"compiled-whole(=(\w+))?": _compiled_whole,
    "channels-last": _channels_last,
    "onnx": _onnx,
}


def _device_of(model: nn.Module) -> torch.device:
    tensors = [*model.parameters(), *model.buffers()]
    return tensors[0].device if tensors else torch.device("cpu")


def _require_device(name: str) -> None:
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise CompareError(
            f"The executor {name!r} needs a CUDA device, and torch sees none here. Record there "
            "with `deephochuli compare --save`, and compare the two saved runs; or emulate its "
            "arithmetic here, for instance 'h100-tf32' or 'tf32'."
        )


@contextmanager
def _n_threads(count: int) -> Generator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _tf32(is_on: bool) -> Generator[None]:
    """Let products and convolutions of a GPU use TF32, or not."""
    libraries: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn.conv)
    before = [library.fp32_precision for library in libraries]
    for library in libraries:
        library.fp32_precision = "tf32" if is_on else "ieee"
    try:
        yield
    finally:
        for library, value in zip(libraries, before, strict=True):
            library.fp32_precision = value
