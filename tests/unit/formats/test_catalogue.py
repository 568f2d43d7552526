"""Names, specifications and the table."""

import json
import subprocess
import sys

import numpy as np
import pytest

from deephochuli.errors import FormatError
from deephochuli.formats import (
    BFLOAT16,
    BINARY16,
    BINARY32,
    BINARY64,
    E4M3FN,
    E4M3FNUZ,
    E5M2,
    E8M0,
    TF32,
    Overflow,
    decode_array,
    define_format,
    format_of_dtype,
    format_rows,
    get_format,
    list_formats,
)


@pytest.mark.parametrize(
    ("name", "fmt"),
    [
        ("fp64", BINARY64),
        ("double", BINARY64),
        ("float32", BINARY32),
        ("TF32", TF32),
        ("half", BINARY16),
        ("float16", BINARY16),
        ("fp16", BINARY16),
        ("BFloat16", BFLOAT16),
        ("e4m3", E4M3FN),
        ("float8_e4m3fn", E4M3FN),
        ("FP8-E4M3FN", E4M3FN),
        ("e8m0", E8M0),
        (" e5m2 ", E5M2),
        ("float8_e4m3fnuz", E4M3FNUZ),
        (BINARY16, BINARY16),
        ("torch.float16", BINARY16),
    ],
)
def test_names_and_aliases(name, fmt):
    assert get_format(name) is fmt


def test_every_name_means_one_format():
    names = [name for fmt in list_formats() for name in (fmt.name, *fmt.aliases)]
    assert len(names) == len(set(names))
    assert all(get_format(name).name == fmt.name for fmt in list_formats() for name in fmt.aliases)
    assert len(list_formats()) == 14
    assert all(fmt.description for fmt in list_formats())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("bfloat", BFLOAT16),
        ("bfloa16", "'bfloat16'"),
        ("fp17", "'fp16'"),
        ("e4m3fm", "'e4m3fn'"),
        (None, "Known names"),
    ],
)
def test_unknown_names_are_answered_with_near_ones(name, words):
    if words is BFLOAT16:
        assert get_format(name) is BFLOAT16
        return
    with pytest.raises(FormatError, match=r"Did you mean|Known names") as error:
        get_format(name)
    assert words in str(error.value)
    assert repr(name) in str(error.value)


@pytest.mark.parametrize("dtype", ["torch.float16", "float16"])
def test_dtypes_by_name(dtype):
    assert format_of_dtype(dtype) is BINARY16


@pytest.mark.parametrize(
    ("dtype", "fmt"),
    [
        ("torch.bfloat16", BFLOAT16),
        ("torch.float8_e5m2", E5M2),
        ("float64", BINARY64),
        ("torch.float32", BINARY32),
        ("torch.float8_e8m0fnu", E8M0),
        ("torch.double", BINARY64),
    ],
)
def test_dtypes_of_torch(dtype, fmt):
    assert format_of_dtype(dtype) is fmt


@pytest.mark.parametrize("dtype", ["torch.int64", "bool", "torch.complex64", "e5m10"])
def test_dtypes_that_are_no_floats_are_refused(dtype):
    with pytest.raises(FormatError, match="no known floating-point dtype"):
        format_of_dtype(dtype)


def values(fmt):
    """All values as bits, so that NaN and the sign of a zero compare."""
    return decode_array(np.arange(fmt.n_codes), fmt).view(np.uint64).tolist()


def test_a_specification_by_bits_has_the_layout_of_ieee_754():
    assert values(get_format("e5m10")) == values(BINARY16)
    assert values(get_format("e8m7")) == values(BFLOAT16)
    assert get_format("e3m1").max_finite == 12.0


def test_a_specification_starts_from_its_base():
    fmt = get_format("e4m3:bias=8,no-inf,saturate")
    assert (fmt.bias, fmt.max_finite, fmt.overflow) == (8, 224.0, Overflow.SATURATE)
    assert fmt.name == "e4m3:bias=8,no-inf,saturate"
    assert get_format("e4m3:overflow-nan").overflow is Overflow.NAN
    assert get_format("e4m3:ieee").max_finite == 240.0
    assert get_format("bf16:saturate").max_finite == BFLOAT16.max_finite
    assert not get_format("fp16:no-subnormals").has_subnormals
    assert get_format("e5m10:no-inf,saturate").max_finite == 131008.0 - 64.0
    assert get_format("e5m10:no-inf,saturate").n_high_nans == 1
    assert get_format("e5m10:no-inf,no-nan,saturate").max_finite == 131008.0
    assert get_format("e4m3:bias=8,no-nan,no-negative-zero,overflow-nan").max_finite == 240.0
    assert values(get_format("e4m3:bias=8,no-nan,no-negative-zero,overflow-nan")) == values(
        E4M3FNUZ
    )
    assert get_format("e4m3:unsigned").bits == 7
    assert get_format("fp8-e4m3fn:bias=9").bias == 9


def test_a_specification_can_be_given_back():
    fmt = get_format("e4m3:bias=8,no-inf,saturate")
    assert get_format(fmt.name) == fmt


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("e4m3:bais=8", "Did you mean 'bias=N'"),
        ("e4m3:bias=", "Unknown option 'bias='"),
        ("e4m3:bias=x", "Unknown option 'bias=x'"),
        ("e4m3:saturate=1", "Unknown option"),
        ("e4n3:saturate", "Unknown base format 'e4n3'"),
        ("e5m10:no-inf", "overflow='infinity' needs infinities"),
        ("e12m3", "exponent_bits=12"),
        ("e0m3", "exponent_bits=0"),
        ("e5m60", "precision=61"),
        ("e1m2", "no normal number"),
        ("e4m3:bias=999999", "smallest gap"),
        (":", "Unknown base format ''"),
    ],
)
def test_wrong_specifications_say_what_is_wrong(text, words):
    with pytest.raises(FormatError) as error:
        get_format(text)
    assert words in str(error.value)


def test_defaults_of_a_defined_format_are_those_of_ieee_754():
    fmt = define_format(exponent_bits=5, precision=11)
    assert (fmt.name, fmt.bias, fmt.n_high_nans) == ("e5m10", 15, 1023)
    assert fmt.overflow is Overflow.INFINITY


def test_the_table_has_a_row_for_each_format_and_is_ready_for_json():
    rows = format_rows()
    assert [row["name"] for row in rows] == [fmt.name for fmt in list_formats()]
    assert json.loads(json.dumps(rows)) == rows
    half = next(row for row in rows if row["name"] == "fp16")
    assert half["unit_roundoff"] == 2.0**-11
    assert half["absorption_above_1"] == 2.0**-11
    assert half["absorption_below_1"] == 2.0**-12
    assert (half["emin"], half["emax"], half["max_finite"]) == (-14, 15, 65504.0)
    assert half["overflow"] == "infinity"


def test_the_table_takes_names_and_leaves_out_what_does_not_exist():
    rows = format_rows(["bf16", "e2m1:bias=-4"])
    assert [row["name"] for row in rows] == ["bf16", "e2m1:bias=-4"]
    assert rows[1]["absorption_above_1"] is None


def test_scalar_work_loads_neither_torch_nor_numpy():
    code = (
        "import sys, deephochuli.formats as f; f.format_rows(); f.round_scalar(0.1, f.BINARY16);"
        "print({'torch', 'numpy'} & sys.modules.keys()); f.round_array([0.1], f.BINARY16);"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["set()", "False"]


def test_unknown_attributes_are_missing():
    import deephochuli.formats

    with pytest.raises(AttributeError, match="round_everything"):
        _ = deephochuli.formats.round_everything
