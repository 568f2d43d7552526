"""Formats of the user's own: by keyword, or in one short string."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from deephochuli.errors import FormatError, near_matches
from deephochuli.formats._format import Format
from deephochuli.formats._modes import Overflow

_BITS = re.compile(r"e(?P<exponent>\d{1,2})m(?P<stored>\d{1,2})")
_NUMBER_OPTIONS = {"bias": "bias", "nan": "n_high_nans"}
_FLAG_OPTIONS: dict[str, dict[str, Any]] = {
    "no-inf": {"has_infinities": False, "n_high_nans": 1},
    "no-nan": {"n_high_nans": 0},
    "no-subnormals": {"has_subnormals": False},
    "no-negative-zero": {"has_negative_zero": False},
    "no-zero": {"has_zero": False, "has_subnormals": False},
    "unsigned": {"is_signed": False},
    "saturate": {"overflow": Overflow.SATURATE},
    "infinity": {"overflow": Overflow.INFINITY},
    "overflow-nan": {"overflow": Overflow.NAN},
}


def define_format(
    name: str | None = None,
    *,
    exponent_bits: int,
    precision: int,
    bias: int | None = None,
    overflow: Overflow | str = Overflow.INFINITY,
    n_high_nans: int | None = None,
    has_infinities: bool = True,
    has_subnormals: bool = True,
    has_zero: bool = True,
    has_negative_zero: bool = True,
    is_signed: bool = True,
    aliases: tuple[str, ...] = (),
    description: str = "",
) -> Format:
    """Make a format; what is left out is as in IEEE 754.

    Args:
        name: Name in messages and tables; "e{exponent_bits}m{precision - 1}" when not given.
        exponent_bits: Width of the exponent field.
        precision: p, bits of the significand with the leading one.
        bias: Exponent field minus exponent; 2^(exponent_bits - 1) - 1 when not given.
        overflow: Policy beyond `max_finite`.
        n_high_nans: NaN codes at the top; when not given, all that IEEE 754 reserves beside the
            infinity, 2^(p-1) - 1.
        has_infinities: See `Format`, as for all others.
        has_subnormals: See `Format`.
        has_zero: See `Format`.
        has_negative_zero: See `Format`.
        is_signed: See `Format`.
        aliases: See `Format`.
        description: See `Format`.

    Raises:
        FormatError: The parameters contradict each other.

    Example:
        >>> define_format(exponent_bits=6, precision=10).max_finite
        4290772992.0
    """
    width = max(exponent_bits, 1)
    return Format(
        name=f"e{exponent_bits}m{precision - 1}" if name is None else name,
        exponent_bits=exponent_bits,
        precision=precision,
        bias=2 ** (width - 1) - 1 if bias is None else bias,
        overflow=Overflow(overflow),
        n_high_nans=2 ** (max(precision, 1) - 1) - 1 if n_high_nans is None else n_high_nans,
        has_infinities=has_infinities,
        has_subnormals=has_subnormals,
        has_zero=has_zero,
        has_negative_zero=has_negative_zero,
        is_signed=is_signed,
        aliases=aliases,
        description=description,
    )


def is_spec(text: str) -> bool:
    """Whether a text is meant as a specification, be it right or wrong."""
    return ":" in text or _BITS.fullmatch(text) is not None


def parse_spec(text: str, known: Mapping[str, Format]) -> Format:
    """Make a format from a specification: a base, then options after a colon.

    The base is a name of the catalogue, or "e<exponent bits>m<stored significand bits>" for the
    IEEE 754 layout. Options, separated by commas and applied in their order:

        bias=N              exponent field minus exponent
        nan=N               N NaN codes at the top of each sign
        no-inf              no infinities, one NaN code (the layout of E4M3FN)
        no-nan, no-subnormals, no-negative-zero, no-zero, unsigned
        ieee                IEEE 754 layout with the bits of the base, where the base is another
        saturate, infinity, overflow-nan      overflow policy

    Args:
        text: Specification in lower case, for instance "e4m3:bias=8,no-inf,saturate".
        known: Formats that can be a base, by name.

    Raises:
        FormatError: The base or an option is unknown, or the result contradicts itself.
    """
    base_name, _, options = text.partition(":")
    fmt = _base(base_name.strip(), known)
    changes: dict[str, Any] = {}
    for option in filter(None, (part.strip() for part in options.split(","))):
        changes |= _option(option, fmt, text)
    return replace(fmt, name=text, aliases=(), description="", **changes)


def _base(name: str, known: Mapping[str, Format]) -> Format:
    if fmt := known.get(name):
        return fmt
    match = _BITS.fullmatch(name)
    if match is None:
        raise FormatError(f"Unknown base format {name!r}. {near_matches(name, known)}")
    return define_format(exponent_bits=int(match["exponent"]), precision=int(match["stored"]) + 1)


def _option(option: str, fmt: Format, text: str) -> dict[str, Any]:
    """Attributes that one option changes."""
    key, equals, value = (part.strip() for part in option.partition("="))
    if equals and key in _NUMBER_OPTIONS and re.fullmatch(r"[+-]?\d{1,6}", value):
        return {_NUMBER_OPTIONS[key]: int(value)}
    if not equals and key in _FLAG_OPTIONS:
        return _FLAG_OPTIONS[key]
    if option == "ieee":
        ieee = define_format(exponent_bits=fmt.exponent_bits, precision=fmt.precision)
        names = ("bias", "n_high_nans", "has_infinities", "has_negative_zero", "overflow")
        return {name: getattr(ieee, name) for name in names}
    names = [*_FLAG_OPTIONS, *(f"{name}=N" for name in _NUMBER_OPTIONS), "ieee"]
    raise FormatError(
        f"Unknown option {option!r} in the format {text!r}. {near_matches(option, names)}"
    )
