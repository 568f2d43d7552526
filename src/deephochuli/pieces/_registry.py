"""Which torch functions can be written down, and what all of them need for it."""

# What torch functions are given has no type before it is looked at.
# pyright: reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from deephochuli.pieces._affine import Affine
from deephochuli.pieces._bends import Bend
from deephochuli.pieces._trace import Handler, Recorder

Args = tuple[Any, ...]
Options = dict[str, Any]

HANDLERS: dict[str, Handler] = {}
"""By the name of the function; a trailing underscore (in place) does not matter."""

_WITHOUT_EFFECT = {"inplace", "dtype"}
"""Options that do not change what is computed in real arithmetic."""
_LIKE_NUMPY = {"axis": "dim", "keepdims": "keepdim"}
"""Names of numpy for options, which torch takes too."""


def handles(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a handler whose parameters are called as torch calls them.

    What it returns, a step with the values it reads, is written down; a list of values is taken as
    it is.
    """

    def register(handler: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(handler)

        @functools.wraps(handler)
        def call(
            recorder: Recorder, func: Callable[..., Any], args: Args, kwargs: Options, result: Any
        ) -> list[int | None]:
            named = {_LIKE_NUMPY.get(k, k): v for k, v in kwargs.items()}
            known = {k: v for k, v in named.items() if k in signature.parameters}
            if unknown := named.keys() - known.keys() - _WITHOUT_EFFECT:
                raise recorder.refusal(f"{func.__name__!r} with {', '.join(sorted(unknown))}")
            first = result[0] if isinstance(result, list | tuple) else result
            made = handler(recorder, first, *args, **known)
            return made if isinstance(made, list) else [_written(recorder, made)]

        for name in names:
            HANDLERS[name] = call
        return handler

    return register


def _written(recorder: Recorder, made: Any) -> int:
    if isinstance(made, int):
        return made
    op, *inputs = cast("tuple[Affine | Bend, *tuple[int, ...]]", made)
    return recorder.add(op, *inputs)


def numbers(tensor: torch.Tensor) -> NDArray[np.float64]:
    return np.ascontiguousarray(tensor.detach().double().numpy())


def filled(x: object, like: torch.Tensor) -> NDArray[np.float64]:
    """A number or a tensor that does not follow from the input, as one number an output."""
    tensor = torch.as_tensor(x, dtype=torch.float64).detach().expand(like.shape)
    return numbers(tensor.reshape(-1))


def constant(
    r: Recorder,
    tensor: torch.Tensor,
    otherwise: str = "a product of two tensors that both follow from the input",
) -> NDArray[np.float64]:
    if r.find(tensor) is not None:
        raise r.refusal(otherwise)
    return numbers(tensor)


def offset(r: Recorder, bias: torch.Tensor | None, n: int) -> NDArray[np.float64]:
    return np.zeros(n) if bias is None else constant(r, bias, "a bias that follows from the input")
