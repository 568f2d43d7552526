"""Deaths and revivals over a training, and that the training does not notice."""

import pytest
import torch
from torch import nn

from deephochuli.analysis.death import Lifelines
from deephochuli.errors import CompareError


def trained(*, is_watched: bool):
    """Weights, momenta, buffers and random numbers after a training with dropout."""
    torch.manual_seed(5)
    model = nn.Sequential(
        nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 2)
    )
    sgd = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    x, y = torch.randn(16, 3), torch.randint(2, (16,))
    lifelines = Lifelines(model, [(x, y)], "bf16-pure")
    for step in range(4):
        sgd.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        if is_watched:
            lifelines.look(step)
        sgd.step()
    kept = [*model.state_dict().values(), *(p.grad for p in model.parameters())]
    return [*kept, *(s["momentum_buffer"] for s in sgd.state.values()), torch.rand(3)]


def test_the_training_is_the_same_to_the_bit():
    watched, plain = trained(is_watched=True), trained(is_watched=False)
    assert all(torch.equal(a, b) for a, b in zip(watched, plain, strict=True))


def test_deaths_and_revivals_bear_their_step_and_cause():
    model = nn.Sequential(nn.Linear(1, 2), nn.ReLU())
    lifelines = Lifelines(model, torch.tensor([[2.0**-10]]), "fp16-pure")
    story = [(1.0, 0.0), (2.0**-20, 0.0), (2.0**-20, -1.0), (1.0, 0.0), (-1.0, 0.0)]
    for step, (weight, bias) in enumerate(story):
        with torch.no_grad():
            model[0].weight.copy_(torch.tensor([[weight], [1.0]]))
            model[0].bias.copy_(torch.tensor([bias, 0.0]))
        lifelines.look(10 * step)
    lives = lifelines.lives()
    assert [(e.step, e.unit, e.what, e.cause) for e in lives.events] == [
        (10, 0, "death", "by rounding"),
        (30, 0, "revival", "by bias"),
        (40, 0, "death", "by data"),
    ]
    assert lives.n_dead("by rounding") == (0, 1, 0, 0, 0)
    sheet = lives.sheet()
    assert "2 deaths and 1 revivals" in sheet.answer
    assert len(sheet.tables[0].rows) == 3
    assert [series.name for series in sheet.figures[0].series] == [
        "by data", "by bias", "by rounding",
    ]  # fmt: skip


def test_looks_go_forward():
    lifelines = Lifelines(nn.Sequential(nn.Linear(1, 1), nn.ReLU()), torch.ones(1, 1), "fp32")
    with pytest.raises(CompareError, match="Nothing was looked at"):
        lifelines.lives()
    lifelines.look(3)
    with pytest.raises(CompareError, match="step 3 after step 3"):
        lifelines.look(3)
