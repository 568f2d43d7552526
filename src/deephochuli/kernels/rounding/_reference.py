"""The torch reference: what rounding means, in integer operations that are easy to check.

Every number is taken apart into significand and exponent, cut at the last place that the format
has for it, and put together again. Nothing here is fast, and nothing is shared with the compiled
loops, which never take a number apart.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from deephochuli.formats import Rounding
from deephochuli.kernels.rounding._contract import (
    GROUP,
    HALF,
    LANES,
    LOWER_SERIES,
    N_RANDOM_BITS,
    Carrier,
    RoundingPlan,
    StochasticKey,
)
from deephochuli.kernels.rounding._patterns import floor_log2, from_patterns, to_patterns

_CHUNK = 1 << 18
_LOW32 = 0xFFFFFFFF
_MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
_WEYL = 0x9E3779B9, 0xBB67AE85
_ROUNDS = 10
# A significand has 53 bits at most: shifted by more than this, all of it is cut off.
_MAX_SHIFT = 62


class ReferenceRounder:
    """Rounding by plain torch operations, on any device."""

    name = "torch"

    def round(
        self,
        source: torch.Tensor,
        target: torch.Tensor,
        plan: RoundingPlan,
        key: StochasticKey | None,
    ) -> None:
        """Round all elements; see `Rounder`."""
        flat, result = _flat(source), _flat(target)
        for start in range(0, flat.numel(), _CHUNK):
            part = slice(start, min(start + _CHUNK, flat.numel()))
            bits = None
            if key is not None:
                bits = random_bits(key, part.start, part.stop, source.device)
            rounded = round_patterns(to_patterns(flat[part]), plan, bits)
            result[part] = from_patterns(rounded, source.dtype)


def _flat(tensor: torch.Tensor) -> torch.Tensor:
    """The elements of a dense tensor in the order in which they lie in memory."""
    return tensor.as_strided((tensor.numel(),), (1,))


class _Places(NamedTuple):
    """Magnitude = (steps + rest / 2^cut) 2^q, steps whole, 0 <= rest < 2^cut."""

    steps: torch.Tensor
    rest: torch.Tensor
    cut: torch.Tensor
    q: torch.Tensor


def round_patterns(
    patterns: torch.Tensor, plan: RoundingPlan, bits: torch.Tensor | None = None
) -> torch.Tensor:
    """Round patterns of the plan's carrier.

    Args:
        patterns: int64; patterns of 32 bits are zero-extended.
        plan: Where to and how.
        bits: For stochastic rounding, `N_RANDOM_BITS` random bits for each element.

    Returns:
        Patterns of the rounded numbers, in the same form.
    """
    carrier = plan.carrier
    magnitude = patterns & (carrier.sign - 1)
    is_negative = magnitude != patterns
    places = _places(magnitude, plan)
    up = _goes_up(places, plan.rounding, is_negative, bits)
    code = _pattern(places.steps + up, places.q, carrier)
    return _finish(code, magnitude, is_negative, plan)


def _places(magnitude: torch.Tensor, plan: RoundingPlan) -> _Places:
    """Cut each magnitude at the last place that the format has for it."""
    fmt, carrier = plan.fmt, plan.carrier
    field = magnitude >> carrier.stored
    significand = (magnitude & (carrier.hidden - 1)) + (field > 0) * carrier.hidden
    unit = field.clamp(min=1) - carrier.bias - carrier.stored
    e = floor_log2(significand) + unit
    is_low = e < fmt.emin
    q_low = fmt.emin - (fmt.precision - 1 if fmt.has_subnormals else 0)
    q = torch.where(is_low, q_low, e - (fmt.precision - 1))
    cut = q - unit
    shift = cut.clamp(max=_MAX_SHIFT)
    steps = significand >> shift
    rest = significand - (steps << shift)
    if not fmt.has_zero:  # what is below the smallest value counts as that value
        steps, rest = steps.masked_fill(is_low, 1), rest.masked_fill(is_low, 0)
    return _Places(steps, rest, cut, q)


def _goes_up(
    places: _Places, mode: Rounding, is_negative: torch.Tensor, bits: torch.Tensor | None
) -> torch.Tensor:
    """Whether each magnitude becomes the value above it."""
    is_cut, is_even = places.rest != 0, (places.steps & 1) == 0
    if mode in (Rounding.NEAREST_EVEN, Rounding.NEAREST_AWAY):
        whole, twice = 1 << places.cut.clamp(max=_MAX_SHIFT), places.rest << 1
        tie_goes_up = ~is_even if mode is Rounding.NEAREST_EVEN else True
        return is_cut & ((twice > whole) | ((twice == whole) & tie_goes_up))
    if mode is Rounding.STOCHASTIC:
        assert bits is not None, "stochastic rounding is decided with random bits"
        right = (places.cut - N_RANDOM_BITS).clamp(0, _MAX_SHIFT)
        left = (N_RANDOM_BITS - places.cut).clamp(0, _MAX_SHIFT)
        return ((places.rest >> right) << left) + bits > _LOW32
    if mode is Rounding.ODD:
        return is_cut & is_even
    if mode is Rounding.TOWARD_ZERO:
        return torch.zeros_like(is_cut)
    return is_cut & (is_negative if mode is Rounding.DOWN else ~is_negative)


def _pattern(steps: torch.Tensor, q: torch.Tensor, carrier: Carrier) -> torch.Tensor:
    """Pattern of steps 2^q, exact; beyond the carrier's largest value it goes on growing."""
    leading = floor_log2(steps)
    field = leading + q + carrier.bias
    significand = steps << (carrier.stored - leading.clamp(min=0)).clamp(min=0)
    normal = (field << carrier.stored) + significand - carrier.hidden
    unit = carrier.fmt.emin - carrier.stored
    subnormal = steps << (q - unit).clamp(0, carrier.stored)
    return torch.where(steps == 0, 0, torch.where(field > 0, normal, subnormal))


