"""Comparisons, beside errors formed by hand."""

import copy
import math
import runpy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from deephochuli.analysis.compare import (
    Executor,
    compare,
    emulated,
    error_of,
    keep_wide,
    of_model,
    verdict,
)
from deephochuli.arithmetic import round_to
from deephochuli.errors import ArithmeticSpecError, CompareError

FAST = ("fp32", "threads=1")


@pytest.fixture
def cnn():
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True)),
        *(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5)),
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


@pytest.fixture
def images():
    return torch.randn(8, 1, 4, 4, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def targets():
    return torch.arange(8) % 5


def row(comparison, executor, layer, direction, parameter=None):
    (found,) = [
        each
        for each in comparison.of(executor, direction)
        if each.layer == layer and each.parameter == parameter
    ]
    return found


def test_own_error_of_a_layer_equals_the_error_by_hand(cnn, images):
    found = row(compare(cnn, images, ["fp32"]), "fp32", "0", "forward")
    right = F.conv2d(images.double(), cnn[0].weight.double(), cnn[0].bias.double(), padding=1)
    expected = error_of(cnn[0](images), right)
    assert found.local == expected
    assert found.inherited.rms == 0
    assert found.ratio == 1


def test_own_and_inherited_errors_add_up_to_the_total(cnn, images):
    first, last = copy.deepcopy(cnn).eval(), copy.deepcopy(cnn).eval().double()
    given = first[:6](images).detach()
    given64 = last[:6](images.double()).detach()
    first.requires_grad_(False)
    last.requires_grad_(False)
    made = first[6](given)
    own = made.double() - last[6](given.double())
    inherited = last[6](given.double()) - last[6](given64)
    found = row(compare(first, images, ["fp32"]), "fp32", "6", "forward")
    assert found.local.rms == pytest.approx(float(own.square().mean().sqrt()), rel=1e-6)
    assert found.inherited.rms == pytest.approx(float(inherited.square().mean().sqrt()), rel=1e-6)
    total = (own + inherited).square().mean().sqrt()
    assert found.total.rms == pytest.approx(float(total), rel=1e-6)


def test_gradients_are_judged_given_the_layers_own_gradients(cnn, images, targets):
    def loss(output):
        return F.cross_entropy(output, targets)

    comparison = compare(cnn, images, ["fp32"], loss=loss)
    model = copy.deepcopy(cnn)
    hidden = model[:6](images).detach().requires_grad_()
    logits = model[6](hidden)
    logits.retain_grad()
    loss(logits).backward()
    right = logits.grad.double().T @ hidden.detach().double()
    weight = row(comparison, "fp32", "6", "gradient", "weight")
    assert weight.local == error_of(model[6].weight.grad, right)
    by_input = row(comparison, "fp32", "6", "backward")
    right = logits.grad.double() @ model[6].weight.detach().double()
    assert by_input.local == error_of(hidden.grad, right)


def test_updates_are_judged_given_the_executions_own_gradients(cnn, images, targets):
    optimizer = torch.optim.SGD(cnn.parameters(), lr=0.1)
    comparison = compare(
        *(cnn, images, ["fp32"]),
        loss=lambda output: F.cross_entropy(output, targets),
        optimizer=optimizer,
    )
    model = copy.deepcopy(cnn)
    F.cross_entropy(model(images), targets).backward()
    weight = model[6].weight
    moved = (weight.detach() - 0.1 * weight.grad).double() - weight.detach().double()
    found = row(comparison, "fp32", "6", "update", "weight")
    assert found.local.rms == pytest.approx(
        error_of(moved, -0.1 * weight.grad.double()).rms, rel=0.2
    )


def test_what_a_module_does_between_its_layers_is_its_own():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(4, 4)

        def forward(self, x):
            return x * 1.1 + self.inner(x / 3)

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), Block())
    comparison = compare(model, torch.randn(6, 4), ["bf16"])
    block = row(comparison, "bf16", "1", "forward")
    assert block.local.rms > 1e-4
    assert row(comparison, "bf16", "(model)", "forward").local.is_exact


def test_the_model_is_not_changed(cnn, images, targets):
    optimizer = torch.optim.Adam(cnn.parameters())
    before = {name: value.clone() for name, value in cnn.state_dict().items()}
    rng = torch.get_rng_state()
    compare(
        *(cnn, images, ["fp32", "bf16"]),
        loss=lambda output: F.cross_entropy(output, targets),
        optimizer=optimizer,
    )
    assert all(torch.equal(before[name], value) for name, value in cnn.state_dict().items())
    assert all(parameter.grad is None for parameter in cnn.parameters())
    assert torch.equal(torch.get_rng_state(), rng)
    assert not optimizer.state
    assert not any(module._forward_hooks for module in cnn.modules())


