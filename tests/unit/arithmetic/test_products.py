"""Products, convolutions, attention and sums: values and gradients against torch in binary64."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from deephochuli.arithmetic import (
    Arithmetic,
    Sums,
    attention,
    convolution,
    get_arithmetic,
    linear,
    matmul,
    round_to,
    sum_as,
)
from deephochuli.errors import ArithmeticSpecError
from deephochuli.formats import BFLOAT16, BINARY16, BINARY64, E5M2

CHAIN = get_arithmetic("fp64-sequential-no-fma")
EXACT = Arithmetic(name="exact", sums=Sums(kind="exact", format=BINARY64))
NATIVE = get_arithmetic("fp64")


def drawn(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()


def agree(ours, theirs, inputs):
    """Values and gradients are those of torch, but for rounding in binary64."""
    assert ours.shape == theirs.shape
    grad = (
        drawn(*theirs.shape, seed=9).detach()
        if theirs.dim()
        else torch.ones((), dtype=theirs.dtype)
    )
    pairs = zip(
        (ours, *torch.autograd.grad(ours, inputs, grad)),
        (theirs, *torch.autograd.grad(theirs, inputs, grad)),
        strict=True,
    )
    for mine, other in pairs:
        assert mine.dtype == other.dtype
        torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-12)


SHAPES = [
    ((3, 4), (4, 5)),
    ((4,), (4,)),
    ((4,), (4, 5)),
    ((3, 4), (4,)),
    ((2, 3, 4), (2, 4, 5)),
    ((2, 3, 4), (4, 5)),
    ((2, 1, 3, 4), (6, 4, 2)),
    ((4,), (2, 4, 5)),
    ((2, 3, 4), (4,)),
]


@pytest.mark.parametrize("it", [CHAIN, EXACT, NATIVE], ids=str)
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_matmul(it, shapes):
    a, b = drawn(*shapes[0]), drawn(*shapes[1], seed=1)
    agree(matmul(a, b, it), torch.matmul(a, b), (a, b))


@pytest.mark.parametrize("it", [CHAIN, EXACT, NATIVE], ids=str)
def test_linear(it):
    x, weight, bias = drawn(2, 3, 4), drawn(5, 4), drawn(5)
    agree(linear(x, weight, bias, it), functional.linear(x, weight, bias), (x, weight, bias))
    agree(linear(x, weight, None, it), functional.linear(x, weight), (x, weight))


WAYS = [
    {"stride": 1, "padding": 0, "dilation": 1, "groups": 1},
    {"stride": 2, "padding": 1, "dilation": 1, "groups": 1},
    {"stride": 1, "padding": 2, "dilation": 2, "groups": 2},
    {"stride": 3, "padding": 1, "dilation": 1, "groups": 4},
    {"stride": 1, "padding": "same", "dilation": 1, "groups": 1},
    {"stride": 1, "padding": "valid", "dilation": 2, "groups": 1},
]
CONVOLUTIONS = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
TRANSPOSED = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}


@pytest.mark.parametrize("it", [CHAIN, NATIVE], ids=str)
@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_convolution(it, n, way):
    x, bias = drawn(2, 4, *(6, 5, 5)[:n]), drawn(8)
    weight = drawn(8, 4 // way["groups"], *(3, 1, 3)[:n])
    ours = convolution(x, weight, bias, *way.values(), it)
    agree(ours, CONVOLUTIONS[n](x, weight, bias, **way), (x, weight, bias))


@pytest.mark.parametrize("it", [CHAIN, EXACT, NATIVE], ids=str)
@pytest.mark.parametrize(("n", "groups"), [(1, 1), (2, 2), (3, 4)])
def test_transposed_convolution(it, n, groups):
    x, bias = drawn(1, 4, *(3, 2, 2)[:n]), drawn(8)
    weight = drawn(4, 8 // groups, *(3, 2, 2)[:n])
    ours = convolution(x, weight, bias, 2, 1, 1, groups, it, transposed=True, output_padding=1)
    theirs = TRANSPOSED[n](x, weight, bias, 2, 1, 1, groups)
    agree(ours, theirs, (x, weight, bias))


def test_convolution_of_one_image():
    x, weight = drawn(3, 7, 7), drawn(2, 3, 3, 3)
    agree(
        convolution(x, weight, None, 1, 0, 1, 1, CHAIN), functional.conv2d(x, weight), (x, weight)
    )


def test_convolution_in_parts_is_convolution_at_once(monkeypatch):
    from deephochuli.arithmetic import _windows

    it = get_arithmetic("fp16-sequential")
    x = drawn(5, 6, 8, 8).detach().float().requires_grad_()
    weight = drawn(4, 6, 3, 3).detach().float().requires_grad_()
    results = []
    for part in (1 << 24, 700):
        monkeypatch.setattr(_windows, "_PART", part)
        y = convolution(x, weight, None, 1, 1, 1, 1, it)
        results.append((y, *torch.autograd.grad(y.sum(), (x, weight))))
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("it", [CHAIN, EXACT, NATIVE], ids=str)
@pytest.mark.parametrize("how", ["plain", "causal", "mask", "added", "scale", "gqa"])
def test_attention(it, how):
    heads = 1 if how == "gqa" else 2
    q, k, v = drawn(2, 2, 3, 4), drawn(2, heads, 5, 4), drawn(2, heads, 5, 3)
    options = {
        "plain": {},
        "causal": {"is_causal": True},
        "mask": {"attn_mask": torch.ones(3, 5, dtype=torch.bool).tril(1)},
        "added": {"attn_mask": drawn(3, 5).detach()},
        "scale": {"scale": 0.3},
        "gqa": {"enable_gqa": True},
    }[how]
    ours = attention(q, k, v, it, **options)
    agree(ours, functional.scaled_dot_product_attention(q, k, v, **options), (q, k, v))


@pytest.mark.parametrize("it", [CHAIN, EXACT, NATIVE], ids=str)
@pytest.mark.parametrize(
    ("dim", "keepdim"), [(None, False), (1, False), ((0, 2), True), (-1, True)]
)
def test_sum(it, dim, keepdim):
    x = drawn(3, 4, 5)
    theirs = x.sum() if dim is None else x.sum(dim, keepdim)
    agree(sum_as(x, it, dim, keepdim), theirs, (x,))


def test_gradients_of_gradients():
    a, b = drawn(3, 4), drawn(4, 2)
    assert torch.autograd.gradgradcheck(lambda x, y: matmul(x, y, CHAIN), (a, b))


def test_the_backward_pass_has_an_arithmetic_of_its_own():
    it = replace(get_arithmetic("fp32"), name="mixed", backward=get_arithmetic("fp16-sequential"))
    a, b = (drawn(6, 6, seed=s).detach().float().requires_grad_() for s in (1, 2))
    out = matmul(a, b, it)
    assert torch.equal(out, a @ b)
    grad = torch.randn(6, 6, generator=torch.Generator().manual_seed(3))
    got = torch.autograd.grad(out, (a, b), grad)
    half = get_arithmetic("fp16-sequential")
    assert torch.equal(got[0], matmul(grad, b.detach().T, half))
    assert torch.equal(got[1], matmul(a.detach().T, grad, half))


def test_gradients_are_rounded_to_their_own_format():
    it = replace(get_arithmetic("fp32"), name="x", inputs=BFLOAT16, gradient_inputs=E5M2)
    a, b = (drawn(6, 6, seed=s).detach().float().requires_grad_() for s in (1, 2))
    grad = torch.randn(6, 6, generator=torch.Generator().manual_seed(3))
    got = torch.autograd.grad(matmul(a, b, it), a, grad)[0]
    expected = round_to(grad, E5M2) @ round_to(b.detach(), BFLOAT16).T
    assert torch.equal(got, expected)


def test_a_bias_is_rounded_with_the_sum_of_products():
    x, weight = torch.ones(1, 1), torch.full((1, 1), 2.0**-11)
    it = get_arithmetic("fp16-sequential")
    bias = torch.tensor([1.0])
    assert linear(x, weight, bias, it).item() == 1.0
    assert linear(x, weight * (1 + 2.0**-10), bias, it).item() == 1 + 2.0**-10


def test_results_keep_the_dtype_of_the_operands():
    it = replace(get_arithmetic("h100-fp8"), name="x", output=BINARY16)
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        a = torch.ones(2, 3, dtype=dtype)
        assert matmul(a, a.T, it).dtype == dtype
        assert matmul(a, a.T, it).eq(3).all()


BAD = {
    "last dimension of the first": lambda it: matmul(torch.ones(2, 3), torch.ones(2, 3), it),
    "floating-point operands": lambda it: matmul(
        torch.ones(2, 2).int(), torch.ones(2, 2).int(), it
    ),
    "last dimensions must be equal": lambda it: linear(torch.ones(3), torch.ones(2, 2), None, it),
    "expected 3 channels": lambda it: convolution(
        torch.ones(1, 2, 5, 5), torch.ones(4, 3, 3, 3), None, 1, 0, 1, 1, it
    ),
    "with a stride of 1": lambda it: convolution(
        torch.ones(1, 3, 5, 5), torch.ones(4, 3, 3, 3), None, 2, "same", 1, 1, it
    ),
    "not both": lambda it: attention(
        *[torch.ones(1, 2, 2)] * 3, it, attn_mask=torch.ones(2, 2), is_causal=True
    ),
    "cannot share": lambda it: attention(
        torch.ones(1, 3, 2, 2), *[torch.ones(1, 2, 2, 2)] * 2, it, enable_gqa=True
    ),
    "floating-point only": lambda it: sum_as(torch.ones(3).int(), it),
}


@pytest.mark.parametrize("message", BAD)
def test_operands_that_do_not_fit_are_refused(message):
    with pytest.raises(ArithmeticSpecError, match=message):
        BAD[message](get_arithmetic("fp32"))
