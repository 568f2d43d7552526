"""The network and the data that several studies share."""

import sys

import pytest
import torch

from deephochuli.errors import MissingExtraError
from deephochuli.studies import _reference_net
from deephochuli.studies._reference_net import (
    accuracy,
    digits,
    reference_net,
    trained_reference_net,
)


def test_digits_are_sixteenths_and_no_image_is_in_both_parts():
    train, labels, test, test_labels = digits()
    assert (train.shape, test.shape) == ((1437, 1, 8, 8), (360, 1, 8, 8))
    assert (len(labels), len(test_labels)) == (1437, 360)
    assert torch.equal(train * 16, (train * 16).round())
    assert len(torch.unique(torch.cat([train, test]).flatten(1), dim=0)) == 1797


def test_dtypes_begin_from_the_same_weights_and_no_global_generator_moves():
    before = torch.get_rng_state()
    narrow, wide = reference_net(dtype=torch.bfloat16), reference_net(dtype=torch.float64)
    for a, b in zip(narrow.parameters(), wide.parameters(), strict=True):
        assert torch.equal(a, b.to(torch.bfloat16))
    assert all(layer.bias is None for layer in reference_net(bias=False) if hasattr(layer, "bias"))
    assert torch.equal(torch.get_rng_state(), before)


def test_training_learns_and_hands_out_copies():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        first = trained_reference_net(epochs=2)
        assert accuracy(first) > 0.25 > accuracy(reference_net())
        with torch.no_grad():
            first[0].weight.zero_()
        assert trained_reference_net(epochs=2)[0].weight.abs().min() > 0
    finally:
        torch.set_num_threads(threads)


def test_names_the_extra_when_scikit_learn_is_missing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    _reference_net._loaded.cache_clear()
    with pytest.raises(MissingExtraError, match=r"pip install 'deephochuli\[studies\]'"):
        digits()
