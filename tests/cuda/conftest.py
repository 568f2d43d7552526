"""What tests on a GPU need: sums in a fixed order, and torch's remarks about GPUs left alone."""

import os
from pathlib import Path

import pytest
import torch

# cuBLAS reads it when its first handle is made.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

REMARKS = (
    "ignore:Synchronization debug mode is a prototype",
    "ignore:TensorFloat32 tensor cores",
    "ignore:.*there was no current CUDA context",
    "ignore:The AccumulateGrad node's stream",
    "ignore:Please use the new API settings to control TF32",
    # With a GPU torch imports its compiler where it resets it, and that uses torch.jit.
    "ignore:`torch.jit.script_method` is:DeprecationWarning",
)
"""Warnings of torch about GPUs and itself, which are none of ours."""


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            for remark in REMARKS:
                item.add_marker(pytest.mark.filterwarnings(remark))


@pytest.fixture
def deterministic():
    """Kernels that add in the same order in every run."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(before)
