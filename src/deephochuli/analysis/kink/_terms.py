"""The exact sum behind one pre-activation, term by term, in rationals."""

# Operators of torch are looked up by name.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from deephochuli.analysis.kink._shadow import Producers, Recipe, aten

Terms = Iterator[Fraction]
Index = tuple[int, ...]


class Untold(Exception):
    """A term of the sum is made by an operator that is not taken apart."""


def exact_sum(producers: Producers, z: Tensor, index: int) -> Fraction | None:
    """The exact value of one element of a pre-activation; None where it cannot be told.

    Args:
        producers: What made it.
        z: The pre-activation.
        index: Flat index of the element, in logical order.

    Numerics:
        Operands of products as they lie in memory; products, sums, differences and copies are taken
        apart into terms, which are rationals.
    """
    place = tuple(
        int(each) for each in torch.unravel_index(torch.tensor(index, device="cpu"), z.shape)
    )
    try:
        return sum(_terms(producers, z, place), Fraction(0))
    except Untold:
        return None


def _terms(producers: Producers, z: Tensor, place: Index) -> Terms:
    if producers.is_stored(z):
        yield Fraction(z[place].item())
        return
    recipe = producers.recipe_of(z)
    if recipe is None or recipe.before is not None or recipe.kwargs:
        raise Untold
    yield from _made(producers, recipe, _within(recipe.out, z, place))


def _made(producers: Producers, recipe: Recipe, place: Index) -> Terms:
    packet, args = recipe.func.overloadpacket, recipe.args
    if packet in (aten.add, aten.sub) and isinstance(args[1], Tensor):
        yield from _terms(producers, args[0], _broadcast(args[0], place))
        sign = 1 if packet is aten.add else -1
        for term in _terms(producers, args[1], _broadcast(args[1], place)):
            yield sign * term
    elif packet is aten.clone:
        yield from _terms(producers, args[0], place)
    elif packet is aten.convolution and not args[6]:
        yield from _convolved(producers, args, place)
    elif packet in (aten.mm, aten.addmm):
        if packet is aten.addmm:
            yield Fraction(args[0][_broadcast(args[0], place)].item())
        a, b = (producers.operand(each) for each in args[-2:])
        yield from _products(a[place[0]], b[:, place[1]])
    elif packet is aten.bmm:
        a, b = (producers.operand(each) for each in args)
        yield from _products(a[place[0], place[1]], b[place[0], :, place[2]])
    else:
        raise Untold


def _convolved(producers: Producers, args: Sequence[Any], place: Index) -> Terms:
    """The terms of one output of a convolution: inputs, and the weight that each of them meets."""
    sample, channel = place[0], place[1]
    x, weight, bias = args[:3]
    own = producers.operand(x)[sample : sample + 1].double()
    corner = [at * stride for at, stride in zip(place[2:], args[3], strict=True)]
    sides = [width for each in reversed(args[4]) for width in (each, each)]
    own = functional.pad(own, sides)[0]
    group = channel // (weight.shape[0] // args[8])
    own = own[group * weight.shape[1] : (group + 1) * weight.shape[1]]
    for dim, (start, dilation) in enumerate(zip(corner, args[5], strict=True), 1):
        n = weight.shape[dim + 1]
        own = own.narrow(dim, start, (n - 1) * dilation + 1)
        own = own[(slice(None),) * dim + (slice(None, None, dilation),)]
    yield from _products(own.flatten(), producers.operand(weight)[channel].flatten())
    if bias is not None:
        yield Fraction(bias[channel].item())


def _products(a: Tensor, b: Tensor) -> Terms:
    for x, y in zip(a.tolist(), b.tolist(), strict=True):
        if x and y:
            yield Fraction(x) * Fraction(y)


def _broadcast(operand: Tensor, place: Index) -> Index:
    """Where an operand that is stretched over a result has what it gives to one place."""
    own = place[len(place) - operand.dim() :]
    return tuple(0 if n == 1 else at for n, at in zip(operand.shape, own, strict=True))


def _within(made: Tensor, view: Tensor, place: Index) -> Index:
    """The place in a tensor of what a view of it has at a place."""
    if made.shape == view.shape and made.stride() == view.stride():
        return place
    offset = view.storage_offset() - made.storage_offset()
    offset += sum(at * step for at, step in zip(place, view.stride(), strict=True))
    found = [0] * made.dim()
    steps: list[int] = list(made.stride())
    for dim in sorted(range(made.dim()), key=lambda dim: -steps[dim]):
        if made.shape[dim] > 1:
            found[dim], offset = offset // steps[dim], offset % steps[dim]
    return tuple(found)
