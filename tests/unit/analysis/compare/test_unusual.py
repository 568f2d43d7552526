"""Comparisons of models, batches and faults that are met seldom, beside what is known of them."""

import copy
import random
import runpy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from deephochuli.analysis.compare import compare, error_of, keep_wide, verdict
from deephochuli.analysis.compare._dice import SameDice
from deephochuli.errors import ArithmeticSpecError, CompareError, DeepHochuliWarning

FAST = ("fp32", "threads=1")


class Mixed(nn.Module):
    """Weights of modules that are never called: in attention, in a list, and of a tied head."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.mixing = nn.ParameterList([nn.Parameter(torch.randn(8, 8))])
        self.head = nn.Linear(8, 3, bias=False)

    def forward(self, x):
        y = self.attention(x, x, x, need_weights=False)[0]
        return F.linear(torch.tanh(y @ self.mixing[0]), self.head.weight).mean(1)


@pytest.fixture
def mixed():
    torch.manual_seed(0)
    return Mixed()


@pytest.fixture
def sequences():
    return torch.randn(4, 5, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 3))


@pytest.fixture
def x():
    return torch.randn(8, 6, generator=torch.Generator().manual_seed(1))


class Noisy(nn.Module):
    """A linear layer whose output is changed at random."""

    def __init__(self, change):
        super().__init__()
        self.layer = nn.Linear(6, 3)
        self.change = change

    def forward(self, x):
        return self.change(self.layer(x))


@pytest.mark.parametrize(
    "change",
    [
        lambda y: y + torch.normal(torch.zeros_like(y), 1.0),
        lambda y: y + torch.normal(0.0, torch.ones_like(y)),
        lambda y: torch.normal(y.detach(), torch.ones_like(y)) + y,
        lambda y: y + torch.normal(0.0, 1.0, y.shape),
        lambda y: y * float(np.random.default_rng().random() * 0 + np.random.rand()),  # noqa: NPY002
        lambda y: y * random.random(),
    ],
)
def test_whoever_throws_the_dice_they_fall_alike(change, x):
    states = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002 - is put back
    compared = compare(Noisy(change), x, "fp32")
    (whole,) = [each for each in compared.of("fp32", "forward") if each.call == ("", 0)]
    assert 0 < whole.total.rel_l2 < 1e-6
    assert states == (random.getstate(), np.random.get_state()[1].tolist())  # noqa: NPY002 - likewise


def test_every_parameter_has_a_row_also_of_modules_that_are_not_called(mixed, sequences):
    compared = compare(mixed, sequences, "bf16")
    rows = compared.of("bf16", "gradient")
    found = {f"{each.call[0]}.{each.parameter}".removeprefix(".") for each in rows}
    assert found == {name for name, _ in mixed.named_parameters()}
    assert all(each.local.rms > 0 for each in rows)


@pytest.mark.parametrize("name", ["attention.out_proj.weight", "mixing.0", "head.weight"])
def test_a_wrong_weight_of_a_module_that_is_not_called_is_named(mixed, sequences, name):
    wrong = copy.deepcopy(mixed)
    with torch.no_grad():
        wrong.get_parameter(name)[0] += 2**-10
    judged = verdict(mixed, sequences, wrong, samples=FAST)
    layer = "attention" if name.startswith("attention") else "(model)"
    assert judged.culprit.layer == layer
    assert repr(name.removeprefix("attention.")) in str(judged)


def test_a_setting_that_is_a_word_is_named(mlp, x):
    wrong = copy.deepcopy(mlp)
    wrong[1].approximate = "tanh"
    assert "approximate is 'tanh'; the reference has 'none'" in str(
        verdict(mlp, x, wrong, samples=FAST)
    )


def test_a_layer_of_another_class_is_named(mlp, x):
    wrong = copy.deepcopy(mlp)
    wrong[1] = nn.SiLU()
    assert "It is a SiLU; the reference has a GELU." in str(verdict(mlp, x, wrong, samples=FAST))


def test_a_model_in_another_dtype_is_given_the_batch_in_that_dtype(mlp, x):
    judged = verdict(mlp, x, copy.deepcopy(mlp).bfloat16(), samples=FAST)
    assert "holds bf16 numbers only" in str(judged)
    assert verdict(mlp, x, copy.deepcopy(mlp).double(), samples=FAST).kind == "clean"


def test_hooks_of_parameters_are_said_to_be_left_out(mlp, x):
    wrong = copy.deepcopy(mlp)
    wrong[0].weight.register_hook(lambda gradient: 2 * gradient)
    with pytest.warns(DeepHochuliWarning, match=r"Hooks on the gradients of 1 parameters \(0.w"):
        compare(mlp, x, wrong)


@pytest.fixture
def overflowing():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    with torch.no_grad():
        model[0].weight.mul_(3e5)  # beyond 65504
        model[2].weight.mul_(1e-5)
    return model


def test_layers_that_overflow_are_kept(overflowing, x):
    kept = keep_wide(overflowing, x, "fp16")
    assert kept.all_low.output == kept.all_low.gradient == np.inf
    assert "0" in kept.layers
    assert kept.is_within
    assert kept.reached.output < 0.01


def test_a_decision_by_nan_is_no_decision(overflowing, x):
    decided = compare(overflowing, x, "fp16").decisions["fp16"]
    assert decided.argmax_flips == decided.top_k_flips == decided.n == 8
    assert decided.margin == 0


def test_outputs_masked_by_infinity_leave_the_margin_of_the_others(mlp, x):
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = mlp

        def forward(self, x):
            return F.pad(self.body(x), (0, 2), value=-torch.inf)

    plain, masked = (compare(model, x, "bf16").decisions["bf16"] for model in (mlp, Masked()))
    assert masked.margin == pytest.approx(plain.margin, rel=1e-12)


@pytest.mark.parametrize(
    ("judged", "n"), [(torch.inf, 0), (-torch.inf, 1), (torch.nan, 1), (1.0, 1)]
)
def test_infinities_and_nan_are_alike_only_where_they_are_the_same(judged, n):
    assert error_of(torch.tensor([judged]), torch.tensor([torch.inf])).nonfinite == n


def test_a_budget_needs_an_output_and_a_choice(x):
    class Index(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Linear(6, 3)

        def forward(self, x):
            return self.body(x).argmax(-1)

    with pytest.raises(CompareError, match="Index returns no floating-point tensor"):
        keep_wide(Index(), x)
    with pytest.raises(CompareError, match="Linear calls no layers"):
        keep_wide(nn.Linear(6, 3), x)


def test_the_snippet_runs_with_inputs_that_are_no_tensors_or_named(sequences, tmp_path):
    torch.manual_seed(0)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x):
            return self.attention(x, x, value=x, key_padding_mask=None, need_weights=False)[0]

    kept = keep_wide(Block(), sequences, output=1e-6, gradient=1e-6)
    assert kept.layers == ("attention",)
    model = Block().bfloat16().float()
    script = tmp_path / "pasted.py"
    script.write_text(kept.snippet().replace("cuda", "cpu"))
    names = {"model": model, "batch": sequences.bfloat16(), "torch": torch}
    assert runpy.run_path(str(script), names)["output"].dtype == torch.float32


@pytest.mark.parametrize("name", ["threads=0", "split=0"])
def test_none_is_no_number_of_threads_or_parts(mlp, x, name):
    with pytest.raises(ArithmeticSpecError, match="=N"):
        compare(mlp, x, name)


def test_a_loss_from_inside_is_not_put_together_from_parts(x):
    class Lossy(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Linear(6, 3)

        def forward(self, x):
            return self.body(x).square().mean()

    with pytest.raises(CompareError, match="cannot be put together"):
        compare(Lossy(), x, "split=2")


def test_a_call_that_failed_and_was_caught_leaves_the_rest_in_order(x):
    class Trying(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Linear(6, 3)

        def forward(self, x):
            try:
                self.body(x[:, :2])
            except RuntimeError:
                return self.body(x)

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Trying()
            self.last = nn.Linear(3, 2)

        def forward(self, x):
            return self.last(self.inner(x)) * 3

    rows = compare(Outer(), x, "autocast-bf16").of("autocast-bf16", "forward")
    erring = {each.layer for each in rows if each.local.rms}
    assert erring == {"inner.body (call 2)", "last", "(model)"}


def test_the_dropout_of_a_gpu_drops_and_scales_as_that_of_a_cpu():
    x = torch.randn(1000, generator=torch.Generator().manual_seed(3))
    for p in (0.1, 0.25, 0.5, 1.0):
        with SameDice(7):
            fused, kept = torch.native_dropout(x, p, True)
        with SameDice(7):
            plain = torch.nn.functional.dropout(x, p, True)
        assert torch.equal(fused, plain)
        assert torch.equal(kept, plain != 0)