def test_dropout_drops_the_same_in_every_execution():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 64), nn.Dropout(0.5), nn.Linear(64, 2))
    comparison = compare(model, torch.randn(4, 8), ["fp32", "autocast-bf16"])
    for executor in ("fp32", "autocast-bf16"):
        assert row(comparison, executor, "1", "forward").total.zeros == 0
        assert row(comparison, executor, "1", "forward").total.rel_l2 < 0.01


def test_sign_flips_are_those_of_the_inputs_of_activations(cnn, images):
    comparison = compare(cnn.eval(), images, ["fp8"])
    model, wide = copy.deepcopy(cnn), copy.deepcopy(cnn).double()
    from deephochuli.arithmetic import run_as

    with run_as(model, "fp8"):
        z = model[:2](images)
    right = wide[:2](images.double())
    flips = int(((z > 0) != (right > 0)).sum())
    assert flips > 0
    assert row(comparison, "fp8", "2", "forward").sign_flips == flips


def test_flipped_decisions_are_counted_with_their_margin():
    model = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, 0.0], [1.0 + 2**-10, 0.0]]))
    rows = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [-2.0, 0.0]])
    found = compare(model, rows, ["bf16"]).decisions["bf16"]
    assert found.n == 3
    assert found.argmax_flips == 1  # 1 and 1 + 2^-10 are both 1 in BF16, and argmax takes the first
    assert 0 < found.margin_of_flips < 3


def test_a_split_batch_gives_the_same_layers(cnn, images):
    comparison = compare(cnn.eval(), images, ["split=3"])
    found = row(comparison, "split=3", "6", "forward")
    assert found.local.n == 8 * 5
    assert found.local.rel_l2 < 1e-6
    assert comparison.unmatched["split=3"] == ()


def test_batch_statistics_of_a_part_are_another_result(cnn, images):
    found = verdict(cnn.train(), images, "split=2", samples=FAST)
    assert found.culprit.layer == "1"
    assert found.kind == "not rounding"


def test_a_model_that_asks_for_binary32_inside_is_still_judged_in_binary64():
    class Inside(nn.Module):
        def forward(self, x):
            return torch.softmax(x.float(), -1, dtype=torch.float32) * torch.ones(
                (), dtype=torch.float32
            )

    comparison = compare(Inside(), torch.randn(3, 5), ["fp32"])
    found = row(comparison, "fp32", "(model)", "forward")
    assert 0 < found.local.rel_l2 < 1e-6


def test_an_unknown_executor_is_refused_with_near_names(cnn, images):
    with pytest.raises(ArithmeticSpecError, match=r"Did you mean 'bf16'"):
        compare(cnn, images, ["bf61"])


def test_a_reference_that_is_not_finite_is_refused(cnn, images):
    images[0, 0, 0, 0] = math.nan
    with pytest.raises(CompareError, match=r"an input of \(model\)"):
        compare(cnn, images, ["fp32"])


def test_renamed_layers_are_refused_with_both_names(images):
    class Named(nn.Module):
        def __init__(self, name):
            super().__init__()
            self.add_module(name, nn.Flatten())
            self.add_module(name + "2", nn.Linear(16, 2))

        def forward(self, x):
            for child in self.children():
                x = child(x)
            return x

    with pytest.raises(CompareError, match=r"no layer in common.*old, old2.*new, new2"):
        compare(Named("old"), images, [of_model(Named("new"))])


def test_changed_shapes_leave_the_rest_comparable(images):
    a = nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.Linear(4, 2))
    b = nn.Sequential(nn.Flatten(), nn.Linear(16, 6), nn.Linear(6, 2))
    comparison = compare(a, images, [of_model(b)])
    layers = {each.layer for each in comparison.of("other model", "forward")}
    assert "0" in layers
    assert "1" not in layers


def test_too_little_memory_is_said_before_it_is_used_up(cnn, images):
    with pytest.raises(CompareError, match="smaller batch"):
        compare(cnn, images, ["fp32"], max_bytes=1000)


def test_a_model_that_cannot_be_copied_is_refused(images):
    class Locked(nn.Module):
        def __init__(self):
            super().__init__()
            import threading

            self.lock = threading.Lock()

    with pytest.raises(CompareError, match="cannot be copied"):
        compare(Locked(), images, ["fp32"])


