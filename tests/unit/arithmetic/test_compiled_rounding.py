"""Compilers neither drop a rounding nor split it: compiled is eager, bit for bit."""

import shutil

import pytest
import torch

from deephochuli.arithmetic import StochasticKey, round_blocks, round_to
from tests.reference.rounding.numbers import bits_of

BACKENDS = [
    "aot_eager",
    pytest.param(
        "inductor",
        marks=[
            pytest.mark.slow,
            pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of inductor's own making
            pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler"),
        ],
    ),
]


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def network(x, w, step):
    """Operations of every kind around the roundings, which a compiler would like to fuse."""
    a = round_to(x * 1.1, "fp8_e4m3fn", straight_through=True)
    b = round_to(a @ w, "bf16", straight_through=True) + 1e-3
    key = StochasticKey(3, 1, step)
    c = round_to(b.relu(), "fp16", rounding="stochastic", key=key, straight_through=True)
    d = round_blocks(c - 0.1, "mxfp6_e2m3", straight_through=True)
    e = round_blocks(d * 1.5, "nvfp4", tensor_scale="amax", straight_through=True)
    return round_to(e, "tf32", straight_through=True) * c


def results(function, step=0):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(8, 64, generator=generator).requires_grad_()
    w = torch.randn(64, 64, generator=generator).requires_grad_()
    y = function(x, w, step)
    y.backward(torch.randn(8, 64, generator=generator))
    return [y.detach(), x.grad, w.grad]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_network_forward_and_backward(backend):
    compiled = torch.compile(network, backend=backend, fullgraph=True)
    # The second step has a key of its own, which is compiled anew: with `-m slow` only.
    for step in range(1 + (backend == "inductor")):
        ours, theirs = results(compiled, step), results(network, step)
        for one, other in zip(ours, theirs, strict=True):
            assert torch.equal(bits_of(one), bits_of(other))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_round_trip_and_targets_stay(backend):
    def there_and_back(x, target):
        y = round_to(x, "fp16")
        round_to(x, "bf16", rounding="up", out=target)
        z = x.clone()
        round_to(z, "fp8_e5m2", out=z)
        return y, z

    x = torch.randn(1000)
    ours, theirs = torch.zeros(1000), torch.zeros(1000)
    compiled = torch.compile(there_and_back, backend=backend, fullgraph=True)
    for one, other in zip(compiled(x, ours), there_and_back(x, theirs), strict=True):
        assert torch.equal(one, other)
        assert not torch.equal(one, x)
    assert torch.equal(ours, theirs)


def test_torch_agrees_that_the_operators_are_what_they_say():
    x = torch.randn(3, 32)
    from deephochuli.arithmetic import _blocks, _custom_op
    from deephochuli.arithmetic._spec import spec_of

    spec = spec_of("fp16", "nearest-even", None, "float32")
    wide = spec_of("fp4", "nearest-even", None, "float64")
    tests = ("test_schema", "test_faketensor", "test_aot_dispatch_dynamic")
    torch.library.opcheck(_custom_op.rounded, (x, spec, []), test_utils=tests)
    torch.library.opcheck(
        _custom_op.rounded_through, (x.clone().requires_grad_(), spec, []), test_utils=tests
    )
    torch.library.opcheck(_custom_op.rounded_in_place, (x.clone(), spec, []), test_utils=tests)
    torch.library.opcheck(
        _custom_op.rounded_into, (x, spec, [], torch.empty_like(x)), test_utils=tests
    )
    torch.library.opcheck(_blocks._blocks, (x, wide, "", 32, -1, [], 1.0), test_utils=tests)
