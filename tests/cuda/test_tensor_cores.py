"""Tensor cores of this machine against their models, as in benchmarks/tensor_cores.py."""

import pytest
import torch

from benchmarks.instructions import instructions
from benchmarks.tensor_cores import cases, differing, emulated, measured

pytestmark = pytest.mark.cuda


@pytest.fixture(autouse=True)
def _hopper():
    if torch.cuda.get_device_capability()[0] != 9:
        pytest.skip("the models are those of Hopper")


@pytest.mark.parametrize("it", instructions(), ids=lambda it: it.name)
def test_an_instruction_is_its_model(it):
    for case in cases(it, n_tiles=300, seed=3):
        assert not differing(emulated(it, case), measured(it, case)).any(), case.kind
