"""What a unit is, what feeds it, and what cannot be judged."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deephochuli.analysis._batches import batches_of
from deephochuli.analysis.death import death, near_dead
from deephochuli.errors import ArithmeticSpecError, CompareError


class Residual(nn.Module):
    """A convolution with normalisation, a residual block, a shared layer, a strange one."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.side = nn.Conv2d(4, 4, 1)
        self.back = nn.ConvTranspose2d(4, 3, 1)
        self.shared = nn.Linear(3, 3)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        a = F.relu(self.norm(self.conv(x)))
        b = torch.relu_(self.side(a) + self.norm(a))
        c = self.act(self.back(b)).mean((2, 3))
        return self.shared(c).clamp_min(0) + self.act(self.shared(c))


@pytest.fixture
def residual() -> Residual:
    torch.manual_seed(0)
    return Residual().eval()


def wirings(model: nn.Module, x: Tensor):
    return [layer.shadow.wiring for layer in death(model, x, "fp32").layers]


def test_parameters_that_feed_a_unit_are_read_from_the_graph(residual):
    found = wirings(residual, torch.randn(2, 1, 4, 4))
    assert [(each.layer, each.dim, each.n_units) for each in found] == [
        ("conv", 1, 4),
        ("side", 1, 4),
        ("back", 1, 3),
        ("shared", 1, 3),
        ("shared#2", 1, 3),
    ]
    assert set(found[0].weights) == {"norm.weight", "norm.bias", "conv.weight"}
    assert set(found[1].weights) == {"side.weight", "side.bias", "norm.weight", "norm.bias"}
    assert found[2].weights == ("back.bias",)  # its weight has a column a unit, not a row
    assert (found[0].bias, found[2].bias) == ("norm.bias", "back.bias")


def test_features_of_sequences_are_units():
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU())
    (found,) = wirings(model, torch.randn(2, 7, 3))
    assert (found.dim, found.n_units, found.weights) == (2, 5, ("0.bias", "0.weight"))


def test_the_model_is_not_touched(residual):
    torch.manual_seed(3)
    before, state = torch.get_rng_state(), {k: v.clone() for k, v in residual.state_dict().items()}
    sgd = torch.optim.SGD(residual.parameters(), lr=0.1, momentum=0.9)
    data = [(torch.randn(2, 1, 4, 4), torch.randint(3, (2,)))]
    torch.manual_seed(3)
    death(residual.train(), data, "bf16-pure", loss=F.cross_entropy, optimizer=sgd)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(state[k], v) for k, v in residual.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in residual.parameters())
    assert not sgd.state


def test_dormant_is_a_score_and_dead_is_not():
    model = nn.Sequential(nn.Linear(1, 4, bias=False), nn.ReLU())
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0], [1.0], [0.01], [-1.0]]))
    (layer,) = death(model, torch.ones(2, 1), "fp32").layers
    assert layer.score.tolist() == pytest.approx([4 / 2.01, 4 / 2.01, 0.04 / 2.01, 0])
    assert layer.dormant.tolist() == [False, False, True, True]
    assert layer.dormant_alive.tolist() == [False, False, True, False]


def test_parameters_that_no_optimizer_moves_are_not_frozen():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2), nn.ReLU())
    sgd = torch.optim.SGD(
        [{"params": model[0].parameters(), "lr": 0.0}, *[{"params": [model[2].weight]}]], lr=1e-12
    )
    data = [(torch.rand(4, 2) + 1, None)]
    first, second = death(model, data, "fp32", loss=lambda y, _: y.sum(), optimizer=sgd).layers
    assert first.window.n_weights.tolist() == [0] * 3
    assert second.window.n_weights.tolist() == [3] * 2


def test_sheets_and_text_say_the_same_counts():
    model = nn.Sequential(nn.Linear(1, 2, bias=False), nn.ReLU())
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[2.0**-20], [-1.0]]))
    found = death(model, torch.tensor([[2.0**-10]]), "fp16-pure")
    sheet = found.sheet()
    assert "1 are dead in binary64 too" in sheet.answer
    assert "1 are dead by rounding" in sheet.answer
    assert [finding.kind for finding in sheet.findings] == ["dead-by-data", "dead-by-rounding"]
    assert [row[1] for row in sheet.tables[1].rows] == [0, 1]
    assert str(found).splitlines()[-1].split()[:3] == ["all", "2", "1"]
    assert len(found.table()) == 2


