"""Layers of two runs find each other, and those that do not are listed."""

import pytest
import torch

from deephochuli.analysis.parting import align, read_rows, renamed
from deephochuli.errors import CompareError
from tests.unit.analysis.runs import tap, write_run


@pytest.fixture
def rows(tmp_path):
    """Places of a run with these layers, of `n` elements each."""
    numbers = iter(range(100))

    def make(*layers, n=4, role="relu"):
        taps = [tap(layer, "w", torch.ones(n), role=role) for layer in layers]
        return read_rows(write_run(tmp_path / str(next(numbers)), [taps]))[0]

    return make


def aligned(found):
    return [(key[0], other[0]) for key, other in found.keys]


def test_equal_names_are_aligned(rows):
    found = align(rows("fc1", "fc2"), rows("fc2", "fc1", "fc3"), {})
    assert aligned(found) == [("fc1", "fc1"), ("fc2", "fc2")]
    assert [(u.layer, u.is_reference, u.suggestion) for u in found.unaligned] == [
        ("fc3", False, "")
    ]


@pytest.mark.parametrize("wrapper", ["module.", "_orig_mod.", "_fsdp_wrapped_module."])
def test_wrapped_names_are_suggested_and_can_be_renamed(rows, wrapper):
    wrapped = f"{wrapper}fc1.weight"
    one, other = rows("fc1.weight", "fc2.weight"), rows(wrapped, f"{wrapper}fc2.weight")
    found = align(one, other, {})
    assert not found.keys
    assert ("fc1.weight", wrapped) in [(u.layer, u.suggestion) for u in found.unaligned]
    assert (wrapped, "fc1.weight") in [(u.layer, u.suggestion) for u in found.unaligned]
    assert len(align(one, other, {wrapper: ""}).keys) == 2


def test_nothing_is_suggested_of_another_size_role_or_name(rows):
    for other in (rows("conv2", n=5), rows("conv2", role="gelu")):
        assert not any(u.suggestion for u in align(rows("conv1"), other, {}).unaligned)
    assert any(u.suggestion for u in align(rows("conv1"), rows("conv2"), {}).unaligned)
    assert not any(u.suggestion for u in align(rows("conv1"), rows("gate"), {}).unaligned)


def test_each_layer_is_suggested_once(rows):
    found = align(rows("block1.fc", "block2.fc"), rows("blocks.2.fc"), {})
    assert sum(u.suggestion == "blocks.2.fc" for u in found.unaligned) == 1


def test_a_renaming_holds_for_what_lies_inside_and_for_calls():
    assert renamed("relu#2", {"relu": "act"}) == "act#2"
    assert renamed("relu2", {"relu": "act"}) == "relu2"


def test_a_renaming_that_fits_nothing_is_refused_with_what_is_near(rows):
    with pytest.raises(CompareError, match=r"is called 'modul\.'.*Did you mean"):
        align(rows("fc"), rows("module.fc"), {"modul.": ""})
    with pytest.raises(CompareError, match="needs the old name"):
        align(rows("fc"), rows("module.fc"), {"": "x"})


def test_two_layers_cannot_become_one(rows):
    with pytest.raises(CompareError, match=r"'fc1' .* to 2 layers"):
        align(rows("fc1"), rows("fc1", "fc2"), {"fc2": "fc1"})
