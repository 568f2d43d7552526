"""Follow a module's forward pass once and write it down as a program.

The module is copied, the copy is made double precision and called with one input while a function
mode looks at every torch function: control flow, functional calls and nested modules need no case
of their own. What the mode cannot express as an affine or a piecewise linear map is refused with
the name of the place, and the finished program is compared with the module on other inputs.
"""

# What torch functions are given has no type before it is looked at.
# pyright: reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false, reportUnknownLambdaType=false

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from deephochuli.errors import PiecesError, near_matches
from deephochuli.pieces._affine import Affine, Rows
from deephochuli.pieces._bends import Bend
from deephochuli.pieces._copies import double
from deephochuli.pieces._program import Program, Step

MOST_MISMATCH = 1e-5
"""Relative difference from the module beyond which a program does not describe it."""
MOST_ROUNDING = 1e-12
"""What rounding may make of it, beside the largest number on the way: outputs may cancel."""

LEAST = 1e-140
"""Where all numbers of a layer are smaller, bounds on their errors could underflow."""


class Recorder(TorchFunctionMode):
    """Writes down what becomes of one tensor."""

    def __init__(self, x: torch.Tensor, handlers: Mapping[str, Handler]) -> None:
        """Begin with the input as value 0."""
        super().__init__()
        self.steps: list[Step] = []
        self.path: list[str] = []
        self._handlers = handlers
        self._values: dict[int, tuple[weakref.ref[torch.Tensor], int]] = {}
        self._n_values = 1
        self.keep(x, 0)

    def keep(self, tensor: torch.Tensor, value: int) -> None:
        """Remember which value a tensor holds."""
        self._values[id(tensor)] = (weakref.ref(tensor), value)

    def find(self, thing: object) -> int | None:
        """The value that a tensor holds; None for what does not follow from the input."""
        found = self._values.get(id(thing))
        return found[1] if found is not None and found[0]() is thing else None

    def value(self, tensor: torch.Tensor) -> int:
        """The value that a tensor holds, which must be one."""
        found = self.find(tensor)
        if found is None or found < 0:
            raise self.refusal(_WITHOUT_VALUE[found])
        return found

    def add(self, op: Affine | Bend, *inputs: int) -> int:
        """Write down a step, and number its output."""
        output = self._n_values
        self._n_values += 1
        self.steps.append(Step(self.place, op, inputs, output))
        return output

    @property
    def place(self) -> str:
        """Path of the module that is running; "(model)" for the outermost."""
        return self.path[-1] if self.path else "(model)"

    def refusal(self, what: str) -> PiecesError:
        """The error for something that has no affine pieces, or none that are known here."""
        return PiecesError(
            f"Cannot count the affine pieces of {self.place!r}: {what} is not among the affine and "
            "piecewise linear operations. Put a piecewise linear one in its place (ReLU, "
            "LeakyReLU, Hardtanh, max-pooling, ...), or count the part of the model before it."
        )

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Do what was asked for, and write down what it makes of values."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if any(self.find(each) is not None for each in _tensors((args, kwargs))):
            name = func.__name__
            if name == "__get__":
                name = str(getattr(getattr(func, "__self__", None), "__name__", name))
            if not args and "input" in kwargs:
                args, kwargs = (kwargs["input"],), {k: kwargs[k] for k in kwargs.keys() - {"input"}}
            self._handle(name, func, args, kwargs, result)
        return result

    def _handle(
        self,
        name: str,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        result: Any,
    ) -> None:
        made = list(_tensors(result))
        if not made and (func.__name__ == "__get__" or name in HARMLESS):
            return
        is_in_place = bool(kwargs.get("inplace")) or (name[-1] == "_" and name[-2:] != "__")
        handler = self._handlers.get(name.removesuffix("_") if is_in_place else name)
        if handler is None or not made or kwargs.get("out") is not None:
            raise self.refusal(f"{name!r}")
        if is_in_place and self.find(args[0]) is None:
            raise self.refusal(f"{name!r} on a tensor that does not follow from the input")
        for each in _tensors((args, kwargs)):
            if self.find(each) is not None:
                self.value(each)
        values = handler(self, func, args, kwargs, result)
        if is_in_place:
            self._forget_aliases(args[0])
        values += [_CHOICE] * (len(made) - len(values))
        for tensor, value in zip(made, values, strict=True):
            if value is None:
                continue
            if value != _CHOICE and not tensor.is_floating_point():
                raise self.refusal(f"{name!r} with a result of {tensor.dtype}")
            self.keep(tensor, value)

    def _forget_aliases(self, changed: torch.Tensor) -> None:
        """After a change in place, other tensors on the same memory hold no known value."""
        where = changed.untyped_storage().data_ptr()
        for key, (reference, _) in list(self._values.items()):
            tensor = reference()
            if tensor is None:
                del self._values[key]
            elif tensor.untyped_storage().data_ptr() == where:
                self._values[key] = reference, _UNKNOWN


