"""The operators of rounding: opaque to compilers.

A compiler that sees a cast to a narrow type and back drops both, because to it they only lose bits.
Of an operator it knows the shape of the result and nothing else, so it can neither drop the
rounding nor move it into another operation.

They are defined by hand rather than with `torch.library.custom_op`, whose calls take ten times as
long, and roundings are called for every tensor of a model. Each takes what `spec_of` has written
down, and the words of the key, or none.
"""

# torch says little about the types of its operators.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from torch import Tensor

from deephochuli.arithmetic._spec import plan_of
from deephochuli.kernels.rounding import StochasticKey, round_into

LIBRARY: Final = torch.library.Library("deephochuli", "FRAGMENT")


def define(schema: str, run: Callable[..., Any], fake: Callable[..., Any]) -> Any:
    """Make an operator: what it does, and what a compiler may know of it."""
    name = schema.partition("(")[0]
    LIBRARY.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    LIBRARY.impl(name, run, "CompositeExplicitAutograd")
    torch.library.register_fake(f"deephochuli::{name}", fake, lib=LIBRARY)
    return getattr(torch.ops.deephochuli, name).default


def key_of(words: Sequence[int]) -> StochasticKey | None:
    """The key from its four words; None from none."""
    if not words:
        return None
    low, high, stream, step = words
    return StochasticKey(high << 32 | low, stream, step)


def _round(x: Tensor, spec: str, key: Sequence[int]) -> Tensor:
    target = torch.empty_like(x)
    round_into(x, target, plan_of(spec, x.dtype), key_of(key))
    return target


def _round_into(x: Tensor, spec: str, key: Sequence[int], out: Tensor) -> None:
    round_into(x, out, plan_of(spec, x.dtype), key_of(key))
    torch.autograd.graph.increment_version(out)


def _round_in_place(x: Tensor, spec: str, key: Sequence[int]) -> None:
    round_into(x, x, plan_of(spec, x.dtype), key_of(key))
    torch.autograd.graph.increment_version(x)


def like(x: Tensor, *_: object) -> Tensor:
    """What comes out of an operator that rounds."""
    return torch.empty_like(x)


def nothing(*_: object) -> None:
    """What comes out of an operator that changes what it is given."""


def straight_through(_: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
    """The gradient of an operator that rounds, as if it did not."""
    return gradient, None, None


rounded: Final = define("round_to(Tensor x, str spec, int[] key) -> Tensor", _round, like)
rounded_through: Final = define(
    "round_straight_through(Tensor x, str spec, int[] key) -> Tensor", _round, like
)
torch.library.register_autograd(
    "deephochuli::round_straight_through", straight_through, lib=LIBRARY
)
rounded_into: Final = define(
    "round_into(Tensor x, str spec, int[] key, Tensor(a!) out) -> ()", _round_into, nothing
)
rounded_in_place: Final = define(
    "round_in_place(Tensor(a!) x, str spec, int[] key) -> ()", _round_in_place, nothing
)
