"""Monte Carlo arithmetic: a model computed with random errors of the size of rounding errors.

Running the same computation several times with such errors shows how far its results can be trusted
(Parker, "Monte Carlo arithmetic", 1997): digits that change from run to run are not significant.
"""

# Modes below autograd, decompositions and the node that is being worked have no public interface in
# torch, and its types for them are partial.
# pyright: reportPrivateUsage=false, reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

import functools
import math
from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch._decomp import get_decompositions
from torch.utils._python_dispatch import TorchDispatchMode

from deephochuli.arithmetic._operators import (
    EXACT,
    FIRST_ONLY,
    mapped,
    tensors_in,
    written_arguments,
)
from deephochuli.arithmetic._places import Places
from deephochuli.errors import ArithmeticSpecError, near_matches

_BIT_TYPES: Final = {
    torch.float64: torch.int64,
    torch.float32: torch.int32,
    torch.float16: torch.int16,
    torch.bfloat16: torch.int16,
}
"""Dtypes that get noise, and the integers that hold their bits."""

_PRECISION: Final = {
    torch.float64: 53,
    torch.float32: 24,
    torch.float16: 11,
    torch.bfloat16: 8,
}
_EMIN: Final = {torch.float32: -126, torch.float16: -14, torch.bfloat16: -126}
"""Dtypes whose elementwise operators are computed in binary64, and their smallest exponent."""

_REDUCTIONS: Final = frozenset(
    packet
    for name in (
        *("mm", "addmm", "bmm", "baddbmm", "mv", "addmv", "dot", "convolution"),
        *("convolution_backward", "convolution_overrideable", "linear", "matmul"),
        *("_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_flash_attention"),
        *("_scaled_dot_product_flash_attention_for_cpu_backward", "mkldnn_rnn_layer"),
        *("native_batch_norm", "native_layer_norm", "native_group_norm"),
        *("native_batch_norm_backward", "native_layer_norm_backward"),
        *("native_group_norm_backward", "_fused_rms_norm", "_fused_rms_norm_backward"),
    )
    if (packet := getattr(torch.ops.aten, name, None)) is not None
)
"""Operators with sums inside: their operands are perturbed too, as inbound noise asks for."""

_CANCELLING: Final = tuple(
    packet
    for name in (
        *("_log_softmax", "_log_softmax_backward_data", "_softmax", "_softmax_backward_data"),
        *("sigmoid_backward", "tanh_backward", "gelu_backward", "silu_backward", "logit_backward"),
    )
    if (packet := getattr(torch.ops.aten, name, None)) is not None
)
"""Operators that subtract rounded numbers inside, such as 1 - y^2 or exp(log p) - 1.

Noise on what they read and return cannot show what such a difference loses; they are computed by
their definitions in smaller operators instead.
"""

_COPYING: Final = frozenset({torch.ops.aten.copy_, torch.ops.aten.fill_, torch.ops.aten.full_like})

_PLAIN_SUMS: Final = frozenset({torch.ops.aten.sum, torch.ops.aten.mean})
"""Sums of what is given, which torch forms by cascades: about as good as rounded once."""

_MOST_WORDS: Final = 1 << 22
"""Elements that get their noise at once, which bounds the memory for random numbers."""