Handler = Callable[
    [Recorder, Callable[..., Any], tuple[Any, ...], dict[str, Any], Any], list[int | None]
]
"""Writes down what one torch function does, and returns the values of its output tensors.

None stands for one that is the same for every input.
"""

_UNKNOWN, _CHOICE = -1, -2
_WITHOUT_VALUE = {
    None: "a tensor that does not follow from the input",
    _UNKNOWN: "a tensor that changed in place behind a view of it",
    _CHOICE: "what is chosen by the place of the largest number",
}
"""Why a tensor holds no value of a program."""
HARMLESS = frozenset(
    {"size", "dim", "ndimension", "numel", "nelement", "stride", "__len__", "element_size"}
    | {"is_floating_point", "is_complex", "is_contiguous", "data_ptr", "storage_offset"}
    | {"is_tensor", "is_same_size", "get_device", "__hash__"}
)
"""Functions without a tensor as result that say the same for every input.

By all others (`item`, `bool`, `numpy`, an assignment to an index) numbers leave torch or change
unseen, and what the model does with them cannot be followed.
"""


def _tensors(thing: Any) -> Iterable[torch.Tensor]:
    """All tensors inside arguments or results."""
    if isinstance(thing, torch.Tensor):
        yield thing
    elif isinstance(thing, Mapping):
        for each in thing.values():
            yield from _tensors(each)
    elif isinstance(thing, list | tuple):
        for each in thing:
            yield from _tensors(each)


def trace(
    model: nn.Module, samples: torch.Tensor, layer: str | None, handlers: Mapping[str, Handler]
) -> Program:
    """Write down a module, or one of its inner modules, as a program.

    Args:
        model: The module; it is copied and left as it is.
        samples: Inputs on which the program is compared with the module, shape (n, *input).
        layer: Path of an inner module to count instead of the whole; None for the whole.
        handlers: How each torch function is written down.

    Raises:
        PiecesError: The module holds what is neither affine nor piecewise linear, is training with
            batch norm or dropout, has weights that are not finite, or does not accept the input.
    """
    whole = getattr(model, "_orig_mod", model)  # behind torch.compile
    part = _double(whole if layer is None else inner(whole, layer), layer or "")
    x = samples[:1].clone()
    recorder = Recorder(x, handlers)
    for name, module in part.named_modules():
        _follow(module, name, recorder)
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad(), recorder:
            result = part(x)
    except PiecesError:
        raise
    except Exception as error:
        raise PiecesError(
            f"The model does not accept an input of shape {tuple(x.shape[1:])}, in a batch of one: "
            f"{type(error).__name__}: {error}"
        ) from error
    output = _only_tensor(result)
    if recorder.find(output) is None:
        raise recorder.refusal("an output that does not follow from the input by torch functions")
    value = recorder.value(output)
    program = Program(tuple(recorder.steps), tuple(x.shape[1:]), value, tuple(output.shape[1:]))
    _compare(program, part, samples)
    return program


def inner(model: nn.Module, layer: str) -> nn.Module:
    """An inner module by its path."""
    modules = {name: module for name, module in model.named_modules() if name}
    if layer not in modules:
        raise PiecesError(f"The model has no layer {layer!r}. {near_matches(layer, modules)}")
    return modules[layer]


def _double(model: nn.Module, prefix: str) -> nn.Module:
    """A double-precision copy of a module whose numbers are finite."""
    for name, tensor in chain(model.named_parameters(prefix), model.named_buffers(prefix)):
        if nn.parameter.is_lazy(tensor):
            raise PiecesError(
                f"{name!r} has no shape before the model has been called: call it once with an "
                "input, so that its weights are made."
            )
    for name, module in model.named_modules(prefix=prefix):
        _check_module(module, name or "(model)")
    try:
        made = double(model)
    except Exception as error:
        raise PiecesError(
            f"The model cannot be copied, and its pieces are counted on a copy of it: "
            f"{type(error).__name__}: {error} Give a model that copy.deepcopy accepts; "
            "torch.nn.utils.parametrizations has a weight norm that does."
        ) from error
    for name, tensor in chain(made.named_parameters(prefix), made.named_buffers(prefix)):
        # A sum is the quickest look at all numbers; it may overflow where none of them is infinite.
        if tensor.numel() and not math.isfinite(abs(tensor.detach().sum().item())):
            _check_finite(name, tensor)
    return made


