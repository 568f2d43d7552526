"""The reference table of absorbed additions: what must hold of the trained digits network."""

import pytest
import torch

from tests.reference.digits_net import trained_digits_net
from tests.reference.swamping.table import shares


def share(found, layer, kind, name, order="sequential"):
    return found[layer, kind, name, order].absorbed.value


@pytest.mark.slow
def test_absorption_in_the_trained_network():
    torch.set_num_threads(1)
    trained = shares(trained_digits_net(), n_outputs=256)
    start = shares(trained_digits_net(n_epochs=0), ("fp32",), n_outputs=256)
    for layer in ("0", "2", "5", "8", "10"):
        # Forward sums in FP32 lose next to nothing, gradient sums many addends but no mass.
        assert share(trained, layer, "forward", "fp32") < 1e-3
        assert trained[layer, "weight gradient", "fp32", "sequential"].lost_mass.value < 1e-6
        assert share(start, layer, "weight gradient", "fp32") < 1e-3
        assert share(trained, layer, "weight gradient", "fp32") > 0.05
        for order in ("blocked", "pairwise"):
            worst = share(trained, layer, "weight gradient", "bf16")
            assert share(trained, layer, "weight gradient", "bf16", order) < worst
    # FP16: products vanish before they are added, so fewer are absorbed than in BF16.
    for layer in ("0", "2", "5"):
        fp16, bf16 = (trained[layer, "weight gradient", f, "sequential"] for f in ("fp16", "bf16"))
        assert fp16.absorbed.value < bf16.absorbed.value / 2
        assert fp16.n_underflowed > 100 * bf16.n_underflowed
    assert 0.3 < share(trained, "5", "forward", "fp8_e4m3fn") < 0.6