class NoiseSource:
    """Random relative errors at a precision, from a generator of its own.

    Numbers depend on the key and on how many were drawn before, so a model that runs the same
    operators in the same order gets the same noise. torch's own generators are not touched.
    """

    def __init__(self, precision_bits: int | None, key: int) -> None:
        """Draw errors of one ulp of `precision_bits` bits; equal keys give equal errors.

        None stands for the precision of each tensor's own dtype.
        """
        self.precision_bits = precision_bits
        self._key = key
        self._generators: dict[torch.device, torch.Generator] = {}

    def perturb(self, x: Tensor) -> Tensor:
        """A copy of x with a random error in each element; x itself where it can have none."""
        return self.perturb_(x.clone()) if _can_perturb(x) else x

    def perturb_(self, x: Tensor) -> Tensor:
        """Give each element of x a random error in place: see `perturbed` for its size."""
        if not _can_perturb(x):
            return x
        flat = x.view(-1) if x.is_contiguous() else x.reshape(-1)
        for part in flat.split(_MOST_WORDS):
            self._shift_(part)
        if not x.is_contiguous():
            x.copy_(flat.view(x.shape))
        return x

    def _shift_(self, x: Tensor) -> None:
        """Move each element of a flat tensor by a whole number of ulps of its dtype.

        The error in ulps, m 2^(p-t) xi with m the significand in [1, 2), is rounded to a whole
        number at random so that its mean is kept: at t = p it is less than one ulp, and rounding
        it to nearest would remove it. Ulps are steps of the integer that holds the bits.
        """
        bits = x.view(_BIT_TYPES[x.dtype])
        size = math.ldexp(1.0, _PRECISION[x.dtype] + 1 - self._bits(x.dtype))
        significand = torch.frexp(x)[0].to(_random_dtype(x)).abs_()  # in [1/2, 1)
        steps = self._uniform(x).mul_(significand).mul_(size)
        steps = steps.add_(self._uniform(x)).add_(0.5).floor_()
        # Below a power of two the gaps are half as large.
        steps += torch.where((significand == 0.5) & (steps < 0), steps, 0)
        moved = bits + steps.masked_fill_((x == 0) | ~x.isfinite(), 0).to(bits.dtype)
        # An error must not lead beyond the largest finite number: that would be another event.
        bits.copy_(torch.where(moved.view(x.dtype).isfinite() | ~x.isfinite(), moved, bits))

    def round_(self, x: Tensor, exact: Tensor) -> None:
        """Round binary64 results at random into x, the same results rounded to nearest.

        At t = p this is random rounding: up or down with the probability of nearness, and what is a
        number of the dtype stays as it is.
        """
        exponent = torch.frexp(exact).exponent.clamp_(min=_EMIN[x.dtype] + 1)
        error = torch.ldexp(self._uniform(exact), exponent - self._bits(x.dtype))
        rounded = (exact + error.masked_fill_(exact == 0, 0)).to(x.dtype)
        x.copy_(torch.where(rounded.isfinite() | ~x.isfinite(), rounded, x))

    def _bits(self, dtype: torch.dtype) -> int:
        return _PRECISION[dtype] if self.precision_bits is None else self.precision_bits

    def _uniform(self, like: Tensor) -> Tensor:
        """Random numbers from -1/2 to 1/2."""
        drawn = torch.rand(
            like.shape,
            dtype=_random_dtype(like),
            device=like.device,
            generator=self._generator(like.device),
        )
        return drawn.sub_(0.5)

    def _generator(self, device: torch.device) -> torch.Generator:
        found = self._generators.get(device)
        if found is None:
            found = self._generators[device] = torch.Generator(device).manual_seed(self._key)
        return found


@functools.cache
def _definitions() -> dict[Any, Callable[..., Any]]:
    """What the operators with inner differences compute, written in smaller operators."""
    return dict(get_decompositions(_CANCELLING))


def _random_dtype(like: Tensor) -> torch.dtype:
    """Random numbers must have more bits than what is moved by them."""
    return torch.float64 if like.dtype == torch.float64 else torch.float32


def _rounds(func: Any, args: tuple[Any, ...]) -> bool:
    """Whether an operator makes numbers of numbers: none of those that make them of nothing."""
    if torch.Tag.nondeterministic_seeded in func.tags or func.overloadpacket in _COPYING:
        return False
    return any(each.is_floating_point() for each in tensors_in(args))


def _widened(x: Tensor) -> Tensor:
    return x.double() if x.is_floating_point() else x.clone()


def _can_perturb(x: Tensor) -> bool:
    return x.dtype in _BIT_TYPES and x.numel() > 0 and x.layout is torch.strided