def _check_finite(name: str, tensor: torch.Tensor) -> None:
    bad = int((~torch.isfinite(tensor)).sum())
    if bad:
        raise PiecesError(
            f"{name!r} holds {bad} of {tensor.numel()} numbers that are NaN or infinite; "
            "a function with such weights has no affine pieces. Load weights from before "
            "they appeared."
        )


def _check_module(module: nn.Module, name: str) -> None:
    """Refuse modules that do something else in training than later, or cannot be followed."""
    if isinstance(module, torch.jit.ScriptModule):
        raise PiecesError(
            f"{name!r} is compiled by torch.jit, and what it calls cannot be followed: count the "
            "module that it was made from."
        )
    if not module.training:
        return
    kind = type(module).__name__
    is_norm = kind.startswith(("BatchNorm", "SyncBatchNorm", "InstanceNorm"))
    is_random = "Dropout" in kind and getattr(module, "p", 0) > 0
    if is_norm or is_random:
        what = "normalises by the batch" if is_norm else "is random"
        raise PiecesError(
            f"{name!r} ({kind}) is in training mode, where it {what}: there is no one function "
            "whose pieces could be counted. Call model.eval() first."
        )


def _follow(module: nn.Module, name: str, recorder: Recorder) -> None:
    """Let a copy of a module tell the recorder while it runs."""
    forward = module.forward

    def told(*args: Any, **kwargs: Any) -> Any:
        recorder.path.append(name or "(model)")
        try:
            return forward(*args, **kwargs)
        finally:
            recorder.path.pop()

    module.__dict__["forward"] = told  # as fast as no hook, and a hook would be called by others


def _only_tensor(result: Any) -> torch.Tensor:
    """The output of a module: a tensor, or the one tensor inside of it."""
    tensors = list(_tensors(result))
    if not tensors and hasattr(result, "__dict__"):
        tensors = list(_tensors(vars(result)))
    if len(tensors) != 1 and not isinstance(result, torch.Tensor):
        raise PiecesError(
            f"The model returns {len(tensors)} tensors; pieces are counted of one. "
            "Wrap the model in a module that returns the tensor that is meant."
        )
    return tensors[0]


def evaluated(program: Program, samples: torch.Tensor) -> tuple[Rows, float]:
    """The outputs of a program, and the largest magnitude of anything on the way to them.

    Raises:
        PiecesError: Numbers on the way are too large or too small for bounds on their errors.
    """
    rows = samples.numpy().reshape(len(samples), -1).astype(np.float64)
    values, sizes = {0: rows}, [float(np.abs(rows).max(initial=0.0))]
    with np.errstate(over="ignore", invalid="ignore"):
        for _, values in program.run(rows):
            sizes += [float(np.abs(each).max(initial=0.0)) for each in values.values()]
    largest, least = float(np.max(sizes)), min((each for each in sizes if each), default=1.0)
    if not math.isfinite(largest) or least < LEAST:
        how = f"smaller than {LEAST:.0e}" if least < LEAST else "too large for float64, or NaN,"
        raise PiecesError(
            f"Numbers become {how} between the input and the output, where rounding errors cannot "
            "be bounded. Scale the weights or the inputs by powers of two: ReLU networks keep "
            "their pieces."
        )
    return values[program.output], largest


def _compare(program: Program, model: nn.Module, samples: torch.Tensor) -> None:
    """Check that the program computes what the module does, also where it did not look."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        theirs = [_only_tensor(model(x[None])).double().numpy().reshape(-1) for x in samples]
    ours, largest = evaluated(program, samples)
    for mine, other in zip(ours, theirs, strict=True):
        scale = float(np.abs(other).max(initial=0.0))
        worst = float(np.abs(mine - other).max(initial=0.0))
        if not worst <= MOST_MISMATCH * scale + MOST_ROUNDING * largest:
            raise PiecesError(
                "The model does not compute the same function of every input: its forward pass "
                f"was followed once, and elsewhere it differs by {worst:.3g} (outputs up to "
                f"{scale:.3g}). Control flow that depends on the data, and random operations, "
                "cannot be counted."
            )
