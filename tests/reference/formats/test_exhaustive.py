"""All 2^32 binary32 numbers in each format (make exhaustive), and a glance at it every time."""

import numpy as np
import pytest

from . import exhaustive
from .judges import judges


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", exhaustive.FORMATS)
def test_all_binary32_numbers(name):
    wrong = exhaustive.walk(name)
    print(f"{exhaustive.N_PATTERNS * len(judges([name]))} compared, {wrong} mismatches")
    assert wrong == 0


@pytest.mark.parametrize("name", exhaustive.FORMATS)
def test_the_walk_finds_nothing_around_one_and_zero(name):
    one = int(np.float32(1).view(np.uint32))
    assert exhaustive.walk(name, one - 2**14, one + 2**14, show=False) == 0
    assert exhaustive.walk(name, 0, 2**10, show=False) == 0


def test_the_walk_sees_a_wrong_rounding(monkeypatch):
    exact = exhaustive.round_to_codes
    monkeypatch.setattr(
        exhaustive,
        "round_to_codes",
        lambda x, fmt, overflow: exact(x, fmt, "nearest-away", overflow),
    )
    one = int(np.float32(1).view(np.uint32))
    assert exhaustive.walk("fp16", one, one + 2**14, show=False) > 0