def test_the_text_keeps_every_word_of_a_heading_and_every_layer_name():
    first, second = nn.Linear(2, 3), nn.Linear(3, 2)
    name = "a_layer_with_a_name_that_is_longer_than_most"
    model = nn.Sequential(first, nn.ReLU())
    model.add_module(name, second)
    model.append(nn.ReLU())
    data = [(torch.rand(4, 2) + 1, None)]
    sgd = torch.optim.SGD(model.parameters(), lr=1e-12)
    followed = str(death(model, data, "fp32", loss=lambda y, _: y.sum(), optimizer=sgd))
    assert {"inherited", "numerically", "absorption", "swamped", "dormant,"} <= {*followed.split()}
    assert name in followed
    assert len({len(line) for line in followed.splitlines()}) == 1
    assert max(map(len, str(death(model, data, "fp32")).splitlines())) < 110
    assert "absorption" not in str(death(model, data, "fp32"))  # no step was followed


def test_a_healthy_model_has_no_findings():
    model = nn.Sequential(nn.Linear(1, 2, bias=False), nn.ReLU())
    nn.init.ones_(model[0].weight)
    found = death(model, torch.ones(2, 1), "fp32")
    assert found.findings == ()
    assert found.sheet().tables[1].rows == ()


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"arithmetic": "bf16-pur"}, ArithmeticSpecError, "bf16-pure"),
        ({"arithmetic": "split=2"}, ArithmeticSpecError, "in one piece"),
        ({"data": []}, CompareError, "empty list"),
        ({"data": 3}, CompareError, "Data of type int"),
        ({"data": [(1, 2, 3)]}, CompareError, "inputs, target"),
        ({"tau": 2.0}, CompareError, "tau=2.0"),
        ({"steps": 3}, CompareError, "without an optimizer"),
        ({"model": nn.Sequential(nn.Linear(1, 1), nn.GELU())}, CompareError, "no rectifier"),
        ({"model": nn.Sequential(nn.ReLU())}, CompareError, "no parameters"),
    ],
)
def test_what_cannot_be_judged_is_said(arguments, error, says):
    model = arguments.pop("model", nn.Sequential(nn.Linear(1, 1), nn.ReLU()))
    data = arguments.pop("data", torch.ones(1, 1))
    with pytest.raises(error, match=says):
        death(model, data, **arguments)


def test_steps_need_a_loss():
    model = nn.Sequential(nn.Linear(1, 1), nn.ReLU())
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(CompareError, match="Give one of output and target"):
        death(model, torch.ones(1, 1), "fp32", optimizer=sgd)
    with pytest.raises(CompareError, match="steps=0"):
        death(model, torch.ones(1, 1), "fp32", optimizer=sgd, steps=0)


def test_a_model_that_calls_more_rectifiers_later_is_refused():
    class Moody(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(1, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = F.relu(self.linear(x))
            return F.relu(x) if len(x) > 1 else x

    with pytest.raises(CompareError, match="more rectifiers"):
        death(Moody(), [torch.ones(1, 1), torch.ones(2, 1)], "fp32")


def test_data_have_several_forms():
    x, y = torch.zeros(4, 3), torch.zeros(4)
    loader = torch.utils.data.DataLoader(list(zip(x, y, strict=True)), batch_size=2)
    assert [len(batches_of(each)) for each in (x, {"x": x}, (x, y), [x, x], loader)] == [
        1, 1, 1, 2, 2,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arithmetic", "precision"), [("bf16-pure", 8), ("fp16-pure", 11), ("fp32", 24), ("fp64", 53)]
)
def test_near_dead_units_are_a_few_gaps_from_life(arithmetic, precision):
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU())
    x = torch.rand(16, 4)
    with torch.no_grad():
        model[0].bias.fill_(0.5)
        model[2].bias.fill_(0.5)
    start = near_dead(model, x, {"0": [1, 3], "2": [0]}, arithmetic)
    for layer, units in zip(death(start, x, arithmetic).layers, ([1, 3], [0]), strict=True):
        assert all(layer.dead[units] & layer.structural[units])
        assert all(layer.shadow.exact[units] > -8 * 2.0**-precision)


def test_near_dead_knows_its_layers():
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.ReLU(), nn.Linear(1, 1), nn.ReLU())
    for layer in ("0", "3"):
        with pytest.raises(CompareError, match=r"'2'|Known names: 2"):
            near_dead(model, torch.ones(1, 1), {layer: [0]})
