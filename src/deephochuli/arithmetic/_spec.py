"""A rounding as one string: what an operator of torch can be told, and a saved graph can keep."""

# What torch hands to a compiler's constants has no types of its own.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import functools
from typing import Any

import torch

from deephochuli.formats import Format, Overflow, Rounding, get_format
from deephochuli.kernels.rounding import RoundingPlan, plan_for

_FLAGS = ("has_infinities", "has_subnormals", "has_zero", "has_negative_zero", "is_signed")


@torch.compiler.assume_constant_result
def spec_of(
    fmt: Format | str, rounding: Rounding | str, overflow: Overflow | str | None, dtype: str
) -> str:
    """Check what a user asks for, and write it down.

    Args:
        fmt: Format, or its name or specification.
        rounding: Mode or its name.
        overflow: Policy or its name; that of the format when not given.
        dtype: Type of the tensor to round, without "torch.".

    Raises:
        FormatError: A name is unknown, the policy is impossible, or the type cannot hold the
            values of the format.
    """
    return _spec_of(fmt, rounding, overflow, dtype)


@functools.lru_cache(maxsize=512)
def _spec_of(
    fmt: Format | str, rounding: Rounding | str, overflow: Overflow | str | None, dtype: str
) -> str:
    policy = None if overflow is None else Overflow(overflow)
    plan = plan_for(get_format(fmt), Rounding(rounding), policy, dtype)
    return _written(plan)


def _written(plan: RoundingPlan) -> str:
    fmt = plan.fmt
    flags = "".join(str(int(getattr(fmt, name))) for name in _FLAGS)
    numbers = (fmt.exponent_bits, fmt.precision, fmt.bias, fmt.n_high_nans, flags)
    name = fmt.name.replace("|", "/")
    return "|".join([*map(str, numbers), plan.rounding.value, plan.overflow.value, name])


@functools.lru_cache(maxsize=512)
def plan_of(spec: str, dtype: torch.dtype) -> RoundingPlan:
    """The plan that `spec_of` has written down."""
    *numbers, flags, rounding, overflow, name = spec.split("|")
    exponent_bits, precision, bias, n_high_nans = map(int, numbers)
    policy = Overflow(overflow)
    has: dict[str, Any] = {key: flag == "1" for key, flag in zip(_FLAGS, flags, strict=True)}
    fmt = Format(
        name=name,
        exponent_bits=exponent_bits,
        precision=precision,
        bias=bias,
        n_high_nans=n_high_nans,
        overflow=policy,
        **has,
    )
    return plan_for(fmt, Rounding(rounding), policy, name_of(dtype))


def name_of(dtype: torch.dtype) -> str:
    """Name of a type as numpy spells it."""
    return str(dtype).removeprefix("torch.")
