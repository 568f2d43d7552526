"""The models against recorded outputs of the units that they describe."""

import numpy as np
import pytest
import torch

from deephochuli.arithmetic import get_arithmetic
from deephochuli.arithmetic._plans import plan_of
from deephochuli.kernels.products import multiply
from tests.reference.products.recordings import folder, recordings

pytestmark = pytest.mark.skipif(
    not folder().is_dir(), reason=f"no recordings of hardware at {folder()}"
)

BY_MMA = {
    "h100-fp8-accumulate-fp16": "h100-fp8-mma-accumulate-fp16",
    "h100-fp8-e5m2-accumulate-fp16": "h100-fp8-e5m2-mma-accumulate-fp16",
    "b200-fp8": "b200-fp8-mma",
    "b200-fp8-e5m2": "b200-fp8-e5m2-mma",
    "b200-fp8-accumulate-fp16": "b200-fp8-mma-accumulate-fp16",
    "b200-fp8-e5m2-accumulate-fp16": "b200-fp8-e5m2-mma-accumulate-fp16",
}
"""FP8 was recorded by mma.sync there, and by wgmma in FP32 results of the H100."""

DIRECT = (
    *("v100-fp16", "v100-fp16-accumulate-fp16"),
    *(
        f"{machine}-{kind}"
        for machine in ("a100", "a2", "ada", "h100", "b200")
        for kind in ("fp16", "fp16-accumulate-fp16", "bf16", "tf32")
    ),
    *("ada-fp8", "ada-fp8-accumulate-fp16", "ada-fp8-e5m2", "ada-fp8-e5m2-accumulate-fp16"),
    *("h100-fp8", "h100-fp8-e5m2"),
)


def agreement(name, model=None):
    """How many of the recorded outputs a model gives to the bit, and of how many."""
    it, recording = get_arithmetic(model or name), recordings()[name]
    c = recording.c
    if name in ("h100-fp8", "h100-fp8-e5m2"):
        c = np.zeros_like(c)  # wgmma was recorded without an accumulator
    if "accumulate" in name:
        c = c.astype(np.float16).astype(np.float32)
    a, b, c = (
        torch.tensor(x) for x in (recording.a[:, None], recording.b[:, :, None], c[..., None])
    )
    got = multiply(plan_of(it), a, b, c)[:, 0].numpy()
    return int((got.view(np.uint32) == recording.d.view(np.uint32)).sum()), len(got)


def test_all_recordings_are_spoken_for():
    assert set(recordings()) == {*DIRECT, *BY_MMA}


@pytest.mark.parametrize("name", DIRECT)
def test_a_recording_is_explained(name):
    assert agreement(name) == (5000, 5000)


@pytest.mark.parametrize("name", BY_MMA)
def test_a_recording_by_mma_is_explained(name):
    assert agreement(name, BY_MMA[name]) == (5000, 5000)
    same, n = agreement(name)
    assert same < 0.7 * n, "wgmma and tcgen05 add up in another way"


def test_a_neighbouring_model_does_not_explain_a_recording():
    same, n = agreement("h100-fp16", "a100-fp16")
    assert same < 0.8 * n
