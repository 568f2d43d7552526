"""The page answers "what if it were this format" exactly as Python does."""

from __future__ import annotations

import math

import numpy as np
import pytest

from deephochuli.formats import define_format, list_formats
from deephochuli.report._formats import format_payload
from deephochuli.sketch import Sketch, ask, best_scale
from tests.e2e.synthetic import keys_of
from tests.unit.report.node import call_all

FORMATS = [
    *(fmt for fmt in list_formats() if fmt.is_signed and fmt.has_zero),
    define_format("tiny", exponent_bits=3, precision=2),
    define_format("wide", exponent_bits=6, precision=5, overflow="saturate"),
    define_format("flushing", exponent_bits=5, precision=11, has_subnormals=False),
]
SCALES = [1.0, 2.0**-9, 2.0**20]


def sketch_of(values: np.ndarray) -> Sketch:
    """A sketch by plain numpy, without torch."""
    keys, counts = np.unique(keys_of(values), return_counts=True)
    finite = values[np.isfinite(values)]
    magnitudes = np.abs(finite[finite != 0])
    return Sketch.from_counts(
        keys,
        counts.astype(np.int64),
        float(finite.sum()),
        float((finite**2).sum()),
        float(magnitudes.min()) if magnitudes.size else math.nan,
        float(np.abs(finite).max()) if finite.size else math.nan,
    )


def payload_of(sketch: Sketch) -> dict:
    return {
        "keys": sketch.keys.tolist(),
        "counts": sketch.counts.tolist(),
        "minAbs": sketch.min_abs,
        "maxAbs": sketch.max_abs,
        "sumSq": sketch.sum_sq,
    }


def format_for_page(fmt) -> dict:
    payload = format_payload(fmt)
    if payload["cuts"]["top"]["value"] is None:
        payload["cuts"]["top"]["value"] = math.inf
    return payload


def edge_cases() -> list[np.ndarray]:
    """Values on and beside every threshold of every format, and what has no magnitude."""
    cuts = [
        float(cut["value"])
        for fmt in FORMATS
        for cut in format_for_page(fmt)["cuts"].values()
        if math.isfinite(cut["value"])
    ]
    around = [math.nextafter(cut, side) for cut in cuts for side in (0.0, math.inf)]
    return [
        np.array([*cuts, *around]),
        np.array([*cuts, *(-value for value in around)]),
        np.array([]),
        np.array([0.0, -0.0]),
        np.array([np.inf, -np.inf, np.nan, 0.0]),
        np.array([5e-324, 2.0**-1022, 1.7976931348623157e308]),
        np.array([1.0]),
    ]


def random_values(rng: np.random.Generator) -> np.ndarray:
    centre, spread = rng.uniform(-40, 20), rng.uniform(0.1, 12)
    values = rng.standard_normal(400) * 2.0 ** rng.normal(centre, spread, 400)
    values[rng.random(400) < 0.1] = 0.0
    return values.astype(rng.choice(["float16", "float32", "float64"])).astype(np.float64)


@pytest.fixture(scope="module")
def sketches() -> list[Sketch]:
    rng = np.random.default_rng(20)
    with np.errstate(over="ignore"):
        return [sketch_of(values) for values in edge_cases()] + [
            sketch_of(random_values(rng)) for _ in range(12)
        ]


def is_inside_binary64(sketch: Sketch, scale: float) -> bool:
    """Whether scaling loses nothing in binary64, in which the page computes."""
    low, high = sketch.min_abs * scale, sketch.max_abs * scale
    return not (low < 2.0**-900 or high > 2.0**900)


def test_ask_in_the_page_is_ask_in_python(sketches):
    cases = [
        (sketch, fmt, scale, precision)
        for number, sketch in enumerate(sketches)
        for fmt in FORMATS
        for scale in SCALES
        for precision in ([24, 11] if number % 2 else [math.inf])
        if scale == 1.0
        or (number % 3 == 0 and is_inside_binary64(sketch, scale) and fmt.name != "fp64")
    ]
    source = {24: "fp32", 11: "fp16", math.inf: None}
    answers = call_all(
        "ask",
        [("ask", [payload_of(s), format_for_page(f), k, p]) for s, f, k, p in cases],
    )
    for (sketch, fmt, scale, precision), answer in zip(cases, answers, strict=True):
        with np.errstate(all="ignore"):  # squares of numbers at the top of binary64
            expected = ask(sketch, fmt, scale=scale, source=source[precision])
        where = f"{fmt.name} scale {scale}: {sketch.keys} {sketch.counts}"
        assert answer["n"] == expected.n, where
        for mine, theirs in (
            ("toZero", expected.to_zero),
            ("subnormal", expected.subnormal),
            ("outOfRange", expected.out_of_range),
        ):
            got = (answer[mine]["low"], answer[mine]["high"], answer[mine]["of"])
            assert got == (theirs.low, theirs.high, theirs.of), f"{mine} {where}"
        for mine, theirs in (
            ("headroomBinades", expected.headroom_binades),
            ("footroomBinades", expected.footroom_binades),
            ("relErrorRms", expected.rel_error_rms),
        ):
            assert answer[mine] == pytest.approx(theirs, rel=1e-9, abs=1e-12, nan_ok=True), (
                f"{mine} {where}"
            )


def test_the_best_scale_of_the_page_is_that_of_python(sketches):
    cases = [
        (sketch, fmt)
        for sketch in sketches
        for fmt in FORMATS
        if fmt.name != "fp64" and is_inside_binary64(sketch, 1.0) and sketch.max_abs > 0
    ]
    found = call_all("ask", [("scaleRange", [payload_of(s), format_for_page(f)]) for s, f in cases])
    for (sketch, fmt), scale in zip(cases, found, strict=True):
        with np.errstate(all="ignore"):
            expected = best_scale(sketch, fmt)
        assert 2.0 ** scale["to"] == expected.best, fmt.name
        assert 2.0 ** scale["from"] == expected.lossless_from, fmt.name


def test_a_sketch_without_magnitudes_has_no_scale():
    empty = payload_of(sketch_of(np.array([0.0, np.nan])))
    (scale,) = call_all("ask", [("scaleRange", [empty, format_for_page(FORMATS[2])])])
    assert math.isnan(scale["from"])
    assert math.isnan(scale["to"])


def test_keys_of_the_page_are_leading_bit_keys():
    values = np.abs(np.concatenate([*edge_cases(), random_values(np.random.default_rng(1))]))
    values = values[np.isfinite(values)]
    keys = call_all("keys", [("keyOf", [float(value)]) for value in values])
    assert keys == keys_of(values).tolist()
    for value, (low, high) in zip(
        values, call_all("keys", [("intervalOf", [key]) for key in keys]), strict=True
    ):
        assert low == value == high or low < value < high
