"""Casts of other libraries beside ours, where their policy is the same or is named."""

import gfloat
import numpy as np
import pytest
import torch
from gfloat.formats import (
    format_info_bfloat16,
    format_info_binary16,
    format_info_ocp_e2m1,
    format_info_ocp_e2m3,
    format_info_ocp_e3m2,
    format_info_ocp_e4m3,
    format_info_ocp_e5m2,
)

from deephochuli.formats import Overflow, Rounding, get_format
from deephochuli.kernels.rounding import cpu_rounder, plan_for
from tests.reference.formats.judges import judges
from tests.reference.rounding.numbers import around, as_float64, patterns, same_values

GFLOAT = {
    "fp16": format_info_binary16,
    "bf16": format_info_bfloat16,
    "fp8_e4m3fn": format_info_ocp_e4m3,
    "fp8_e5m2": format_info_ocp_e5m2,
    "fp6_e2m3": format_info_ocp_e2m3,
    "fp6_e3m2": format_info_ocp_e3m2,
    "fp4_e2m1": format_info_ocp_e2m1,
}
GFLOAT_MODES = {
    Rounding.NEAREST_EVEN: gfloat.RoundMode.TiesToEven,
    Rounding.NEAREST_AWAY: gfloat.RoundMode.TiesToAway,
    Rounding.TOWARD_ZERO: gfloat.RoundMode.TowardZero,
    Rounding.UP: gfloat.RoundMode.TowardPositive,
    Rounding.DOWN: gfloat.RoundMode.TowardNegative,
}


def rounded(x, fmt, mode=Rounding.NEAREST_EVEN, policy=None):
    target = torch.empty_like(x)
    dtype = str(x.dtype).removeprefix("torch.")
    cpu_rounder().round(x, target, plan_for(fmt, mode, policy, dtype), None)
    return as_float64(target)


def sample(fmt, dtype, n=4000):
    return torch.cat([around(fmt, dtype, n // 4, 2), patterns(dtype, n, 2)])


@pytest.mark.parametrize("judge", judges(), ids=str)
def test_casts_of_torch_and_ml_dtypes(judge):
    x = torch.from_numpy(judge.judgeable(sample(judge.fmt, "float32").numpy()))
    from deephochuli.formats import decode_array

    theirs = decode_array(judge.codes(x.numpy()), judge.fmt)
    ours = rounded(x, judge.fmt, policy=judge.policy)
    wrong = ~same_values(ours, theirs)
    assert not wrong.any(), (x[wrong][:5], ours[wrong][:5], theirs[wrong][:5])


@pytest.mark.parametrize("name", GFLOAT)
@pytest.mark.parametrize("mode", GFLOAT_MODES, ids=str)
def test_gfloat(name, mode):
    """Saturation: gfloat saturates infinities too, as OCP OFP8 has it."""
    fmt = get_format(name)
    x = sample(fmt, "float64", 2000)
    x = x if fmt.has_nan else x[~torch.isnan(x)]
    with np.errstate(all="ignore"):
        theirs = gfloat.round_ndarray(GFLOAT[name], x.numpy(), GFLOAT_MODES[mode], sat=True)
    ours = rounded(x, fmt, mode, Overflow.SATURATE)
    wrong = ~same_values(ours, theirs)
    assert not wrong.any(), (x[wrong][:5], ours[wrong][:5], theirs[wrong][:5])


@pytest.mark.slow
@pytest.mark.parametrize("judge", judges(), ids=str)
def test_casts_on_a_million_numbers(judge):
    x = torch.from_numpy(judge.judgeable(sample(judge.fmt, "float32", 10**6).numpy()))
    from deephochuli.formats import decode_array

    theirs = decode_array(judge.codes(x.numpy()), judge.fmt)
    assert same_values(rounded(x, judge.fmt, policy=judge.policy), theirs).all()
