"""Which addends form one output of a reduction: products, convolutions, normalisations, sums."""

# torch's types of some operations on tensors are partial.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

Gathered = tuple[Tensor, Tensor | None]
"""Two matrices whose products, or one whose entries are the addends; a row for each output."""

FORWARD: Final = "forward"
BACKWARD: Final = "backward"


@dataclass(frozen=True, slots=True)
class Reduction:
    """Sums of one kind inside one operator.

    Attributes:
        name: "forward", "bias add", "weight gradient", "input gradient", "bias gradient", "mean",
            "variance", "residual add", ...
        n_outputs: How many sums there are.
        n_addends: K, addends of each, zeros included.
        like: An operand: its dtype and where it lies.
        is_stored: Whether each result is rounded to the operands' dtype, as elementwise sums are,
            and not kept in the wider format of an accumulator.
        gather: Makes the addends of some sums, which are named by their flat index.
    """

    name: str
    n_outputs: int
    n_addends: int
    like: Tensor
    gather: Callable[[Tensor], Gathered]
    is_stored: bool = False


def product(name: str, a: Tensor, b: Tensor) -> Reduction:
    """Entries of a matrix product, of matrices or of batches of matrices."""
    a3, b3 = (each.detach().reshape(-1, *each.shape[-2:]) for each in (a, b))
    n_rows, n_columns = a3.shape[1], b3.shape[2]

    def gather(index: Tensor) -> Gathered:
        place, column = index // n_columns, index % n_columns
        matrix, row = place // n_rows, place % n_rows
        return a3[matrix, row], b3[matrix, :, column]

    return Reduction(name, a3.shape[0] * n_rows * n_columns, a3.shape[2], a, gather)


def with_bias(reduction: Reduction, bias_of: Callable[[Tensor], Tensor]) -> Reduction:
    """The addition of a bias to sums: the sum without it, and the bias."""

    def gather(index: Tensor) -> Gathered:
        a, b = reduction.gather(index)
        total = a.double() if b is None else a.double() * b.double()
        return torch.stack([total.sum(1), bias_of(index).double()], 1), None

    return Reduction("bias add", reduction.n_outputs, 2, reduction.like, gather)


def entries(name: str, a: Tensor, b: Tensor) -> Reduction:
    """Elementwise addition of two tensors."""
    a, b = torch.broadcast_tensors(a.detach(), b.detach())

    def gather(index: Tensor) -> Gathered:
        where = torch.unravel_index(index, a.shape)
        return torch.stack([a[where].double(), b[where].double()], 1), None

    return Reduction(name, a.numel(), 2, a, gather, is_stored=True)


def rows(name: str, a: Tensor, b: Tensor | None = None) -> Reduction:
    """Sums of the rows of a matrix, or of the products of two."""
    a = a.detach()

    def gather(index: Tensor) -> Gathered:
        return a[index], None if b is None else b.detach()[index]

    return Reduction(name, a.shape[0], a.shape[1], a, gather)


def over(name: str, x: Tensor, dims: Sequence[int]) -> Reduction:
    """Sums of a tensor over some dimensions."""
    x = x.detach()
    summed = sorted({dim % x.dim() for dim in dims}) or list(range(x.dim()))
    kept = [dim for dim in range(x.dim()) if dim not in summed]
    n_addends = math.prod(x.shape[dim] for dim in summed)
    moved = x.permute(*kept, *summed)

    def gather(index: Tensor) -> Gathered:
        where = torch.unravel_index(index, moved.shape[: len(kept)]) if kept else ()
        return (moved[where] if kept else moved[None]).reshape(len(index), n_addends), None

    return Reduction(name, math.prod(x.shape[dim] for dim in kept), n_addends, x, gather)


