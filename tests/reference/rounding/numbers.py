"""Formats, modes and numbers that roundings are tested on."""

import numpy as np
import torch

from deephochuli.formats import Overflow, Rounding, decode_array, get_format, list_formats
from deephochuli.kernels.rounding import CARRIERS, StochasticKey, holds

# The catalogue, and layouts that it has not: without subnormals, zero, -0 or signs, one bit of
# precision, values among the subnormal numbers of the carrier, or beyond its normal range.
SPECS = (
    *(fmt.name for fmt in list_formats()),
    "bf16:no-subnormals",
    "fp16:no-subnormals",
    "e5m2:bias=145",
    "e8m2:bias=140",
    "e8m3:bias=140,no-zero,unsigned",
    "e8m7:bias=133,no-inf,no-negative-zero,saturate",
    "e6m9:bias=70",
    "e5m1:no-subnormals",
    "e5m3:unsigned",
    "e3m0:no-inf,saturate",
    "e4m0",
    "e8m0:bias=133",
    "e5m2:no-nan,no-inf,unsigned,saturate",
    "e11m0:bias=1070",
    "e11m10:bias=1050",
    "e11m10:bias=1050,no-subnormals",
    "e11m3:bias=1060,no-zero,unsigned",
)
FORMATS = {spec: get_format(spec) for spec in SPECS}
MODES = tuple(Rounding)
DTYPES = {name: getattr(torch, name) for name in CARRIERS}
INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def policies(fmt):
    """The overflow policies that a format allows."""
    found = [Overflow.SATURATE]
    if fmt.has_infinities:
        found.append(Overflow.INFINITY)
    if fmt.has_nan:
        found.append(Overflow.NAN)
    return found


def held(dtype, specs=SPECS):
    """The formats that a type of tensors holds."""
    return [FORMATS[spec] for spec in specs if holds(CARRIERS[dtype], FORMATS[spec])]


def key_for(mode, seed=11, stream=5, step=7):
    return StochasticKey(seed, stream, step) if mode is Rounding.STOCHASTIC else None


def patterns(dtype, n, seed):
    """Tensor elements with random bits."""
    size = DTYPES[dtype].itemsize
    bits = np.random.default_rng(seed).integers(0, 2 ** (8 * size), n, dtype=f"u{size}")
    return torch.from_numpy(bits.view(f"i{size}")).view(DTYPES[dtype])


def all_patterns(dtype):
    """Every pattern of a type of 16 bits."""
    return torch.arange(1 << 16, dtype=torch.int32).to(torch.int16).view(DTYPES[dtype])


def around(fmt, dtype, n, seed):
    """Values of a format, middles, their neighbours in a type, and numbers over its range."""
    generator = np.random.default_rng(seed)
    n_values = min(fmt.max_finite_code + 1, n)
    codes = np.unique(np.linspace(0, fmt.max_finite_code, n_values).astype(np.int64))
    codes = np.union1d(codes, np.minimum(codes + 1, fmt.max_finite_code))
    values = decode_array(codes, fmt)
    middles = values[:-1] / 2 + values[1:] / 2
    last = values[-1] + (values[-1] - values[-2]) / 2
    low, high = fmt.emin - fmt.precision - 3, min(fmt.emax + 2, 1023)
    spread = np.ldexp(generator.uniform(1, 2, n), generator.integers(low, high + 1, n))
    special = [0.0, np.inf, np.nan, 5e-324, 1e-310, 1e-45, 2.0**-149, 1e-39, 2.0**-126, 6e-8]
    with np.errstate(over="ignore", invalid="ignore"):
        found = np.concatenate([values, middles, [last], spread, special])
    x = torch.from_numpy(found).to(DTYPES[dtype])
    finite = x[torch.isfinite(x)]
    above = torch.nextafter(finite, torch.full_like(finite, torch.inf))
    below = torch.nextafter(finite, torch.full_like(finite, -torch.inf))
    positive = torch.cat([x, above, below])
    return torch.cat([positive, -positive])


def as_float64(x):
    """The elements as numpy binary64, exactly, also where operands are flushed to zero."""
    return x.detach().to(torch.float64).numpy()


def bits_of(x):
    """The elements as integers, for comparing them with their signs and NaNs."""
    return x.detach().contiguous().view(INTEGERS[x.element_size()])


def same_values(ours, truth):
    """Where two binary64 arrays agree, all NaN alike, and zeros with their signs."""
    both_nan = np.isnan(ours) & np.isnan(truth)
    return both_nan | ((ours == truth) & (np.signbit(ours) == np.signbit(truth)))
