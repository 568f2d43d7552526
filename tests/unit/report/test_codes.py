"""What is packed in Python comes out in the page."""

from __future__ import annotations

import numpy as np
import pytest

from deephochuli.report._codes import NOT_MEASURED, Blob, encode_counts, encode_magnitudes
from tests.unit.report.node import call_all


def test_small_counts_come_back_exactly_and_large_ones_within_the_promise():
    counts = np.concatenate(
        [np.arange(93), np.unique(np.geomspace(93, 2**52, 4000).astype(np.int64))]
    )
    codes = encode_counts(counts)
    back = np.array(call_all("payload", [("countOf", [int(code)]) for code in codes]))
    assert back[:93].tolist() == list(range(93))
    assert np.max(np.abs(back[93:] / counts[93:] - 1)) < 0.011


def test_zero_is_apart_from_not_measured():
    codes = encode_counts(np.array([0, 0]), np.array([True, False]))
    assert codes.tolist() == [0, NOT_MEASURED]
    zero, missing = call_all("payload", [("countOf", [int(code)]) for code in codes])
    assert zero == 0
    assert np.isnan(missing)


def test_magnitudes_come_back_within_the_promise():
    values = np.array([np.nan, 0.0, 5e-324, 2.0**-25, 1.0, 65504.0, 1.7e308, 0.1])
    codes = encode_magnitudes(values)
    back = np.array(call_all("payload", [("magnitudeOf", [int(code)]) for code in codes]))
    assert np.isnan(back[0])
    assert back[1] == 0.0
    assert np.max(np.abs(back[2:] / values[2:] - 1)) < 0.0014


KINDS = ["u1", "u2", "i2", "u4", "i4", "i8", "f4", "f8"]


@pytest.mark.parametrize("delta", [False, True])
def test_every_kind_of_array_survives_packing(delta):
    rng = np.random.default_rng(3)
    blob, expected = Blob(), {}
    for kind in KINDS:
        if kind.startswith("f"):
            array = rng.standard_normal(101).astype(f"<{kind}")
        elif kind == "i8":
            array = rng.integers(0, 2**53, 101)
        else:
            limits = np.iinfo(f"<{kind}")
            array = rng.integers(limits.min, limits.max, 101, endpoint=True)
        is_delta = delta and kind not in ("i8", "f4", "f8")
        blob.add(f"0.{kind}", kind, array, delta=is_delta)
        expected[f"0.{kind}"] = array
    blob.add("0.empty", "u2", np.zeros(0, np.int64), delta=delta)
    (arrays,) = call_all("payload", [("unpackPlain", [blob.to_base64(), blob.directory])])
    assert arrays["0.empty"] == []
    for name, array in expected.items():
        np.testing.assert_array_equal(np.array(arrays[name]), array, err_msg=name)
