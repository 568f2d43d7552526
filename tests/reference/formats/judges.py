"""Casts of other libraries, each with the overflow policy it was measured to have.

NaN has many codes and a cast may give any of them: all are compared as one.
"""

from collections.abc import Callable
from dataclasses import dataclass

import ml_dtypes
import numpy as np
import torch

from deephochuli.formats import Format, Overflow, canonical_nan, get_format

CASTS_OF_NUMPY = {
    "fp16": np.float16,
    "bf16": ml_dtypes.bfloat16,
    "fp8_e4m3fn": ml_dtypes.float8_e4m3fn,
    "fp8_e5m2": ml_dtypes.float8_e5m2,
    "fp8_e4m3fnuz": ml_dtypes.float8_e4m3fnuz,
    "fp8_e5m2fnuz": ml_dtypes.float8_e5m2fnuz,
    "fp8_e3m4": ml_dtypes.float8_e3m4,
    "fp6_e2m3": ml_dtypes.float6_e2m3fn,
    "fp6_e3m2": ml_dtypes.float6_e3m2fn,
    "fp4_e2m1": ml_dtypes.float4_e2m1fn,
    "e8m0": ml_dtypes.float8_e8m0fnu,
}
CASTS_OF_TORCH = {
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "fp8_e4m3fn": torch.float8_e4m3fn,
    "fp8_e5m2": torch.float8_e5m2,
    "fp8_e4m3fnuz": torch.float8_e4m3fnuz,
    "fp8_e5m2fnuz": torch.float8_e5m2fnuz,
    "e8m0": torch.float8_e8m0fnu,
}
# The differences of overflow policy, all of them; where a pair is not listed, the library does
# what the catalogue says. torch 2.11 to 2.13 on a CPU; ml_dtypes 0.6 and numpy 2.4.
TORCH_SATURATES = tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (2, 13)
POLICIES = {("ml_dtypes", "fp8_e4m3fn"): Overflow.NAN} | (
    {} if TORCH_SATURATES else {("torch", "fp8_e4m3fn"): Overflow.NAN}
)
# Other differences, all of them: inputs for which a library does not do what it is compared with.
# - ml_dtypes, FP6 and FP4: NaN becomes a zero. Here it is an error, since they have no NaN.
# - ml_dtypes, E8M0: zero becomes NaN. Here it is the smallest value, 2^-127.
# - torch, E8M0: the sign is ignored, and zero becomes 2^-127. Here a negative number becomes NaN.
# - both, E8M0: what is between 2^-127 and 1.5 * 2^-127 becomes 2^-126, which is not the nearest.


@dataclass(frozen=True)
class Judge:
    """One cast of one library."""

    library: str
    fmt: Format
    cast: Callable[[np.ndarray], np.ndarray]

    def __str__(self) -> str:
        return f"{self.library}-{self.fmt.name}"

    @property
    def policy(self) -> Overflow:
        """What this cast does beyond the largest finite value."""
        return POLICIES.get((self.library, self.fmt.name), self.fmt.overflow)

    def codes(self, x: np.ndarray) -> np.ndarray:
        """Codes that binary32 numbers become, NaN as the canonical one."""
        return one_nan(self.cast(x), self.fmt)

    def judgeable(self, x: np.ndarray) -> np.ndarray:
        """Inputs without those whose treatment is listed as different above."""
        if not self.fmt.has_nan:
            return x[~np.isnan(x)]
        if self.fmt.name != "e8m0":
            return x
        x = x[~((np.abs(x) > 2.0**-127) & (np.abs(x) < 1.5 * 2.0**-127))]
        return x[x != 0] if self.library == "ml_dtypes" else x[~np.signbit(x)]


def one_nan(codes: np.ndarray, fmt: Format) -> np.ndarray:
    """The codes with all NaN made the canonical one."""
    table = np.arange(fmt.n_codes, dtype=codes.dtype)
    if fmt.has_nan:
        table[list(fmt.nan_codes)] = canonical_nan(fmt)
    return table[codes]


def cast_by_numpy(name: str) -> Callable[[np.ndarray], np.ndarray]:
    def cast(x: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            narrow = x.astype(CASTS_OF_NUMPY[name])
        return narrow.view(f"u{narrow.dtype.itemsize}")

    return cast


def cast_by_torch(name: str) -> Callable[[np.ndarray], np.ndarray]:
    def cast(x: np.ndarray) -> np.ndarray:
        narrow = torch.from_numpy(x).to(CASTS_OF_TORCH[name])
        bits = torch.uint8 if narrow.element_size() == 1 else torch.uint16
        return narrow.view(bits).numpy()

    return cast


def judges(names: list[str] | None = None) -> list[Judge]:
    """All casts to the named formats, or to all that any library has."""
    found = [Judge("ml_dtypes", get_format(n), cast_by_numpy(n)) for n in CASTS_OF_NUMPY]
    found += [Judge("torch", get_format(n), cast_by_torch(n)) for n in CASTS_OF_TORCH]
    return [judge for judge in found if names is None or judge.fmt.name in names]
