"""The formats that hardware and libraries use, by name.

Overflow policies are decisions of this catalogue and inherited from no library, because the stacks
disagree. Measured with torch 2.11 to 2.13 (CPU) and ml_dtypes 0.6:

    format      here      torch                     ml_dtypes
    E4M3FN      saturate  saturate, inf too;        NaN above 464 and for inf
                          NaN up to torch 2.12
    E4M3FNUZ    nan       NaN                       NaN
    E5M2FNUZ    nan       NaN                       NaN
    FP6, FP4    saturate  no such cast              saturate, inf too; NaN becomes 0 (here: error)
    E8M0        nan       NaN; 0 becomes 2^-127     NaN; 0 becomes NaN (here: 2^-127)
                          the sign is ignored       a negative number becomes NaN (here too)

All others overflow to infinity everywhere.
"""

from __future__ import annotations

from deephochuli.errors import FormatError, near_matches
from deephochuli.formats._format import Format
from deephochuli.formats._modes import Overflow
from deephochuli.formats._spec import define_format, is_spec, parse_spec

BINARY64 = define_format(
    "fp64",
    exponent_bits=11,
    precision=53,
    aliases=("binary64", "float64", "double", "f64"),
    description="IEEE 754 double precision",
)
BINARY32 = define_format(
    "fp32",
    exponent_bits=8,
    precision=24,
    aliases=("binary32", "float32", "single", "float", "f32"),
    description="IEEE 754 single precision",
)
TF32 = define_format(
    "tf32",
    exponent_bits=8,
    precision=11,
    aliases=("tensorfloat32", "tfloat32", "tensorfloat_32"),
    description="NVIDIA TensorFloat-32: inputs of tensor cores, stored in 32 bits",
)
BFLOAT16 = define_format(
    "bf16",
    exponent_bits=8,
    precision=8,
    aliases=("bfloat16", "bfloat", "brain_float"),
    description="bfloat16: the upper half of binary32",
)
BINARY16 = define_format(
    "fp16",
    exponent_bits=5,
    precision=11,
    aliases=("binary16", "float16", "half", "f16"),
    description="IEEE 754 half precision",
)
E4M3FN = define_format(
    "fp8_e4m3fn",
    exponent_bits=4,
    precision=4,
    n_high_nans=1,
    has_infinities=False,
    overflow=Overflow.SATURATE,
    aliases=("float8_e4m3fn", "e4m3fn", "e4m3", "fp8_e4m3", "float8_e4m3"),
    description="OCP FP8 for weights and activations: finite, one NaN",
)
E5M2 = define_format(
    "fp8_e5m2",
    exponent_bits=5,
    precision=3,
    aliases=("float8_e5m2", "e5m2"),
    description="OCP FP8 for gradients: IEEE layout",
)
E4M3FNUZ = define_format(
    "fp8_e4m3fnuz",
    exponent_bits=4,
    precision=4,
    bias=8,
    n_high_nans=0,
    has_infinities=False,
    has_negative_zero=False,
    overflow=Overflow.NAN,
    aliases=("float8_e4m3fnuz", "e4m3fnuz"),
    description="FP8 of AMD CDNA3: finite, the code of -0 is NaN",
)
E5M2FNUZ = define_format(
    "fp8_e5m2fnuz",
    exponent_bits=5,
    precision=3,
    bias=16,
    n_high_nans=0,
    has_infinities=False,
    has_negative_zero=False,
    overflow=Overflow.NAN,
    aliases=("float8_e5m2fnuz", "e5m2fnuz"),
    description="FP8 of AMD CDNA3: finite, the code of -0 is NaN",
)
E3M4 = define_format(
    "fp8_e3m4",
    exponent_bits=3,
    precision=5,
    aliases=("float8_e3m4", "e3m4"),
    description="FP8 with more precision and less range: IEEE layout",
)
E2M3 = define_format(
    "fp6_e2m3",
    exponent_bits=2,
    precision=4,
    n_high_nans=0,
    has_infinities=False,
    overflow=Overflow.SATURATE,
    aliases=("float6_e2m3fn", "fp6_e2m3fn", "e2m3fn", "e2m3"),
    description="OCP MX FP6 element: neither infinity nor NaN",
)
E3M2 = define_format(
    "fp6_e3m2",
    exponent_bits=3,
    precision=3,
    n_high_nans=0,
    has_infinities=False,
    overflow=Overflow.SATURATE,
    aliases=("float6_e3m2fn", "fp6_e3m2fn", "e3m2fn", "e3m2"),
    description="OCP MX FP6 element: neither infinity nor NaN",
)
E2M1 = define_format(
    "fp4_e2m1",
    exponent_bits=2,
    precision=2,
    n_high_nans=0,
    has_infinities=False,
    overflow=Overflow.SATURATE,
    aliases=("float4_e2m1fn", "fp4_e2m1fn", "e2m1fn", "e2m1", "fp4", "float4_e2m1fn_x2"),
    description="OCP MX FP4 element: neither infinity nor NaN",
)
E8M0 = define_format(
    "e8m0",
    exponent_bits=8,
    precision=1,
    bias=127,
    n_high_nans=1,
    has_infinities=False,
    has_subnormals=False,
    has_zero=False,
    is_signed=False,
    overflow=Overflow.NAN,
    aliases=("e8m0fnu", "float8_e8m0fnu", "fp8_e8m0", "ue8m0"),
    description="OCP MX block scale: powers of two, neither sign nor zero, one NaN",
)