def _finish(
    code: torch.Tensor, magnitude: torch.Tensor, is_negative: torch.Tensor, plan: RoundingPlan
) -> torch.Tensor:
    """Put in what stands for overflow, infinity and NaN, and the sign."""
    fmt, carrier = plan.fmt, plan.carrier
    beyond = torch.where(is_negative, plan.beyond(is_negative=True), plan.beyond(is_negative=False))
    code = torch.where(code > plan.max_finite, beyond, code)
    code = code.masked_fill(magnitude == carrier.infinity, plan.infinite)
    is_nan = magnitude > carrier.infinity
    if not fmt.is_signed:
        is_nan |= is_negative & (magnitude != 0)
    code = code.masked_fill(is_nan, carrier.nan)
    keeps_sign = is_negative & (code <= carrier.infinity) & fmt.is_signed
    if not fmt.has_negative_zero:
        keeps_sign &= code != 0
    # The sign of binary64 is the sign of int64.
    sign = carrier.sign if carrier.width < 64 else -carrier.sign
    return torch.where(keeps_sign, code + sign, code)


def random_bits(key: StochasticKey, start: int, stop: int, device: torch.device) -> torch.Tensor:
    """The random bits of the elements from one index up to another, int64."""
    groups = range(start // GROUP, -(-stop // GROUP))
    limits = groups.start * LANES, groups.stop * LANES
    counter = torch.arange(*limits, dtype=torch.int64, device=device)
    # The top bit of a counter is the sign of its int64.
    upper, lower = _halves(counter, key), _halves(counter - LOWER_SERIES, key)
    first = groups.start * GROUP
    return ((upper << HALF) + lower)[start - first : stop - first]


def _halves(counter: torch.Tensor, key: StochasticKey) -> torch.Tensor:
    """The halves of all words of the counters of whole groups, in the order of elements."""
    words = torch.stack(philox(counter, key)).reshape(4, 1, -1, LANES)
    halves = torch.cat([words & ((1 << HALF) - 1), words >> HALF], 1)
    return halves.permute(2, 0, 1, 3).flatten()


def philox(counter: torch.Tensor, key: StochasticKey) -> tuple[torch.Tensor, ...]:
    """Philox4x32-10: four words of 32 random bits, each in an int64.

    Salmon, Moraes, Dror, Shaw (2011), Parallel random numbers: as easy as 1, 2, 3.
    """
    k0, k1, stream, step = key.words
    x0, x1 = counter & _LOW32, (counter >> 32) & _LOW32
    x2, x3 = torch.full_like(counter, stream), torch.full_like(counter, step)
    for _ in range(_ROUNDS):
        # The product has 64 bits; int64 holds them all, wrapped around.
        p0, p1 = x0 * _MULTIPLIERS[0], x2 * _MULTIPLIERS[1]
        x0, x2 = ((p1 >> 32) & _LOW32) ^ x1 ^ k0, ((p0 >> 32) & _LOW32) ^ x3 ^ k1
        x1, x3 = p1 & _LOW32, p0 & _LOW32
        k0, k1 = (k0 + _WEYL[0]) & _LOW32, (k1 + _WEYL[1]) & _LOW32
    return x0, x1, x2, x3
