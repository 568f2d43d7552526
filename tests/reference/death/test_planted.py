"""At least 100 planted units a kind: each analysis finds its own kind and nothing else."""

from collections import Counter

import pytest
import torch
from torch import nn

from deephochuli.analysis.death import FATES, LayerUnits, death
from deephochuli.studies._reference_net import BATCH, digits, trained_reference_net
from tests.reference.death import planted as build

N_EACH = 100
ROUNDING = ("by rounding", "by inherited rounding", "numerically alive")
FROZEN = ("frozen by absorption", "frozen by underflow", "frozen by death", "some updates swamped")


def layer_of(found, name: str) -> LayerUnits:
    return next(layer for layer in found.layers if layer.layer == name)


def confusion(layer: LayerUnits, fates: list[str], kinds: tuple[str, ...]) -> Counter:
    """How often a planted kind was called what; units of several kinds are called all of them."""
    named = [kind for kind in kinds if kind in FATES]
    flags = {kind: layer.which(kind) for kind in named}
    called = [
        " and ".join(kind for kind in named if flags[kind][unit]) or kinds[0]
        for unit in range(layer.n_units)
    ]
    return Counter(zip(fates, called, strict=True))


def diagonal(table: Counter, kind: str) -> float:
    return table[kind, kind] / sum(n for (truth, _), n in table.items() if truth == kind)


@pytest.mark.parametrize("arithmetic", ["fp16-pure", torch.float16])
def test_deaths_have_the_cause_that_was_planted(arithmetic):
    case = build.deaths(N_EACH, seed=1)
    found = death(case.model, case.data, arithmetic)
    kinds = (*build.DEATHS, "by inherited rounding", "numerically alive")
    table = confusion(layer_of(found, case.layer), case.fates, kinds)
    assert [diagonal(table, kind) for kind in build.DEATHS] == [1.0] * 4, table


@pytest.mark.parametrize("arithmetic", ["bf16-pure", torch.bfloat16])
def test_what_the_layers_before_lost_is_inherited(arithmetic):
    case = build.inherited(N_EACH, seed=2)
    found = death(case.model, case.data, arithmetic)
    kinds = ("alive", "by inherited rounding", *build.DEATHS[1:])
    table = confusion(layer_of(found, case.layer), case.fates, kinds)
    assert [diagonal(table, kind) for kind in kinds[:2]] == [1.0] * 2, table


@pytest.mark.parametrize("arithmetic", ["fp16-pure", torch.float16])
def test_units_freeze_for_the_reason_that_was_planted(arithmetic):
    case = build.updates(N_EACH, seed=3)
    sgd = torch.optim.SGD(case.model.parameters(), lr=build.RATE)
    found = death(case.model, case.data, arithmetic, loss=build.mean_output, optimizer=sgd)
    table = confusion(layer_of(found, case.layer), case.fates, (*build.MOVES, "frozen by death"))
    assert [diagonal(table, kind) for kind in build.MOVES] == [1.0] * 4, table


def wide(arithmetic: str):
    """The three planted nets, judged in a wide format: moved, dead, inherited."""
    moving, dying, heirs = (
        build.updates(N_EACH, 3),
        build.deaths(N_EACH, 1),
        build.inherited(N_EACH, 2),
    )
    sgd = torch.optim.SGD(moving.model.parameters(), lr=build.RATE)
    loss = build.mean_output
    moved = death(moving.model, moving.data, arithmetic, loss=loss, optimizer=sgd)
    judged = [death(each.model, each.data, arithmetic) for each in (dying, heirs)]
    return moving.fates, moved, *judged


def test_fp64_shows_none_of_it():
    _, moved, dead, heir = wide("fp64")
    for found in (moved, dead, heir):
        assert [found.count(fate) for fate in (*ROUNDING, *FROZEN)] == [0] * 7
    assert [dead.count(fate) for fate in ("by bias", "by data")] == [N_EACH] * 2


def test_fp32_absorbs_what_underflowed_in_fp16():
    fates, moved, dead, heir = wide("fp32")
    assert [found.count(fate) for found in (moved, dead, heir) for fate in ROUNDING] == [0] * 9
    absorbed = layer_of(moved, "0").frozen_by_absorption.tolist()
    assert absorbed == [fate == "frozen by underflow" for fate in fates]


def test_a_unit_that_rounding_killed_is_frozen_by_its_death():
    case = build.deaths(N_EACH, seed=1)
    model = nn.Sequential(*case.model, nn.Linear(len(case.fates), 1, bias=False))
    nn.init.constant_(model[2].weight, 1.0)
    sgd = torch.optim.SGD(model.parameters(), lr=2.0**-4)
    found = death(model, case.data, "fp16-pure", loss=lambda y, _: y.sum(), optimizer=sgd)
    layer = layer_of(found, case.layer)
    assert layer.frozen_by_death.tolist() == [fate == "by rounding" for fate in case.fates]
    assert not layer.frozen_by_underflow.any()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_planted_kinds_over_seeds(seed):
    case = build.deaths(3 * N_EACH, seed)
    table = confusion(
        layer_of(death(case.model, case.data, "fp16-pure"), case.layer), case.fates, build.DEATHS
    )
    assert min(diagonal(table, kind) for kind in build.DEATHS) >= 0.95, table
    case = build.updates(3 * N_EACH, seed)
    sgd = torch.optim.SGD(case.model.parameters(), lr=build.RATE)
    found = death(case.model, case.data, "fp16-pure", loss=build.mean_output, optimizer=sgd)
    table = confusion(layer_of(found, case.layer), case.fates, build.MOVES)
    assert min(diagonal(table, kind) for kind in build.MOVES) >= 0.95, table


@pytest.mark.slow
def test_a_trained_net_in_fp64_shows_nothing():
    images, labels, _, _ = digits()
    data = list(zip(images.split(BATCH), labels.split(BATCH), strict=True))[:8]
    for seed in range(3):
        model = trained_reference_net(seed=seed)
        sgd = torch.optim.SGD(model.parameters(), lr=0.05)
        loss = nn.functional.cross_entropy
        found = death(model, data, "fp64", loss=loss, optimizer=sgd)
        assert [found.count(fate) for fate in (*ROUNDING, *FROZEN[:3])] == [0] * 6