_CATALOGUE = (
    *(BINARY64, BINARY32, TF32, BFLOAT16, BINARY16),
    *(E4M3FN, E5M2, E4M3FNUZ, E5M2FNUZ, E3M4),
    *(E2M3, E3M2, E2M1, E8M0),
)
_BY_NAME = {name: fmt for fmt in _CATALOGUE for name in (fmt.name, *fmt.aliases)}


def list_formats() -> tuple[Format, ...]:
    """All formats of the catalogue, the widest first."""
    return _CATALOGUE


def get_format(name: str | Format) -> Format:
    """Find a format by name, or make one from a specification.

    Args:
        name: A name or alias of the catalogue, in upper or lower case, with "-" or "_"; or a
            specification such as "e5m10" or "e4m3:bias=8,no-inf,saturate" (see `parse_spec`).
            A format is given back as it is, and a dtype of torch or numpy counts by its name.

    Raises:
        FormatError: The name is unknown; the message names those that resemble it.

    Example:
        >>> get_format("bfloat16").unit_roundoff
        0.00390625
    """
    if isinstance(name, Format):
        return name
    key = _normalised(name)
    if fmt := _BY_NAME.get(key):
        return fmt
    if is_spec(key):
        return parse_spec(key, _BY_NAME)
    raise FormatError(
        f"Unknown format {name!r}. {near_matches(key, _BY_NAME)} Any other format can be written "
        "as its bits, for instance 'e5m10' or 'e4m3:bias=8,no-inf,saturate'."
    )


def format_of_dtype(dtype: str) -> Format:
    """Find the format of a dtype by the name that torch or numpy gives it.

    Args:
        dtype: "torch.float16", "float16", "bfloat16", "float8_e4m3fn", ...

    Raises:
        FormatError: The dtype is no floating-point dtype of the catalogue.
    """
    fmt = _BY_NAME.get(_normalised(dtype))
    if fmt is None:
        known = [name for name in _BY_NAME if "float" in name]
        raise FormatError(
            f"dtype {dtype!r} is no known floating-point dtype. {near_matches(dtype, known)}"
        )
    return fmt


def _normalised(name: object) -> str:
    """Spell a name as the catalogue does; the options of a specification keep their hyphens."""
    base, colon, options = str(name).strip().lower().removeprefix("torch.").partition(":")
    return base.replace("-", "_") + colon + options