def test_two_executions_of_one_name_are_refused(cnn, images):
    with pytest.raises(CompareError, match="'fp32'"):
        compare(cnn, images, ["fp32", "fp32"])


# The verdict.


def test_a_sound_execution_is_clean(cnn, images):
    found = verdict(cnn, images, "fp32-pairwise", samples=("fp32", "fp32-sequential"))
    assert found.kind == "clean"
    assert found.n_runs <= 20
    assert "No layer errs more" in str(found)


def test_a_cast_of_a_result_is_named_as_rounding(cnn, images):
    class Cast(nn.Conv2d):
        def forward(self, x):
            return super().forward(x).bfloat16().float()

    wrong = copy.deepcopy(cnn)
    wrong[3].__class__ = Cast
    found = verdict(cnn, images, of_model(wrong), samples=FAST)
    assert (found.kind, found.culprit.layer, found.mechanism.name) == (
        *("rounding", "3", "result-rounded"),
    )
    assert "bf16" in str(found)


def test_operands_in_tf32_are_named_as_rounding(cnn, images):
    suspect = emulated("fp32", {"3": "tf32"})
    found = verdict(cnn, images, suspect, samples=("fp32", "fp32-sequential"))
    assert (found.kind, found.culprit.layer, found.mechanism.name) == (
        *("rounding", "3", "operands-rounded"),
    )
    assert "tf32" in found.mechanism.text


def test_another_setting_is_named_and_is_no_rounding(cnn, images):
    wrong = copy.deepcopy(cnn)
    wrong[1].eps = 1e-2
    found = verdict(cnn, images, of_model(wrong), samples=FAST)
    assert (found.kind, found.culprit.layer) == ("not rounding", "1")
    assert "eps is 0.01" in found.mechanism.text


def test_a_permuted_weight_is_named(cnn, images):
    wrong = copy.deepcopy(cnn)
    with torch.no_grad():
        wrong[1].weight.copy_(wrong[1].weight.flip(0))
    found = verdict(cnn, images, of_model(wrong), samples=FAST)
    assert "in another order" in found.mechanism.text


def test_one_factor_is_named(cnn, images):
    class Scaled(nn.Linear):
        def forward(self, x):
            return super().forward(x) * (1 + 2**-10)

    wrong = copy.deepcopy(cnn)
    wrong[6].__class__ = Scaled
    found = verdict(cnn, images, of_model(wrong), samples=FAST)
    assert found.mechanism.name == "one-factor"
    assert "1.0009765" in found.mechanism.text


def test_a_result_that_is_not_finite_is_named(cnn, images):
    class Overflow(nn.Linear):
        def forward(self, x):
            return super().forward(x) / 0

    wrong = copy.deepcopy(cnn)
    wrong[6].__class__ = Overflow
    found = verdict(cnn, images, of_model(wrong), samples=FAST)
    assert (found.culprit.layer, found.mechanism.name) == ("6", "not-finite")


def test_what_nothing_explains_is_not_called_rounding(cnn, images):
    class Shifted(nn.Conv2d):
        def forward(self, x):
            return super().forward(x.roll(1, -1))

    wrong = copy.deepcopy(cnn)
    wrong[3].__class__ = Shifted
    found = verdict(cnn, images, of_model(wrong), samples=FAST)
    assert (found.kind, found.culprit.layer, found.mechanism.name) == (
        *("not rounding", "3", "unexplained"),
    )


def test_weights_stored_in_bf16_after_a_step_are_named(cnn, images):
    class Narrow(torch.optim.SGD):
        def step(self, closure=None):
            super().step(closure)
            with torch.no_grad():
                weight = self.param_groups[0]["params"][0]
                weight.copy_(round_to(weight, "bf16"))

    wrong = copy.deepcopy(cnn)
    suspect = of_model(wrong, optimizer=Narrow(wrong.parameters(), lr=0.1))
    plain = torch.optim.SGD(cnn.parameters(), lr=0.1)
    found = verdict(cnn, images, suspect, optimizer=plain, samples=FAST)
    assert (found.culprit.direction, found.culprit.layer) == ("update", "0")
    assert found.mechanism.name == "result-rounded"


# The search.


