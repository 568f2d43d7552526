"""Every planted fault is found under its own name, and nothing in binary64."""

import pytest
import torch

from tests.reference.backward.planted import KINDS, NONE, confusion, diagonal, planted


@pytest.mark.parametrize("kind", [*KINDS, NONE])
def test_a_planted_fault_is_found_under_its_name(kind):
    torch.set_num_threads(1)
    for seed in (1000, 1001):
        case = planted(kind, seed)
        assert case.found() == (() if kind == NONE else (kind,))
        assert case.found("fp64") == ()


@pytest.mark.slow
def test_confusion_over_a_hundred_of_each_kind():
    torch.set_num_threads(1)
    counts, in_fp64 = confusion(100)
    assert min(diagonal(counts, 100).values()) >= 0.95, counts
    assert in_fp64 == {(): 400}
