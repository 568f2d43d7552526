import math
from fractions import Fraction

import pytest
import torch

from deephochuli.errors import FormatError, SketchError
from deephochuli.formats import (
    Overflow,
    define_format,
    get_format,
    list_formats,
    round_scalar,
)
from deephochuli.sketch import Sketch, ask, best_scale

CATALOGUE = [fmt for fmt in list_formats() if fmt.is_signed and fmt.name != "fp64"]


def without_top(fmt):
    """The same format with exponents that go on, so that results beyond the range are seen."""
    return define_format(
        exponent_bits=fmt.exponent_bits + 2,
        precision=fmt.precision,
        bias=fmt.bias,
        has_subnormals=fmt.has_subnormals,
    )


def truth(x, fmt, scale=1.0):
    """Round every element exactly, once, and count: to zero, subnormal, beyond the range."""
    wide = without_top(fmt)
    zero = subnormal = beyond = 0
    for value in x.double().tolist():
        if value != 0 and math.isfinite(value):
            rounded = abs(round_scalar(Fraction(value) * Fraction(scale), wide))
            zero += rounded == 0
            subnormal += 0 < rounded < fmt.smallest_normal
            beyond += rounded > fmt.max_finite
    return zero, subnormal, beyond


def shares(answer):
    return answer.to_zero, answer.subnormal, answer.out_of_range


def numbers_near(fmt, scale=1.0):
    """Numbers at and beside every threshold of a format divided by a scale, in binary64."""
    limit = float(fmt.overflow_limit.value)
    places = (limit, fmt.max_finite, fmt.smallest_normal, fmt.smallest_subnormal)
    found = [1.0, 0.1, -0.0, 0.0, math.nan, math.inf]
    for place in (*places, fmt.smallest_normal - fmt.smallest_subnormal / 2):
        for factor in (0.25, 0.5, 0.75, 1.0, 1.5, 2.0):
            x = place * factor / scale
            found += [x, -math.nextafter(x, 0), math.nextafter(x, math.inf)]
            found += [x * (1 - 2.0**-20), x * (1 + 2.0**-20), -x * 1.0625]
    return torch.tensor(found, dtype=torch.float64)


@pytest.mark.parametrize("fmt", CATALOGUE, ids=str)
@pytest.mark.parametrize("scale", [1.0, 1024.0, 2.0**-9, 3.0, 0.7])
def test_the_answer_brackets_what_rounding_does(fmt, scale):
    x = numbers_near(fmt, scale)
    answer = Sketch.of(x).ask(fmt, scale=scale)
    assert answer.n == int(((x != 0) & x.isfinite()).sum())
    for share, count in zip(shares(answer), truth(x, fmt, scale), strict=True):
        assert share.low <= count <= share.high
        assert share.of == answer.n


@pytest.mark.parametrize("fmt", CATALOGUE, ids=str)
@pytest.mark.parametrize("scale", [1.0, 1024.0, 2.0**-9])
def test_the_answer_is_exact_where_thresholds_are_edges(fmt, scale):
    x = numbers_near(fmt, scale)
    answer = Sketch.of(x).ask(fmt, scale=scale)
    to_zero, subnormal, beyond = truth(x, fmt, scale)
    assert (answer.to_zero.low, answer.to_zero.high) == (to_zero, to_zero)
    if fmt.precision <= 3:  # the thresholds (1 - 2^-p) 2^emin and (2 - 2^-p) 2^emax are edges
        assert (answer.subnormal.low, answer.subnormal.high) == (subnormal, subnormal)
        assert (answer.out_of_range.low, answer.out_of_range.high) == (beyond, beyond)


def test_all_numbers_on_one_side_are_decided_without_an_edge():
    x = torch.tensor([65519.0, 60000.0])  # in the key interval that holds 65520
    answer = ask(Sketch.of(x), "fp16")
    assert answer.out_of_range.is_exact
    assert answer.out_of_range.high == 0
    beyond = ask(Sketch.of(torch.tensor([65520.0, 65530.0])), "fp16").out_of_range
    assert (beyond.low, beyond.high) == (2, 2)


def test_casting_is_what_the_answer_says():
    x = torch.randn(20_000) * torch.exp(torch.randn(20_000) * 6)
    answer = ask(Sketch.of(x), "bf16")
    cast = x.bfloat16()
    assert answer.to_zero.low == answer.to_zero.high == int((cast == 0).sum())
    answer, cast = ask(Sketch.of(x), "fp16"), x.half()
    assert answer.to_zero.low == answer.to_zero.high == int((cast == 0).sum())
    assert answer.out_of_range.low <= int(cast.isinf().sum()) <= answer.out_of_range.high


@pytest.mark.parametrize("scale", [0.0, -1.0, math.inf, math.nan])
def test_a_scale_that_is_none_is_refused(scale):
    with pytest.raises(SketchError, match="positive finite"):
        ask(Sketch.empty(), "fp16", scale=scale)


def test_an_unknown_format_is_refused():
    with pytest.raises(FormatError, match="fp17"):
        Sketch.empty().ask("fp17")


def test_the_empty_sketch_has_an_answer():
    answer = ask(Sketch.of(torch.zeros(5)), "fp8_e4m3fn")
    assert (answer.n, answer.to_zero.high_share, answer.lossless_range) == (0, 0.0, True)
    assert math.isnan(answer.headroom_binades)
    assert math.isnan(answer.rel_error_rms)
    assert best_scale(Sketch.empty(), "fp16").answer is None


