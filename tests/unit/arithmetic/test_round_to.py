"""round_to as a user calls it: targets, layouts, keys, gradients, errors."""

import os

import pytest
import torch

from deephochuli.arithmetic import StochasticKey, round_to
from deephochuli.errors import ArithmeticSpecError, FormatError
from deephochuli.formats import Rounding, get_format
from deephochuli.kernels.rounding import _layout, cpu_rounder
from tests.reference.rounding.numbers import MODES, around, bits_of, key_for, patterns


def sample(dtype="float32", n=3000):
    fmt = get_format("fp8_e5m2")
    return torch.cat([around(fmt, dtype, 300, 1), patterns(dtype, n, 1)])


def equal(a, b):
    return torch.equal(bits_of(a), bits_of(b))


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_in_place_and_into_a_target_are_the_same(dtype, mode):
    x = sample(dtype)
    arguments = {"rounding": mode, "key": key_for(mode)}
    new = round_to(x, "fp8_e5m2", **arguments)
    before = x.clone()
    target = torch.empty_like(x)
    assert round_to(x, "fp8_e5m2", out=target, **arguments) is target
    assert equal(x, before)
    version = x._version
    assert round_to(x, "fp8_e5m2", out=x, **arguments) is x
    assert x._version > version
    assert equal(target, new)
    assert equal(x, new)


def layouts():
    x = sample()[: 2 * 3 * 8 * 9 * 4].reshape(2, 12, 8, 9)
    wide = torch.empty(2, 12, 8, 18)
    wide[..., ::2] = x
    return {
        "contiguous": x,
        "channels last": x.to(memory_format=torch.channels_last),
        "transposed": x.transpose(1, 3).contiguous().transpose(1, 3),
        "strided": wide[..., ::2],
        "one element": x[:1, :1, :1, :1],
        "empty": x[:0],
        "offset": torch.cat([x.flatten()[:1], x.flatten()])[1:].reshape(x.shape),
    }


@pytest.mark.parametrize("name", layouts())
@pytest.mark.parametrize("mode", [Rounding.NEAREST_EVEN, Rounding.STOCHASTIC], ids=str)
def test_every_layout_gives_the_same_values(name, mode):
    x = layouts()[name]
    expected = round_to(x.contiguous(), "fp8_e4m3fn", rounding=mode, key=key_for(mode))
    found = round_to(x, "fp8_e4m3fn", rounding=mode, key=key_for(mode))
    assert equal(found, expected)
    if name in ("channels last", "transposed"):
        assert found.stride() == x.stride()
    assert equal(round_to(x, "fp8_e4m3fn", rounding=mode, key=key_for(mode), out=x), expected)
    assert equal(x, expected)


def test_a_scalar_an_expanded_tensor_and_a_negated_view():
    assert round_to(torch.tensor(1.3), "bf16").item() == 1.296875
    row = torch.tensor([1.3, 2.7]).expand(3, 2)
    assert round_to(row, "fp8_e5m2").tolist() == [[1.25, 2.5]] * 3
    turned = torch.imag(torch.tensor([1 + 1.3j]).conj())
    assert turned.is_neg()
    assert round_to(turned, "fp8_e5m2").item() == -1.25


def test_targets_that_overlap_are_as_if_they_did_not():
    for mode in (Rounding.UP, Rounding.STOCHASTIC):
        x = sample()
        expected = round_to(x[:-1].clone(), "bf16", rounding=mode, key=key_for(mode))
        round_to(x[:-1], "bf16", rounding=mode, key=key_for(mode), out=x[1:])
        assert equal(x[1:], expected)


def test_parts_of_one_buffer_that_do_not_overlap_are_not_copied(monkeypatch):
    buffer = torch.randn(20)
    seen = []
    monkeypatch.setattr(
        type(cpu_rounder()), "round", lambda self, s, t, p, k: seen.append(s.data_ptr())
    )
    _layout.round_into(buffer[:10], buffer[10:], None, None, cpu_rounder())
    assert seen == [buffer.data_ptr()]


