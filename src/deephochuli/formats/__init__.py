"""Number formats: what they are, how a number is rounded to them, what they swallow.

Everything here is exact and knows no tensor. The scalar functions are the oracle that the faster
code of the upper floors is tested against.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from deephochuli.formats._array_codes import decode_array
    from deephochuli.formats._array_rounding import encode_array, round_array, round_to_codes

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
    "decode_array",
    "define_format",
    "encode",
    "encode_array",
    "format_of_dtype",
    "format_rows",
    "get_format",
    "list_formats",
    "round_array",
    "round_scalar",
    "round_to_code",
    "round_to_codes",
]

# These need numpy, which a command that only prints a table of formats does not.
_ARRAY_FUNCTIONS = {
    "decode_array": "deephochuli.formats._array_codes",
    "encode_array": "deephochuli.formats._array_rounding",
    "round_array": "deephochuli.formats._array_rounding",
    "round_to_codes": "deephochuli.formats._array_rounding",
}


def __getattr__(name: str) -> Any:
    """Load the array functions when they are asked for."""
    if name in _ARRAY_FUNCTIONS:
        return getattr(importlib.import_module(_ARRAY_FUNCTIONS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
