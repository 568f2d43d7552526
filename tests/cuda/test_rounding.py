"""Rounding on a GPU: the same bits as on a CPU."""

import pytest
import torch

from deephochuli.arithmetic import round_blocks, round_to
from tests.reference.rounding.numbers import (
    DTYPES,
    MODES,
    around,
    bits_of,
    held,
    key_for,
    patterns,
    policies,
)

pytestmark = pytest.mark.cuda


@pytest.mark.parametrize("dtype", list(DTYPES))
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_the_same_bits_as_on_a_cpu(dtype, mode):
    for fmt in held(dtype):
        x = torch.cat([around(fmt, dtype, 2000, 6), patterns(dtype, 20_000, 6)])
        for policy in policies(fmt):
            arguments = {"rounding": mode, "overflow": policy, "key": key_for(mode)}
            ours = round_to(x.cuda(), fmt, **arguments).cpu()
            assert torch.equal(bits_of(ours), bits_of(round_to(x, fmt, **arguments)))


@pytest.mark.parametrize("name", ["mxfp8_e4m3", "mxfp4", "nvfp4"])
def test_block_formats_too(name):
    x = torch.randn(64, 200)
    assert torch.equal(round_blocks(x.cuda(), name).cpu(), round_blocks(x, name))
