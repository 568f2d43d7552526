"""A model run as if in another arithmetic, beside the same computed by hand."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from deephochuli.arithmetic import get_arithmetic, round_to, run_as
from deephochuli.errors import ArithmeticSpecError
from deephochuli.formats import BFLOAT16, BINARY16, get_format, round_scalar

BF16 = "bf16"


def bf16(x):
    return round_to(x, "bf16")


@pytest.fixture
def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))


@pytest.fixture
def x():
    return torch.randn(5, 6, generator=torch.Generator().manual_seed(1))


def by_hand(model, x, grad):
    """Forward and backward of the MLP with every operand and every result in BF16."""
    first, second = model[0], model[2]
    z = bf16(bf16(x) @ bf16(first.weight).T + first.bias)
    a = z.clamp_min(0)
    y = bf16(a @ bf16(second.weight).T + second.bias)
    g = bf16(grad)
    gw2, gb2 = bf16(g.T @ a), bf16(g.sum(0))
    ga = bf16(g @ bf16(second.weight))
    gz = ga * (z > 0)
    gw1, gb1 = bf16(gz.T @ bf16(x)), bf16(gz.sum(0))
    return y, [gw1, gb1, gw2, gb2]


def test_forward_and_backward_equal_the_same_by_hand(mlp, x):
    grad = bf16(torch.randn(5, 3, generator=torch.Generator().manual_seed(2)))
    with torch.no_grad():
        y, gradients = by_hand(mlp, x, grad)
    with run_as(mlp, BF16):
        out = mlp(x)
        out.backward(grad)
    assert torch.equal(out, y)
    for parameter, expected in zip(mlp.parameters(), gradients, strict=True):
        assert torch.equal(parameter.grad, expected)


def test_a_chain_of_half_precision_additions_equals_exact_rounding(x):
    model = nn.Linear(6, 1, bias=False)
    with run_as(model, "fp16-sequential"):
        got = model(x)[0, 0].item()
    fmt = get_format("fp16")
    a = [round_scalar(v, fmt) for v in x[0].tolist()]
    w = [round_scalar(v, fmt) for v in model.weight[0].tolist()]
    total = 0.0
    for left, right in zip(a, w, strict=True):  # exact in binary64: 22 bits and 11 bits, aligned
        total = round_scalar(total + left * right, fmt)
    assert got == total


def test_layers_named_by_scope_have_their_own_arithmetic(mlp, x):
    plain = mlp[0](x)
    with run_as(mlp, BF16, {"0": None}):
        hidden = mlp[0](x)
    assert torch.equal(hidden, plain)
    with run_as(mlp, None, {"0": BF16}):
        assert torch.equal(mlp[0](x), bf16(bf16(x) @ bf16(mlp[0].weight).T + mlp[0].bias))
    with run_as(mlp, None, {"2": BF16}):
        y = mlp(x)
    assert torch.equal(y, bf16(bf16(plain.relu()) @ bf16(mlp[2].weight).T + mlp[2].bias))


def test_the_backward_of_a_layer_uses_the_arithmetic_of_that_layer(mlp, x):
    with run_as(mlp, None, {"2": BF16}):
        mlp(x).sum().backward()
    assert torch.equal(mlp[2].weight.grad, bf16(mlp[2].weight.grad))
    assert not torch.equal(mlp[0].weight.grad, bf16(mlp[0].weight.grad))


def test_a_scope_that_names_no_layer_is_refused(mlp):
    with pytest.raises(ArithmeticSpecError, match="names no layer of Sequential"):
        run_as(mlp, BF16, {"nothing": None}).__enter__()


def test_an_unknown_arithmetic_is_refused_with_near_names(mlp):
    with pytest.raises(ArithmeticSpecError, match="'bf16'"):
        run_as(mlp, "bf61").__enter__()


def test_what_is_outside_of_the_model_is_left_alone(mlp, x):
    other = nn.Linear(6, 2)
    expected = other(x)
    loss = (mlp(x) * 1.1).sum()
    with run_as(mlp, BF16):
        assert torch.equal(other(x), expected)
        out = mlp(x)
        scaled = out * 1.1
    assert torch.equal(scaled, out * 1.1)
    assert not torch.equal(scaled, bf16(scaled))
    assert loss.requires_grad


def test_nothing_stays_behind(mlp, x):
    before = mlp(x)
    state, hooks = torch.get_rng_state(), len(mlp[0]._forward_hooks)
    fast = torch.backends.mha.get_fastpath_enabled()
    with run_as(mlp, BF16):
        mlp(x).sum().backward()
    assert torch.equal(mlp(x), before)
    assert torch.equal(torch.get_rng_state(), state)
    assert len(mlp[0]._forward_hooks) == hooks
    assert torch.backends.mha.get_fastpath_enabled() == fast
    assert torch.backends.mkldnn.enabled


def test_an_exception_in_a_layer_leaves_the_rest_in_order(mlp, x):
    with run_as(mlp, BF16):
        with pytest.raises(ArithmeticSpecError, match="last dimensions"):
            mlp(torch.randn(5, 7))
        y = mlp(x)
        native = x * 1.1
    assert torch.equal(y, bf16(y))
    assert not torch.equal(native, bf16(native))


def test_pure_bf16_keeps_weights_and_states_in_bf16_and_swamps_small_updates(mlp, x):
    optimizer = torch.optim.Adam(mlp.parameters(), lr=1e-5)
    with run_as(mlp, "bf16-pure"):
        mlp(x).sum().backward()
        optimizer.step()
        weights = [parameter.detach().clone() for parameter in mlp.parameters()]
        optimizer.zero_grad()
        mlp(x).sum().backward()
        optimizer.step()
    for parameter, before in zip(mlp.parameters(), weights, strict=True):
        assert torch.equal(parameter, bf16(parameter))
        assert torch.equal(
            optimizer.state[parameter]["exp_avg"], bf16(optimizer.state[parameter]["exp_avg"])
        )
        large = before.abs() > 0.02  # half an ulp of 0.02 in BF16 is 3e-5: a step of 1e-5 is lost
        assert torch.equal(parameter[large], before[large])


def test_master_weights_move_where_pure_ones_do_not(mlp, x):
    optimizer = torch.optim.SGD(mlp.parameters(), lr=1e-6)
    before = mlp[0].weight.detach().clone()
    with run_as(mlp, BF16):
        mlp(x).sum().backward()
        optimizer.step()
    assert not torch.equal(before, mlp[0].weight)


def test_weights_can_be_kept_narrow_without_narrow_products(mlp, x):
    arithmetic = replace(get_arithmetic("fp32"), name="w16", weights=BFLOAT16)
    with run_as(mlp, arithmetic):
        y = mlp(x)
    narrow = copy.deepcopy(mlp)
    with torch.no_grad():
        for parameter in narrow.parameters():
            parameter.copy_(bf16(parameter))
    torch.testing.assert_close(y, narrow(x), rtol=0, atol=1e-6)
    assert not torch.allclose(y, mlp(x), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), (2, 4, 7, 7)),
        (lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, output_padding=1), (2, 4, 5, 5)),
        (lambda: nn.Conv1d(4, 6, 3, dilation=2), (2, 4, 9)),
        (lambda: nn.Conv3d(2, 3, 2), (1, 2, 4, 4, 4)),
        (lambda: nn.LSTM(4, 5, batch_first=True), (2, 3, 4)),
        (lambda: nn.GRU(4, 5), (3, 2, 4)),
        (lambda: nn.Bilinear(4, 4, 3), None),
    ],
    ids=["conv2d", "transposed", "conv1d", "conv3d", "lstm", "gru", "bilinear"],
)
def test_exact_emulation_of_binary32_stays_close_to_torch(make, shape):
    torch.manual_seed(3)
    model = make()
    given = (torch.randn(2, 4), torch.randn(2, 4)) if shape is None else (torch.randn(shape),)

    def run():
        model.zero_grad()
        out = model(*given)
        out = out[0] if isinstance(out, tuple) else out
        out.square().sum().backward()
        return out.detach(), [parameter.grad.clone() for parameter in model.parameters()]

    plain, plain_gradients = run()
    with run_as(model, "fp32-pairwise"):
        emulated, gradients = run()
    torch.testing.assert_close(emulated, plain, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradients, plain_gradients, rtol=1e-4, atol=1e-4)
    with run_as(model, BF16):
        narrow, narrow_gradients = run()
    assert torch.equal(narrow, bf16(narrow))
    assert not torch.equal(narrow, plain)
    for gradient in narrow_gradients:
        assert torch.equal(gradient, bf16(gradient))


def test_attention_inside_a_transformer_is_emulated(x):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True).eval()
    tokens = torch.randn(2, 5, 8)
    with torch.no_grad(), run_as(layer, BF16):
        y = layer(tokens)
    with torch.no_grad():
        plain = layer(tokens)
    assert torch.equal(y, bf16(y))
    assert 1e-4 < float((y - plain).norm() / plain.norm()) < 3e-2


def test_scores_of_attention_are_rounded_as_products_are():
    q = torch.randn(1, 1, 2, 4, generator=torch.Generator().manual_seed(0))

    class Attend(nn.Module):
        def forward(self, q):
            return F.scaled_dot_product_attention(q, q, q, scale=1.0)

    model = Attend()
    with run_as(model, BF16):
        got = model(q)
    scores = bf16(bf16(q) @ bf16(q).mT)
    expected = bf16(bf16(scores.softmax(-1)) @ bf16(q))
    torch.testing.assert_close(got, expected, rtol=2**-7, atol=0)


def test_users_own_autograd_functions_are_emulated_inside():
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, grad):
            return 2 * ctx.saved_tensors[0] * grad

    class Model(nn.Module):
        def forward(self, x):
            return Square.apply(x)

    x = torch.tensor([1 + 2**-10], requires_grad=True)
    model = Model()
    with run_as(model, BF16):
        y = model(x)
        y.backward(torch.ones(1))
    assert y.item() == 1.0
    assert x.grad.item() == 2.0


def test_checkpoints_are_computed_again_in_the_same_arithmetic(mlp, x):
    from torch.utils.checkpoint import checkpoint

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = mlp

        def forward(self, x):
            return checkpoint(self.inner, x, use_reentrant=False)

    with run_as(mlp, BF16):
        mlp(x).square().sum().backward()
    expected = [parameter.grad.clone() for parameter in mlp.parameters()]
    mlp.zero_grad()
    model = Model()
    with run_as(model, BF16):
        model(x).square().sum().backward()
    for parameter, gradient in zip(mlp.parameters(), expected, strict=True):
        assert torch.equal(parameter.grad, gradient)


def test_inference_mode_and_no_grad_give_the_same_bits(mlp, x):
    with run_as(mlp, BF16):
        expected = mlp(x)
        with torch.no_grad():
            assert torch.equal(mlp(x), expected)
        with torch.inference_mode():
            assert torch.equal(mlp(x), expected)


def test_autocast_decides_on_carriers_and_the_arithmetic_on_numbers(mlp, x):
    with torch.autocast("cpu", dtype=torch.bfloat16), run_as(mlp, "bf16-sequential"):
        y = mlp(x)
    assert y.dtype is torch.bfloat16
    with run_as(mlp, "bf16-sequential"):
        wide = mlp(x)
    torch.testing.assert_close(y.float(), wide, rtol=2**-5, atol=2**-5)


def test_a_compiled_model_is_run_uncompiled(mlp, x):
    compiled = torch.compile(mlp, backend="aot_eager")
    with run_as(mlp, BF16):
        y = compiled(x)
    assert torch.equal(y, bf16(y))


def test_gradients_enter_fp8_products_in_their_own_format():
    torch.manual_seed(0)
    model = nn.Linear(3, 2, bias=False)
    x = torch.randn(4, 3)
    grad = torch.tensor([[1.0 + 2**-3, 0.3]] * 4)  # E4M3 holds 1.125, E5M2 does not
    with run_as(model, "fp8"):
        model(x).backward(grad)
    e5m2, e4m3 = round_to(grad, "e5m2"), round_to(x, "e4m3")
    assert torch.equal(model.weight.grad, bf16(e5m2.T @ e4m3))


def test_stochastic_storage_is_reproducible_and_unbiased(x):
    model = nn.Identity()

    class Scale(nn.Module):
        def forward(self, x):
            return x * 1.0

    model = Scale()
    arithmetic = replace(
        get_arithmetic("fp32"), name="sr", activations=BINARY16, rounding="stochastic"
    )
    ones = torch.full((20000,), 1 + 2**-12)
    with run_as(model, arithmetic, seed=1):
        first = model(ones)
    with run_as(model, arithmetic, seed=1):
        assert torch.equal(model(ones), first)
    with run_as(model, arithmetic, seed=2):
        assert not torch.equal(model(ones), first)
    assert set(first.tolist()) == {1.0, 1 + 2**-10}
    assert abs(float(first.double().mean()) - (1 + 2**-12)) < 5 * 2**-10 * 0.44 / 20000**0.5


def test_a_carrier_too_narrow_for_a_format_is_an_error():
    model = nn.Linear(2, 2).to(torch.bfloat16)
    with pytest.raises(Exception, match="fp16"), run_as(model, "fp16"):
        model(torch.ones(1, 2, dtype=torch.bfloat16))


def test_the_backward_has_an_arithmetic_of_its_own_where_one_is_given(mlp, x):
    base = get_arithmetic("fp32")
    narrow = replace(base, name="narrow", output=BFLOAT16)
    with run_as(mlp, replace(base, name="split", backward=narrow)):
        y = mlp(x)
        y.sum().backward()
    assert not torch.equal(y, bf16(y))
    assert torch.equal(mlp[2].weight.grad, bf16(mlp[2].weight.grad))


def test_gradients_are_kept_in_a_format_of_their_own(mlp, x):
    arithmetic = replace(get_arithmetic("fp32"), name="g16", gradients=BFLOAT16)
    with run_as(mlp, arithmetic):
        y = mlp(x)
        y.sum().backward()
    assert not torch.equal(y, bf16(y))
    assert torch.equal(mlp[0].weight.grad, bf16(mlp[0].weight.grad))


def test_statistics_of_a_normalisation_are_kept_wide():
    torch.manual_seed(0)
    model, x = nn.LayerNorm(8), torch.randn(4, 8, requires_grad=True)
    grad = bf16(torch.randn(4, 8))
    with run_as(model, BF16):
        model(x).backward(grad)
    plain = x.detach()
    _, mean, scale = torch.ops.aten.native_layer_norm(
        plain, [8], model.weight.detach(), model.bias.detach(), model.eps
    )
    expected, *_ = torch.ops.aten.native_layer_norm_backward(
        *(grad, plain, [8], mean, scale, model.weight.detach(), model.bias.detach()),
        [True, True, True],
    )
    assert torch.equal(x.grad, bf16(expected))
    assert not torch.equal(mean, bf16(mean))


def test_the_count_of_steps_is_no_number_of_the_format(mlp, x):
    optimizer = torch.optim.Adam(mlp.parameters(), lr=1e-9)
    with run_as(mlp, "bf16-pure"):
        mlp(x).sum().backward()
        for _ in range(260):  # BF16 cannot count beyond 256
            optimizer.step()
    assert float(optimizer.state[mlp[0].weight]["step"]) == 260


def test_factors_of_a_product_and_of_what_is_added_are_kept():
    class Model(nn.Module):
        def forward(self, bias, a, b):
            return torch.addmm(bias, a, b, beta=0.5, alpha=4)

    bias, a, b = torch.ones(2), torch.ones(3, 5), torch.ones(5, 2)
    with run_as(model := Model(), "fp32-sequential"):
        assert torch.equal(model(bias, a, b), torch.full((3, 2), 20.5))