class Perturbation(TorchDispatchMode):
    """Perturbs what operators read and return, in the forward and in the backward."""

    def __init__(
        self, model: nn.Module, source: NoiseSource, layers: frozenset[str] | None, inbound: bool
    ) -> None:
        """Perturb the operators of some layers, or all operators that run where None."""
        super().__init__()
        self.places = Places(model)
        self._source = source
        self._layers = layers
        self._inbound = inbound

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Compute one operator."""
        kwargs = kwargs or {}
        packet = func.overloadpacket
        if packet in EXACT or not _rounds(func, args) or not self._is_wanted():
            return func(*args, **kwargs)
        if packet is torch.ops.aten._to_copy:
            return self._narrowed(func(*args, **kwargs), args[0])
        definition = _definitions().get(func)
        if definition is not None:
            with self:
                return definition(*args, **kwargs)
        if torch.Tag.pointwise in func.tags or packet in _PLAIN_SUMS:
            return self._rounded_at_random(func, args, kwargs)
        if self._inbound and packet in _REDUCTIONS:
            args = mapped(args, self._source.perturb)
        out = func(*args, **kwargs)
        made = out[0] if packet in FIRST_ONLY else written_arguments(func, args, kwargs) or out
        mapped(made, self._source.perturb_)
        return out

    def _narrowed(self, out: Tensor, x: Tensor) -> Tensor:
        """A conversion, rounded at random where the new dtype is the narrower one."""
        if out.dtype in _EMIN and _PRECISION.get(x.dtype, 0) > _PRECISION[out.dtype]:
            self._source.round_(out, x.to(out.device, torch.float64))
        return out

    def _rounded_at_random(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Compute an operator in binary64 where that is wider, and round its result at random."""
        narrow = [each for each in tensors_in(args) if each.is_floating_point()]
        if not narrow or any(each.dtype not in _EMIN for each in narrow):
            out = func(*args, **kwargs)
            mapped(out, self._source.perturb_)
            return out
        exact = func(*mapped(args, _widened), **mapped(kwargs, _widened))
        out = func(*args, **kwargs)
        for made, wide in zip(tensors_in(out), tensors_in(exact), strict=True):
            if made.dtype in _EMIN and wide.dtype == torch.float64:
                self._source.round_(made, wide)
        return out

    def _is_wanted(self) -> bool:
        """Whether the operator belongs to a layer that is perturbed."""
        if self._layers is None:
            return True
        if self.places.is_inside:
            return self.places.here() in self._layers
        if torch._C._current_graph_task_id() == -1:
            return False
        node: Any = torch._C._current_autograd_node()
        return node is not None and self.places.of_node(node) in self._layers


@contextmanager
def perturbed(
    model: nn.Module,
    precision_bits: int | None = 24,
    *,
    key: int,
    scope: Collection[str] | Callable[[str], bool] | None = None,
    inbound: bool = True,
) -> Generator[None]:
    """Compute with random errors of the size of one rounding at a precision, forward and backward.

    While the context is open, each operator that rounds returns x (1 + 2^(1-t) xi) instead of x,
    with a fresh xi uniform in (-1/2, 1/2) for each element and t = `precision_bits`; sums of
    products and other reductions read their operands (activations, weights, gradients) so too.
    Operators that only move or select numbers (views, ReLU, max pooling) stay as they are.
    Neither the weights nor the buffers of the model are written to.

    Args:
        model: Module whose layers `scope` names.
        precision_bits: t, virtual precision in bits: 24 for errors like those of FP32; None for the
            precision of each tensor's own dtype.
        key: Decides the errors: equal keys, models and inputs give equal bits.
        scope: Paths of modules, each with all below it, or a predicate on paths; only operators of
            these layers are perturbed. None perturbs everything that runs, a loss included.
        inbound: Whether operands are perturbed, besides results.

    Raises:
        ArithmeticSpecError: `precision_bits` is out of range, or `scope` names no module.

    Numerics:
        The error is m 2^(p-t) xi ulps of the dtype with precision p (m the significand of x),
        rounded at random to a whole number of ulps with the mean kept. Zeros stay zero, infinities
        and NaN stay what they are, integers are not touched. Noise comes from a generator of its
        own.

    Example:
        >>> model = torch.nn.Linear(4, 1)
        >>> x = torch.ones(1, 4)
        >>> with perturbed(model, 12, key=1):
        ...     y = model(x)
        >>> bool(y != model(x)), bool((y - model(x)).abs() < 0.01)
        (True, True)

    References:
        Parker, "Monte Carlo arithmetic: exploiting randomness in floating-point arithmetic" (1997).
    """
    if precision_bits is not None and not 1 <= precision_bits <= 53:
        raise ArithmeticSpecError(
            f"Cannot perturb at {precision_bits!r} bits: expected 1 to 53, such as 24 for FP32."
        )
    source = NoiseSource(precision_bits, key)
    mode = Perturbation(model, source, _layers(model, scope), inbound)
    mode.places.follow()
    try:
        with mode:
            yield
    finally:
        mode.places.forget()


def _layers(
    model: nn.Module, scope: Collection[str] | Callable[[str], bool] | None
) -> frozenset[str] | None:
    """Paths of the modules that are perturbed; None for everything."""
    if scope is None:
        return None
    paths = [path for path, _ in model.named_modules()]
    if callable(scope):
        return frozenset(path for path in paths if scope(path))
    for name in scope:
        if name not in paths:
            raise ArithmeticSpecError(
                f"Cannot perturb layer {name!r}: the model has no module of that name. "
                f"{near_matches(name, paths)}"
            )
    return frozenset(
        p for p in paths for name in scope if not name or f"{p}.".startswith(f"{name}.")
    )
