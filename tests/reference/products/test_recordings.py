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

EXPLAINED = (
    *("v100-fp16", "v100-fp16-accumulate-fp16"),
    *(
        f"{machine}-{kind}"
        for machine in ("a100", "a2", "ada", "h100", "b200")
        for kind in ("fp16", "fp16-accumulate-fp16", "bf16", "tf32")
    ),
    *("ada-fp8", "ada-fp8-accumulate-fp16", "ada-fp8-e5m2", "ada-fp8-e5m2-accumulate-fp16"),
    *("h100-fp8", "h100-fp8-e5m2"),
)
UNEXPLAINED = (
    *("h100-fp8-accumulate-fp16", "h100-fp8-e5m2-accumulate-fp16"),
    *("b200-fp8", "b200-fp8-accumulate-fp16"),
    *("b200-fp8-e5m2", "b200-fp8-e5m2-accumulate-fp16"),
)


def agreement(name, model=None):
    """How many of the recorded outputs a model gives to the bit, and of how many."""
    it, recording = get_arithmetic(model or name), recordings()[name]
    c = recording.c
    if "h100-fp8" in name and "accumulate" not in name:
        c = np.zeros_like(c)  # wgmma was recorded without an accumulator
    if "accumulate" in name:
        c = c.astype(np.float16).astype(np.float32)
    a, b, c = (
        torch.tensor(x) for x in (recording.a[:, None], recording.b[:, :, None], c[..., None])
    )
    got = multiply(plan_of(it), a, b, c)[:, 0].numpy()
    return int((got.view(np.uint32) == recording.d.view(np.uint32)).sum()), len(got)


def test_all_recordings_are_spoken_for():
    assert set(recordings()) == {*EXPLAINED, *UNEXPLAINED}


@pytest.mark.parametrize("name", EXPLAINED)
def test_a_recording_is_explained(name):
    assert agreement(name) == (5000, 5000)


@pytest.mark.parametrize("name", UNEXPLAINED)
def test_an_unexplained_recording_is_marked(name):
    same, n = agreement(name)
    print(f"{name}: {same} of {n}")
    assert get_arithmetic(name).confidence in ("low", "unknown")


def test_what_the_recordings_of_b200_nearly_agree_with():
    assert agreement("b200-fp8", "b200-fp8-recorded") == (5000, 5000)
    assert agreement("b200-fp8-e5m2", "b200-fp8-e5m2-recorded") == (4999, 5000)


def test_a_neighbouring_model_does_not_explain_a_recording():
    same, n = agreement("h100-fp16", "a100-fp16")
    assert same < 0.8 * n
