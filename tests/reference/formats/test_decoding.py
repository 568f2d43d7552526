"""Every code of every format up to 16 bits, as two other libraries read it."""

from functools import lru_cache

import gfloat
import ml_dtypes
import numpy as np
import pytest
from gfloat import formats as gfloat_formats

from deephochuli.formats import (
    canonical_nan,
    decode,
    decode_array,
    encode,
    encode_array,
    get_format,
)

from .judges import CASTS_OF_NUMPY

GFLOAT = {
    "bf16": gfloat_formats.format_info_bfloat16,
    "fp16": gfloat_formats.format_info_binary16,
    "fp8_e4m3fn": gfloat_formats.format_info_ocp_e4m3,
    "fp8_e5m2": gfloat_formats.format_info_ocp_e5m2,
    "fp6_e2m3": gfloat_formats.format_info_ocp_e2m3,
    "fp6_e3m2": gfloat_formats.format_info_ocp_e3m2,
    "fp4_e2m1": gfloat_formats.format_info_ocp_e2m1,
    "e8m0": gfloat_formats.format_info_ocp_e8m0,
}


def bits(values):
    """Bits of the values, all NaN the same."""
    values = np.asarray(values, np.float64)
    return np.where(np.isnan(values), np.uint64(0x7FF8 << 48), values.view(np.uint64))


@lru_cache
def decoded(fmt):
    return np.array([decode(code, fmt) for code in range(fmt.n_codes)])


@pytest.mark.parametrize("name", CASTS_OF_NUMPY)
def test_every_code_is_read_as_by_ml_dtypes(name):
    fmt = get_format(name)
    dtype = np.dtype(CASTS_OF_NUMPY[name])
    codes = np.arange(fmt.n_codes, dtype=f"u{dtype.itemsize}")
    with np.errstate(all="ignore"):
        judged = codes.view(dtype).astype(np.float64)
    assert (bits(decoded(fmt)) == bits(judged)).all()
    assert (bits(decode_array(codes, fmt)) == bits(judged)).all()


@pytest.mark.parametrize("name", GFLOAT)
def test_every_code_is_read_as_by_gfloat(name):
    fmt = get_format(name)
    judged = gfloat.decode_ndarray(GFLOAT[name], np.arange(fmt.n_codes))
    assert (bits(decoded(fmt)) == bits(judged)).all()


@pytest.mark.parametrize("name", CASTS_OF_NUMPY)
def test_every_value_is_written_with_its_own_code(name):
    fmt = get_format(name)
    values = decoded(fmt)
    expected = np.arange(fmt.n_codes)
    expected[np.isnan(values)] = canonical_nan(fmt) if fmt.has_nan else 0
    assert (encode_array(values, fmt) == expected).all()
    # The scalar function at every code of the narrow formats, and at every 31st of the others.
    some = slice(None, None, 1 if fmt.bits <= 8 else 31)
    assert [encode(float(v), fmt) for v in values[some]] == expected[some].tolist()


@pytest.mark.parametrize("name", CASTS_OF_NUMPY)
def test_limits_are_those_of_finfo(name):
    fmt, finfo = get_format(name), ml_dtypes.finfo(CASTS_OF_NUMPY[name])
    assert fmt.bits == finfo.bits
    assert fmt.max == float(finfo.max)
    assert fmt.smallest_normal == float(finfo.smallest_normal)
    assert fmt.smallest_subnormal == float(finfo.smallest_subnormal)
    assert fmt.eps == float(finfo.eps)


@pytest.mark.parametrize(("name", "word", "value"), [("fp32", "u4", "f4"), ("fp64", "u8", "f8")])
def test_wide_formats_are_read_as_by_the_processor(name, word, value):
    fmt = get_format(name)
    codes = np.random.default_rng(0).integers(0, fmt.n_codes, 20_000, dtype=word)
    ends = np.array([0, 1, fmt.max_finite_code, fmt.max_finite_code + 1], dtype=word)
    codes = np.concatenate([codes, ends, ends + np.array(fmt.n_magnitude_codes, word)])
    with np.errstate(all="ignore"):
        judged = codes.view(value).astype(np.float64)
    assert (bits(decode_array(codes, fmt)) == bits(judged)).all()
    some = slice(-500, None)
    assert (bits([decode(int(c), fmt) for c in codes[some]]) == bits(judged[some])).all()
