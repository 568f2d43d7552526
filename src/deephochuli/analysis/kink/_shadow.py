"""What a pre-activation would be without rounding: its producers computed again in binary64.

A pre-activation is made by few operators from operands that are in memory: a product, perhaps a
bias or a branch added to it, perhaps a normalisation. They are remembered, and computed again from
the same operands only where a pre-activation is exactly at a kink.
"""

# Operators of torch are looked up by name.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from deephochuli.arithmetic import Arithmetic, round_to
from deephochuli.arithmetic._operators import EXACT

aten: Any = torch.ops.aten

PRODUCTS: Final = frozenset(
    (
        *(aten.mm, aten.addmm, aten.bmm, aten.baddbmm, aten.mv, aten.addmv, aten.dot),
        aten.convolution,
    )
)
"""Operators whose operands are taken as they lie in memory."""

SUMS: Final = frozenset((aten.add, aten.add_, aten.sub, aten.sub_))
FACTORS: Final = frozenset((aten.mul, aten.mul_, aten.div, aten.div_))
COPIES: Final = frozenset((aten.clone, aten.neg, aten.cat, aten.stack))
"""Operators through which the shadow of an operand passes."""

NORMS: Final = frozenset(
    (
        *(aten.native_batch_norm, aten._native_batch_norm_legit),
        *(aten._native_batch_norm_legit_no_training, aten.cudnn_batch_norm),
    )
)

_PLAIN: Final[dict[Any, Any]] = {
    aten.add_: aten.add,
    aten.sub_: aten.sub,
    aten.mul_: aten.mul,
    aten.div_: aten.div,
}
"""Operators that overwrite an operand, and those that compute the same."""

MOST_KEPT = 24
"""Producers whose operands are kept alive; a pre-activation is made by the last few."""


