"""Number formats: what they are, how a number is rounded to them, what they swallow.

Everything here is exact and knows no tensor. The scalar functions are the oracle that the faster
code of the upper floors is tested against.
"""

from __future__ import annotations

from deephochuli.formats._absorption import Threshold as Threshold
from deephochuli.formats._absorption import Toward as Toward
from deephochuli.formats._catalogue import (
    BFLOAT16,
    BINARY16,
    BINARY32,
    BINARY64,
    E2M1,
    E2M3,
    E3M2,
    E3M4,
    E4M3FN,
    E4M3FNUZ,
    E5M2,
    E5M2FNUZ,
    E8M0,
    TF32,
    format_of_dtype,
    get_format,
    list_formats,
)
from deephochuli.formats._codes import canonical_nan, decode, encode
from deephochuli.formats._exact import Real
from deephochuli.formats._format import Format
from deephochuli.formats._modes import Overflow, Rounding
from deephochuli.formats._rounding import round_scalar, round_to_code
from deephochuli.formats._spec import define_format
from deephochuli.formats._table import format_rows

__all__ = [
    "BFLOAT16",
    "BINARY16",
    "BINARY32",
    "BINARY64",
    "E2M1",
    "E2M3",
    "E3M2",
    "E3M4",
    "E4M3FN",
    "E4M3FNUZ",
    "E5M2",
    "E5M2FNUZ",
    "E8M0",
    "TF32",
    "Format",
    "Overflow",
    "Real",
    "Rounding",
    "Threshold",
    "Toward",
    "canonical_nan",
    "decode",
    "define_format",
    "encode",
    "format_of_dtype",
    "format_rows",
    "get_format",
    "list_formats",
    "round_scalar",
    "round_to_code",
]
