"""Estimated significant bits of a trained network beside its true errors against binary64."""

import copy
import math
import os
from statistics import median

import pytest
import torch
from torch import nn

from deephochuli.analysis.significance import significance
from tests.reference.digits_net import BATCH, accuracy, digits, trained_digits_net

N_BATCHES = int(os.environ.get("DEEPHOCHULI_SIGNIFICANCE_BATCHES", "12"))
FORWARD, BACKWARD = 0.3, 0.7


def observed(model, images, labels):
    """Outputs of the layers, gradients by them, and gradients of the parameters, in binary64."""
    outputs = {}
    handles = [
        layer.register_forward_hook(lambda _, args, out, name=name: outputs.update({name: out}))
        for name, layer in model.named_children()
    ]
    loss = nn.functional.cross_entropy(model(images), labels)
    names = dict(model.named_parameters())
    found = torch.autograd.grad(loss, [*outputs.values(), *names.values()])
    for handle in handles:
        handle.remove()
    seen = {("a", name): out for name, out in outputs.items()}
    seen |= dict(zip([("da", n) for n in outputs] + [("g", n) for n in names], found, strict=True))
    return {key: value.detach().double() for key, value in seen.items()}


def true_bits(narrow, wide):
    """Median of -log2(|fp32 - fp64| / |fp64|), at most 24."""
    error = ((narrow - wide) / wide)[wide != 0].abs()
    return min(24.0, float(-error.median().clamp(min=2.0**-60).log2()))


@pytest.mark.slow
def test_bits_of_a_trained_network_are_those_of_its_true_errors():
    """Half of all errors lie below 0.6745 deviations: so much is between median and estimate."""
    torch.set_num_threads(1)
    model = trained_digits_net()
    assert accuracy(model) > 0.975
    images, labels, _, _ = digits()
    wide_model = copy.deepcopy(model).double()
    gaps = {"a": [], "da": [], "g": []}
    half = -math.log2(0.6744897501960817)
    for x, y in list(zip(images.split(BATCH), labels.split(BATCH), strict=True))[:N_BATCHES]:
        narrow, wide = observed(model, x, y), observed(wide_model, x.double(), y)
        result = significance(model, x, loss=lambda out, y=y: nn.functional.cross_entropy(out, y))
        rows = {(row.quantity, row.layer): row for row in result.layers}
        for key, value in wide.items():
            estimate = min(24.0, rows[key].median + half)
            gaps[key[0]].append(estimate - true_bits(narrow[key], value))
    medians = {name: median(found) for name, found in gaps.items()}
    print({name: (f"{medians[name]:+.2f}", len(found)) for name, found in gaps.items()})
    assert abs(medians["a"]) <= FORWARD
    assert abs(medians["da"]) <= BACKWARD
    assert abs(medians["g"]) <= BACKWARD