def test_room_at_both_ends():
    answer = ask(Sketch.of(torch.tensor([2.0**-20, -8.0])), "fp16", scale=2.0)
    assert answer.headroom_binades == pytest.approx(math.log2(65504 / 16))
    assert answer.footroom_binades == 5.0


@pytest.mark.parametrize("scale", [2.0**1000, 2.0**-1000, 1e300, 1e-300])
@pytest.mark.parametrize("fmt", ["fp64", "fp32", "fp8_e4m3fn"])
def test_extreme_scales_do_not_overflow_inside(scale, fmt):
    x = torch.tensor([1e-300, 1.0, 1.7e308, 5e-324], dtype=torch.float64)
    answer = ask(Sketch.of(x), fmt, scale=scale)
    limit, zero = get_format(fmt).overflow_limit, Fraction(get_format(fmt).smallest_subnormal) / 2
    scaled = [Fraction(value) * Fraction(scale) for value in x.tolist()]
    beyond = sum(v > limit.value or (v == limit.value and not limit.inclusive) for v in scaled)
    assert answer.out_of_range.low <= beyond <= answer.out_of_range.high
    assert answer.to_zero.low <= sum(v <= zero for v in scaled) <= answer.to_zero.high
    assert not math.isnan(answer.headroom_binades)


def measured_error(x, fmt, scale, overflow):
    rounded = [round_scalar(Fraction(v) * Fraction(scale), fmt, overflow=overflow) for v in x]
    total = sum((r / scale - v) ** 2 for r, v in zip(rounded, x, strict=True))
    return math.sqrt(total / sum(v * v for v in x))


@pytest.mark.parametrize("fmt", [f for f in CATALOGUE if f.precision <= 11], ids=str)
@pytest.mark.parametrize("scale", [1.0, 2.0**-7, 0.3, 100.0])
def test_the_estimated_error_is_within_a_quarter_of_the_measured_one(fmt, scale):
    torch.manual_seed(0)
    x = torch.randn(3000, dtype=torch.float64) * torch.exp(torch.randn(3000, dtype=torch.float64))
    answer = ask(Sketch.of(x), fmt, scale=scale, overflow=Overflow.SATURATE)
    measured = measured_error(x.tolist(), fmt, scale, Overflow.SATURATE)
    assert answer.rel_error_rms == pytest.approx(measured, rel=0.25)


def test_numbers_of_the_format_have_no_error():
    x = torch.randn(500).bfloat16()
    assert ask(Sketch.of(x), "bf16", source="bf16").rel_error_rms == 0
    assert ask(Sketch.of(torch.tensor([1.0, 1.5, -2.0])), "fp8_e5m2").rel_error_rms == 0
    assert ask(Sketch.of(x), "fp8_e5m2", source="bf16").rel_error_rms > 0.01


def test_overflow_policy_decides_the_error():
    sketch = Sketch.of(torch.tensor([1000.0, 1.0]))
    assert ask(sketch, "fp8_e4m3fn", overflow="nan").rel_error_rms == math.inf
    assert ask(sketch, "fp8_e4m3fn").overflow is Overflow.SATURATE
    assert ask(sketch, "fp8_e4m3fn").rel_error_rms == pytest.approx(0.552, rel=0.05)


@pytest.mark.parametrize("fmt", CATALOGUE, ids=str)
def test_the_best_scale_is_the_largest_that_fits(fmt):
    for seed in range(5):
        torch.manual_seed(seed)
        x = torch.randn(50) * 10.0 ** torch.randint(-8, 8, ()).item()
        choice = Sketch.of(x).best_scale(fmt)
        assert truth(x, fmt, choice.best)[2] == 0
        assert truth(x, fmt, 2 * choice.best)[2] > 0
        assert choice.answer.out_of_range.high == 0
        assert choice.lossless_to == choice.best
        assert truth(x, fmt, choice.lossless_from)[0] == 0
        assert truth(x, fmt, choice.lossless_from / 2)[0] > 0
        both = truth(x, fmt, choice.best)[0] == 0
        assert choice.fits_without_loss == both
        assert Sketch.of(x).best_scale(fmt, margin_binades=3).best == choice.best / 8


def test_a_scale_that_leaves_a_tie_with_zero_is_not_lossless():
    choice = best_scale(Sketch.of(torch.tensor([2.0**-25, 1.0])), "fp16")
    assert choice.lossless_from == 2.0
    assert choice.lossless_to == 2.0**15


@pytest.mark.parametrize("scale", [1.0, 2.0**100])
def test_negative_numbers_have_no_place_in_a_format_without_a_sign(scale):
    fmt = get_format("e8m0")
    x = torch.tensor([-2.0, -0.0, 0.0, 3.0, 2.0**60, -(2.0**-70)], dtype=torch.float64)
    answer = ask(Sketch.of(x), fmt, scale=scale)
    rounded = [round_scalar(v * scale, fmt) for v in x.tolist() if v]
    assert answer.n == len(rounded) == 4
    assert (answer.out_of_range.low, answer.out_of_range.high) == (
        sum(map(math.isnan, rounded)),
    ) * 2
    assert (answer.to_zero.high, answer.subnormal.high) == (0, 0)
    assert not answer.lossless_range
    assert answer.rel_error_rms == math.inf
    assert not best_scale(Sketch.of(x), fmt).fits_without_loss
    assert best_scale(Sketch.of(x.abs()), fmt).fits_without_loss
    assert best_scale(Sketch.of(-x.abs()), fmt).answer is None