def test_the_layers_that_are_kept_suffice_and_none_is_too_many(cnn, images):
    kept = keep_wide(cnn, images, "fp8", output=2e-2, gradient=5e-2)
    assert kept.is_within
    assert kept.all_low.output > 2e-2
    assert kept.layers
    full = compare(cnn, images, [emulated("fp8", dict.fromkeys(kept.layers))])
    assert row(full, "fp8", "(model)", "forward").total.rel_l2 == pytest.approx(kept.reached.output)
    for layer in kept.layers:
        fewer = dict.fromkeys(each for each in kept.layers if each != layer)
        from deephochuli.analysis.compare import Task, execute, executor_of
        from deephochuli.analysis.compare._search import outcome

        task = Task(model=cnn, batch=images)
        less = outcome(execute(task, emulated("fp8", fewer)), execute(task, executor_of("fp64")))
        assert not less.is_within(kept.budget)


class Mixing(nn.Module):
    """A block with a product of its own, which belongs to no layer."""

    def __init__(self, size: float):
        super().__init__()
        self.inner = nn.Linear(8, 8)
        self.mix = nn.Parameter(size * torch.randn(8, 8))

    def forward(self, x):
        return x + self.inner(x) @ self.mix


@pytest.fixture
def mixing():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), Mixing(1.0), nn.ReLU(), Mixing(1e-4), nn.Linear(8, 3))


@pytest.mark.parametrize(
    ("output", "gradient", "blocks"),
    [(1e-5, 1e-5, {"1", "3"}), (1e-5, 0.9, {"1"}), (3e-4, 0.9, set())],
)
def test_a_block_is_kept_where_its_layers_do_not_suffice(mixing, output, gradient, blocks):
    from deephochuli.analysis.compare import Task, execute, executor_of
    from deephochuli.analysis.compare._search import outcome

    batch = torch.randn(16, 6, generator=torch.Generator().manual_seed(1))
    task = Task(model=mixing, batch=batch)
    right = execute(task, executor_of("fp64"))

    def reached(layers):
        return outcome(execute(task, emulated("tf32", dict.fromkeys(layers))), right)

    kept = keep_wide(mixing, batch, "tf32", output=output, gradient=gradient)
    assert kept.is_within
    assert kept.reached.output == reached(kept.layers).output <= output
    assert {layer for layer in kept.layers if layer in ("1", "3")} == blocks
    assert not any(layer.startswith(f"{block}.") for block in blocks for layer in kept.layers)
    leaves = ("0", "1.inner", "3.inner", "4")
    assert reached(leaves).is_within(kept.budget) is (not blocks)
    for layer in kept.layers:
        fewer = [each for each in kept.layers if each != layer]
        assert not reached(fewer).is_within(kept.budget), layer


def test_nothing_is_kept_where_all_layers_stay_in_budget(cnn, images):
    kept = keep_wide(cnn, images, "bf16", output=0.5, gradient=0.9)
    assert kept.layers == ()
    assert kept.is_within


def test_an_impossible_budget_is_said_to_be_missed(cnn, images):
    kept = keep_wide(cnn, images, "bf16", output=1e-12, gradient=1e-12)
    assert not kept.is_within
    assert set(kept.layers) == {str(place) for place in range(7)}


def test_the_snippet_runs(cnn, images, tmp_path):
    kept = keep_wide(cnn, images, "fp8", output=2e-2, gradient=5e-2)
    text = kept.snippet().replace('"cuda"', '"cpu"')
    seen = []
    names = {"torch": torch, "model": cnn, "batch": images}
    for name in kept.layers:
        cnn.get_submodule(name).register_forward_hook(lambda m, i, o: seen.append(o.dtype))
    script = tmp_path / "snippet.py"
    script.write_text(text)
    after = runpy.run_path(str(script), names)
    assert after["output"].shape == (8, 5)
    assert set(seen) == {torch.float32}


def test_an_executor_of_ones_own_can_be_compared(cnn, images):
    halved = Executor(name="half the batch norm", prepare=lambda m: m[1].weight.data.mul_(0.5))
    comparison = compare(cnn, images, [halved])
    assert row(comparison, "half the batch norm", "1", "forward").local.rel_l2 > 0.1
    assert row(comparison, "half the batch norm", "3", "forward").local.rel_l2 < 1e-5


@pytest.mark.slow  # the compiler alone takes seconds to import
@pytest.mark.parametrize(("name", "n_graphs"), [("compiled=eager", 5), ("compiled-whole=eager", 1)])
def test_a_compiled_execution_is_compiled(cnn, images, name, n_graphs):
    from torch._dynamo.utils import counters

    model = nn.Sequential(*cnn[:4], nn.Dropout(0.5), *cnn[5:]) if n_graphs > 1 else cnn
    torch._dynamo.reset()
    counters.clear()
    comparison = compare(model, images, [name], loss=lambda output: output.square().mean())
    assert counters["stats"]["unique_graphs"] >= n_graphs  # nothing is left to the interpreter
    assert not counters["graph_break"]
    found = row(comparison, name, "(model)", "forward")
    assert found.total.rel_l2 < 1e-6  # dropout drops what it drops in the reference
    assert row(comparison, name, "0", "gradient", "weight").total.rel_l2 < 1e-5