@dataclass(frozen=True, slots=True)
class Shadow:
    """A tensor without the rounding of its last operators.

    Attributes:
        value: What they give in binary64.
        magnitude: The same with the magnitude of every operand: sum |x_k w_k| + |b|; 0 exactly
            where every term is 0.
        n_terms: Terms of one element, for the bound on the error of `value`.
        quantum: A power of two of which every term is a multiple; 0 where none is known.
    """

    value: Tensor
    magnitude: Tensor
    n_terms: int
    quantum: float

    @property
    def error(self) -> Tensor:
        """Bound on |value - exact|: 0 where every partial sum is exact in binary64.

        Numerics:
            n 2^-52 magnitude, above gamma_(n+8) of Higham, Accuracy and Stability of Numerical
            Algorithms, 2002, section 3.1, in any order; a sum of multiples of q is exact in any
            order where the sum of magnitudes is at most 2^53 q.
        """
        bound = self.magnitude * ((self.n_terms + 8) * 2.0**-52)
        if not self.quantum:
            return bound
        return bound.masked_fill(self.magnitude <= math.ldexp(self.quantum, 53), 0.0)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a tensor was made.

    Attributes:
        func: Operator.
        args: Its arguments; what it overwrote is not among them any more.
        kwargs: Its options.
        out: What it made.
        versions: How often each tensor among the arguments had been changed.
        before: Shadow of what it overwrote; None where it did not.
        is_product: Whether operands are read from memory.
    """

    func: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    out: Tensor
    versions: tuple[int, ...]
    before: Shadow | None
    is_product: bool

    @property
    def is_intact(self) -> bool:
        """Whether no operand was overwritten since, but by the operator itself."""
        start = self.before is not None
        now = tuple(each._version for each in _tensors(self.args))
        return now[start:] == self.versions[start:]


class Producers:
    """Remembers what the last operators of a forward were given."""

    def __init__(self, arithmetic: Arithmetic | None) -> None:
        """Read operands of products as `arithmetic` does."""
        self._arithmetic = arithmetic
        self._recipes: dict[int, Recipe | None] = {}

    def clear(self) -> None:
        """Forget everything."""
        self._recipes.clear()

    def before(self, func: Any, args: tuple[Any, ...]) -> Shadow | None:
        """The shadow of an operand that an operator is about to overwrite."""
        if func.overloadpacket not in _PLAIN:
            return None
        return self.shadow_of(args[0])

    def made(
        self,
        func: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        out: Any,
        before: Shadow | None,
    ) -> None:
        """Remember how a tensor was made."""
        made = out[0] if isinstance(out, tuple | list) and out else out
        if not isinstance(made, Tensor) or not made.is_floating_point():
            return
        key = _memory_of(made)
        packet = func.overloadpacket
        tensors = _tensors(args)
        known = packet in PRODUCTS | SUMS | FACTORS | COPIES | NORMS
        if known:
            versions = tuple(each._version for each in tensors)
            self._recipes.pop(key, None)
            self._recipes[key] = Recipe(
                func, args, kwargs, made, versions, before, packet in PRODUCTS
            )
            self._let_go()
        elif any(_memory_of(each) == key for each in tensors) and packet in EXACT:
            return  # a view, or an activation in place: its memory keeps its history
        elif packet in EXACT:
            self._recipes.pop(key, None)  # numbers that lie in memory as they are
        else:
            self._recipes[key] = None

    def _let_go(self) -> None:
        kept = [key for key, recipe in self._recipes.items() if recipe is not None]
        for key in kept[:-MOST_KEPT]:
            self._recipes[key] = None

    def shadow_of(self, z: Tensor) -> Shadow | None:
        """The shadow of a tensor, in its shape; None where an operator in between is unknown."""
        key = _memory_of(z)
        if key not in self._recipes:
            return _stored(z)
        recipe = self._recipes[key]
        if recipe is None:
            return None
        made = self._computed(recipe)
        return None if made is None else _viewed(made, recipe.out, z)

    def recipe_of(self, z: Tensor) -> Recipe | None:
        """How the memory of a tensor was made; None where its operands are not there any more."""
        recipe = self._recipes.get(_memory_of(z))
        return recipe if recipe is not None and recipe.is_intact else None

    def is_stored(self, z: Tensor) -> bool:
        """Whether a tensor is what was in memory before, or moved there as it was."""
        return _memory_of(z) not in self._recipes

    def _computed(self, recipe: Recipe) -> Shadow | None:
        packet = recipe.func.overloadpacket
        in_place = recipe.before is not None
        if not recipe.is_intact:
            return None
        if packet in NORMS:
            return _normalised(recipe)
        read = self._read if recipe.is_product else self._passed
        args = (recipe.before, *recipe.args[1:]) if in_place else recipe.args
        args = pytree.tree_map(read, args)
        shadows = [each for each in pytree.tree_leaves(args) if isinstance(each, Shadow)]
        n_tensors = len(_tensors(recipe.args))
        if len(shadows) != n_tensors:
            return None
        return _applied(recipe.func, args, recipe.kwargs, shadows)

    def operand(self, tensor: Tensor) -> Tensor:
        """An operand of a product, as the arithmetic reads it."""
        if self._arithmetic is None or self._arithmetic.inputs is None or tensor.dim() < 2:
            return tensor.detach()
        rounding = self._arithmetic.input_rounding
        return round_to(tensor.detach(), self._arithmetic.inputs, rounding=rounding)

    def _read(self, leaf: Any) -> Any:
        return _stored(self.operand(leaf)) if isinstance(leaf, Tensor) else leaf

    def _passed(self, leaf: Any) -> Any:
        return self.shadow_of(leaf) if isinstance(leaf, Tensor) else leaf


def _memory_of(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _tensors(args: Any) -> list[Tensor]:
    return [each for each in pytree.tree_leaves(args) if isinstance(each, Tensor)]


def _stored(tensor: Tensor) -> Shadow:
    value = tensor.detach().double()
    return Shadow(value, value.abs(), 0, quantum_of(value))


def quantum_of(values: Tensor) -> float:
    """The largest power of two of which every number is a multiple; 0 where there is none.

    Example:
        >>> quantum_of(torch.tensor([0.0, 0.75, 6.0], dtype=torch.float64))
        0.25
    """
    values = values[values != 0]
    if not values.numel() or not bool(values.isfinite().all()):
        return 0.0 if values.numel() else 1.0
    significands, exponents = torch.frexp(values)
    digits = (significands * 2.0**53).long()
    lowest = torch.log2((digits & -digits).double()).int() + exponents - 53
    return math.ldexp(1.0, int(lowest.min())) if int(lowest.min()) > -1000 else 0.0


def _applied(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], shadows: list[Shadow]
) -> Shadow | None:
    """A multilinear operator on shadows."""
    packet = func.overloadpacket
    func = _PLAIN.get(packet, func)
    values, sizes = pytree.tree_map(_value, args), pytree.tree_map(_magnitude, args)
    if packet in FACTORS | SUMS:
        sizes = tuple(abs(each) if isinstance(each, int | float) else each for each in sizes)
    is_difference = packet in (aten.sub, aten.sub_)
    magnitude = (aten.add if is_difference else func)(*sizes, **_magnitudes(kwargs)).abs()
    n_terms = max(each.n_terms for each in shadows) + _n_terms(packet, shadows)
    return Shadow(func(*values, **kwargs), magnitude, n_terms, _quantum(packet, args, kwargs))


def _value(leaf: Any) -> Any:
    return leaf.value if isinstance(leaf, Shadow) else leaf


def _magnitude(leaf: Any) -> Any:
    return leaf.magnitude if isinstance(leaf, Shadow) else leaf


def _magnitudes(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {name: abs(each) if name in ("alpha", "beta") else each for name, each in kwargs.items()}


def _n_terms(packet: Any, shadows: list[Shadow]) -> int:
    if packet is aten.convolution:
        return shadows[1].value[0].numel() + 1
    if packet in PRODUCTS:
        return shadows[-1].value.shape[-2 if shadows[-1].value.dim() > 1 else -1] + 1
    return 2


def _quantum(packet: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> float:
    """A power of two that divides every term of every element."""
    shadows = [each for each in pytree.tree_leaves(args) if isinstance(each, Shadow)]
    quanta = [each.quantum for each in shadows]
    if packet in COPIES:
        return min(quanta)
    if packet in SUMS:
        plain = len(shadows) == 2 and not kwargs
        return min(quanta) if plain else 0.0
    if packet is aten.convolution:
        return min([quanta[0] * quanta[1], *quanta[2:]])
    if packet in (aten.addmm, aten.baddbmm, aten.addmv):
        return 0.0 if kwargs else min(quanta[0], quanta[1] * quanta[2])
    if packet in PRODUCTS or (packet in (aten.mul, aten.mul_) and len(shadows) == 2):
        return quanta[0] * quanta[1]
    return 0.0


def _normalised(recipe: Recipe) -> Shadow:
    """Batch normalisation of the stored input; its terms are those of x w / s - mean w / s + b."""
    args = [each.double().clone() if isinstance(each, Tensor) else each for each in recipe.args]
    x, weight, bias = args[:3]
    value, mean, scale = recipe.func(*args, **recipe.kwargs)[:3]
    if not mean.numel():  # in evaluation mode it is not returned
        mean, scale = args[3], (args[4] + args[-1]).rsqrt()
    shape = (1, -1, *[1] * (x.dim() - 2))
    gain = scale if weight is None else scale * weight
    magnitude = (x.abs() + mean.abs().view(shape)) * gain.abs().view(shape)
    if bias is not None:
        magnitude = magnitude + bias.abs().view(shape)
    return Shadow(value, magnitude, x.numel() // x.shape[1] + 16, 0.0)


def _viewed(shadow: Shadow, made: Tensor, z: Tensor) -> Shadow | None:
    """The shadow of a view of a tensor, element by element."""
    if made.shape == z.shape and made.stride() == z.stride():
        return shadow
    offset = z.storage_offset() - made.storage_offset()
    laid = [torch.empty_strided(made.shape, made.stride(), dtype=torch.float64) for _ in range(2)]
    value, magnitude = laid
    value.copy_(shadow.value)
    magnitude.copy_(shadow.magnitude)
    reach = offset + sum((n - 1) * s for n, s in zip(z.shape, z.stride(), strict=True))
    if offset < 0 or reach >= value.untyped_storage().nbytes() // 8:
        return None
    where = (z.shape, z.stride(), offset)
    return Shadow(
        value.as_strided(*where), magnitude.as_strided(*where), shadow.n_terms, shadow.quantum
    )