@dataclass(frozen=True, slots=True)
class Geometry:
    """How a convolution slides; a number for each dimension of space."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int


def convolution(name: str, x: Tensor, w: Tensor, geometry: Geometry) -> Reduction:
    """Outputs of a convolution of x [N, C, ...] with w [O, C / groups, ...]."""
    x, w = x.detach(), w.detach()
    size, n_within = w.shape[2:], w.shape[1]
    space = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, p, d, k, s in zip(
            x.shape[2:], geometry.padding, geometry.dilation, size, geometry.stride, strict=True
        )
    ]
    shape = (x.shape[0], w.shape[0], *space)

    def gather(index: Tensor) -> Gathered:
        n, o, *at = torch.unravel_index(index, shape)
        channel = (o // (w.shape[0] // geometry.groups) * n_within)[:, None]
        channel = channel + torch.arange(n_within, device=x.device)
        places = [
            (at[d] * geometry.stride[d] - geometry.padding[d])[:, None]
            + torch.arange(size[d], device=x.device) * geometry.dilation[d]
            for d in range(len(size))
        ]
        a = _taken(x, n[:, None], channel, places, x.shape[2:])
        return a.flatten(1), w[o].flatten(1)

    return Reduction(name, math.prod(shape), n_within * math.prod(size), x, gather)


def transposed(
    name: str, g: Tensor, w: Tensor, geometry: Geometry, space: Sequence[int]
) -> Reduction:
    """Outputs of the transposed convolution of g [N, O, ...] with w: a gradient by the input."""
    g, w = g.detach(), w.detach()
    size, n_within = w.shape[2:], w.shape[1]
    n_sources = w.shape[0] // geometry.groups
    shape = (g.shape[0], n_within * geometry.groups, *space)

    def gather(index: Tensor) -> Gathered:
        n, c, *at = torch.unravel_index(index, shape)
        source = (c // n_within * n_sources)[:, None] + torch.arange(n_sources, device=g.device)
        places: list[Tensor] = []
        for d in range(len(size)):
            back = torch.arange(size[d], device=g.device) * geometry.dilation[d]
            reached = (at[d] + geometry.padding[d])[:, None] - back
            place = torch.div(reached, geometry.stride[d], rounding_mode="floor")
            places.append(torch.where(reached % geometry.stride[d] == 0, place, -1))
        a = _taken(g, n[:, None], source, places, g.shape[2:])
        return a.flatten(1), w[source, (c % n_within)[:, None]].flatten(1)

    return Reduction(name, math.prod(shape), n_sources * math.prod(size), g, gather)


def correlation(
    name: str, g: Tensor, x: Tensor, size: Sequence[int], geometry: Geometry
) -> Reduction:
    """Gradients of a convolution by its weights, of which `size` is the size in space."""
    g, x = g.detach(), x.detach()
    n_within = x.shape[1] // geometry.groups
    per_group = g.shape[1] // geometry.groups
    shape = (g.shape[1], n_within, *size)
    space = g.shape[2:]

    def gather(index: Tensor) -> Gathered:
        o, c, *at = torch.unravel_index(index, shape)
        channel = o // per_group * n_within + c
        places = [
            torch.arange(space[d], device=x.device) * geometry.stride[d]
            - geometry.padding[d]
            + (at[d] * geometry.dilation[d])[:, None]
            for d in range(len(size))
        ]
        every = torch.arange(x.shape[0], device=x.device)[None]
        b = _taken(x, channel[:, None], every, places, x.shape[2:], is_swapped=True)
        return g.transpose(0, 1)[o].flatten(1), b.flatten(1)

    return Reduction(name, math.prod(shape), g.shape[0] * math.prod(space), g, gather)


def _taken(
    x: Tensor,
    first: Tensor,
    second: Tensor,
    places: Sequence[Tensor],
    space: Sequence[int],
    *,
    is_swapped: bool = False,
) -> Tensor:
    """x[first, second, places...], each [S, n], as [S, second, places...]; zero outside of x."""
    n_dims = len(places)
    shape = [len(places[0]), second.shape[1], *(place.shape[1] for place in places)]
    inside = torch.ones((), dtype=torch.bool, device=x.device)
    index = [each.view(*each.shape, *[1] * n_dims) for each in (first, second)]
    for d, place in enumerate(places):
        form = [len(place), 1, *([1] * d), place.shape[1], *([1] * (n_dims - 1 - d))]
        inside = inside & ((place >= 0) & (place < space[d])).view(form)
        index.append(place.clamp(0, space[d] - 1).view(form))
    if is_swapped:
        index[0], index[1] = index[1], index[0]
    return torch.where(inside, x[tuple(index)], 0).expand(shape)