def test_an_export_is_compared_as_a_whole(cnn, images):
    pytest.importorskip("onnxruntime")
    comparison = compare(cnn.eval(), images, ["onnx", "fp32"])
    found = row(comparison, "onnx", "(model)", "forward")
    assert 0 < found.total.rel_l2 < 1e-6
    assert found.local.rms == pytest.approx(found.total.rms)
    assert not any(each.layer == "3" for each in comparison.of("onnx"))


def test_noise_is_the_same_in_every_execution():
    class Noisy(nn.Module):
        def forward(self, x):
            noise = torch.randn_like(x) + torch.empty_like(x).uniform_() + torch.rand(x.shape)
            return (
                x + noise + torch.bernoulli(torch.full_like(x, 0.5)) + torch.empty_like(x).normal_()
            )

    comparison = compare(Noisy(), torch.randn(50, 4), ["fp32", "bf16"])
    assert row(comparison, "fp32", "(model)", "forward").total.rel_l2 < 1e-6
    assert row(comparison, "bf16", "(model)", "forward").total.rel_l2 < 1e-2


def test_an_input_that_two_layers_share_has_a_gradient_for_each():
    class Fork(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.left, self.right = (nn.Linear(4, 4) for _ in range(3))

        def forward(self, x):
            x = self.first(x)
            return self.left(x) + self.right(x)

    torch.manual_seed(0)
    comparison = compare(Fork(), torch.randn(3, 4), ["fp32"])
    for layer in ("left", "right"):
        assert row(comparison, "fp32", layer, "backward").local.rel_l2 < 1e-6


def test_a_floor_is_the_worst_of_its_samples():
    from deephochuli.analysis.compare._floor import Floor
    from deephochuli.analysis.compare._judge import Judgement

    floor, key = Floor(24), (("a", 0), "forward")
    for size in (1.0, 3.0, 2.0):
        error = error_of(torch.tensor([size]), torch.tensor([0.0]))
        floor.include(Judgement("sample", local={key: error}))
    assert floor.rms[key] == floor.max_abs[key] == 3.0


@pytest.mark.parametrize("needed", [{"b"}, {"a", "f"}, {"c", "d", "h"}, set("abcdefgh")])
def test_the_search_gives_up_all_that_is_not_needed(needed):
    from deephochuli.analysis.compare._search import Outcome, _Search
    from deephochuli.analysis.compare._trace import Trace
    from deephochuli.arithmetic import get_arithmetic

    task = None
    search = _Search(task, Trace("any"), get_arithmetic("bf16"), Outcome(1, 1), 1000)
    search._holds = lambda kept: needed <= set(kept)
    assert set(search.smallest(list("abcdefgh"), ["p"])) == needed


@pytest.mark.parametrize(
    "needed",
    [
        {"p"},
        {"q", "c"},
        {"p.r", "c"},
        {"p.r", "q.b"},
        {"p", "q", "c"},
        {"p.a", "c"},
        {"p.r.d", "q"},
    ],
)
def test_the_search_keeps_no_more_blocks_than_are_needed(needed):
    from deephochuli.analysis.compare._search import Outcome, _Search
    from deephochuli.analysis.compare._trace import Trace
    from deephochuli.arithmetic import get_arithmetic

    search = _Search(None, Trace("any"), get_arithmetic("bf16"), Outcome(1, 1), 1000)
    search._holds = lambda kept: all(
        any(path == each or path.startswith(f"{each}.") for each in kept) for path in needed
    )
    found = search.smallest(["p.a", "p.r.d", "q.b", "c"], ["p", "q", "p.r"])
    assert set(found) == needed
    assert len(found) == len(needed)


def test_where_nothing_suffices_everything_is_kept_once():
    from deephochuli.analysis.compare._search import Outcome, _Search
    from deephochuli.analysis.compare._trace import Trace
    from deephochuli.arithmetic import get_arithmetic

    search = _Search(None, Trace("any"), get_arithmetic("bf16"), Outcome(1, 1), 1000)
    search._holds = lambda kept: False
    assert search.smallest(["p.a", "c"], ["p"]) == ("c", "p")