def test_threads_do_not_matter():
    before = torch.get_num_threads()
    x = patterns("float32", 3 << 16, 7)
    try:
        for mode in (Rounding.NEAREST_EVEN, Rounding.STOCHASTIC):
            found = []
            for n in (1, 2, 3):
                torch.set_num_threads(n)
                found.append(round_to(x, "fp16", rounding=mode, key=key_for(mode)))
            assert equal(found[0], found[1])
            assert equal(found[0], found[2])
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
def test_flush_to_zero_flags_do_not_matter(dtype):
    names = ["fp8_e5m2", "fp6_e3m2"]
    names += [] if dtype == "float16" else ["bf16", "e8m0"]
    names += ["fp16"] if dtype in ("float32", "float64") else []
    x = sample(dtype)
    for name in names:
        for mode in MODES:
            expected = round_to(x, name, rounding=mode, key=key_for(mode))
            if not torch.set_flush_denormal(True):
                pytest.skip("this processor has no flush-to-zero flag")
            try:
                found = round_to(x, name, rounding=mode, key=key_for(mode))
            finally:
                torch.set_flush_denormal(False)
            assert equal(found, expected), (name, mode)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_rounds_too():
    torch.set_num_threads(2)
    x = patterns("float32", 3 << 16, 7)
    expected = round_to(x, "fp16", rounding="stochastic", key=3)
    child = os.fork()
    if child == 0:
        torch.set_num_threads(1)
        good = equal(round_to(x, "fp16", rounding="stochastic", key=3), expected)
        os._exit(0 if good else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_no_generator_of_torch_is_used():
    state = torch.get_rng_state()
    round_to(torch.randn(0), "bf16", rounding="stochastic", key=1)
    round_to(torch.ones(5), "bf16", rounding="stochastic", key=1)
    assert torch.equal(torch.get_rng_state(), state)


def test_straight_through_passes_gradients_and_without_it_there_are_none():
    x = torch.tensor([1.3, 1e9, 1e-9, float("nan")], requires_grad=True)
    y = round_to(x, "fp8_e4m3fn", straight_through=True)
    y.backward(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert x.grad.tolist() == [1.0, 2.0, 3.0, 4.0]  # the second one saturates
    assert not round_to(x, "fp8_e4m3fn").requires_grad
    with torch.no_grad():
        assert not round_to(x, "fp8_e4m3fn", straight_through=True).requires_grad


def test_a_key_is_a_seed_or_a_key():
    x = torch.full((100,), 1.001)
    by_seed = round_to(x, "bf16", rounding="stochastic", key=7)
    assert equal(by_seed, round_to(x, "bf16", rounding="stochastic", key=StochasticKey(7)))
    other = round_to(x, "bf16", rounding="stochastic", key=StochasticKey(7, step=1))
    assert not equal(by_seed, other)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: round_to(x, "fp17"), FormatError, "Did you mean 'fp16'"),
        (lambda x: round_to(x, "mxfp3"), ArithmeticSpecError, "Did you mean 'mxfp"),
        (lambda x: round_to(x, "fp64"), FormatError, "float32 tensor cannot hold .* float64 would"),
        (lambda x: round_to(x.half(), "bf16"), FormatError, "float16 tensor cannot hold"),
        (lambda x: round_to(x.int(), "bf16"), FormatError, "dtype int32.*x.float"),
        (lambda x: round_to(x, "fp16", rounding="nearest"), FormatError, "nearest-even"),
        (lambda x: round_to(x, "fp4", overflow="nan"), FormatError, "needs a NaN code"),
        (lambda x: round_to(x, "fp16", rounding="stochastic"), ArithmeticSpecError, "key="),
        (lambda x: round_to(x, "fp16", out=x[:2]), ArithmeticSpecError, "shape"),
        (lambda x: round_to(x, "fp8_e5m2", out=x.half()), ArithmeticSpecError, "dtype"),
        (lambda x: round_to(x, "mxfp4", overflow="nan"), ArithmeticSpecError, "saturate"),
        (lambda x: StochasticKey(-1), FormatError, "seed=-1"),
        (lambda x: StochasticKey(0, 2**32), FormatError, "stream"),
        (lambda x: StochasticKey(0, 0, True), FormatError, "step"),
    ],
)
def test_mistakes_are_told(call, error, message):
    with pytest.raises(error, match=message):
        call(torch.ones(3))


def test_a_target_that_autograd_would_have_to_know_of_is_refused():
    x = torch.ones(3, requires_grad=True)
    with pytest.raises(ArithmeticSpecError, match="no_grad"):
        round_to(x, "bf16", out=x)
    with torch.no_grad():
        round_to(x, "bf16", out=x)
