"""A change planted in one layer at one step is found in that layer and at that step."""

import random

import pytest
import torch

from deephochuli.analysis.parting import RunPair, diff
from tests.reference.parting.planted import (
    N_LAYERS,
    N_STEPS,
    SIZES,
    Plant,
    Training,
    one_weight,
    precision,
    rate,
    reseed,
    train,
)

KINDS = ("weight", "rate", "precision", "seed")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return train(tmp_path_factory.mktemp("runs") / "reference")


def planted(kind: str, chance: random.Random) -> tuple[Plant, int]:
    """What is changed, and in which layer."""
    layer = chance.randrange(N_LAYERS)
    if kind == "weight":
        row, column = chance.randrange(SIZES[layer + 1]), chance.randrange(SIZES[layer])
        return one_weight(layer, row, column), layer
    if kind == "seed":
        return reseed, 0
    return (rate if kind == "rate" else precision)(layer), layer


def names_layer(pair: RunPair, kind: str, layer: int) -> bool:
    """Whether the answer points at the layer that was changed, and at no other."""
    first = pair.first
    if first is None:
        return False
    if first.direction == "parameters":
        return {tap.layer.partition(".")[0] for tap in pair.first_places} == {f"fc{layer}"}
    if kind == "seed" and first.layer != "relu0":  # other inputs are first seen there
        return False
    return {name.partition(".")[0] for name in pair.between} == {f"fc{layer}"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_planted_change_is_named(kind, reference, tmp_path):
    plant, layer = planted(kind, random.Random(kind))
    pair = diff([reference, train(tmp_path / "changed", plant=plant, at=9)]).pairs[0]
    assert pair.first.first_step == 9
    assert pair.first.last_equal == 8
    assert names_layer(pair, kind, layer)
    assert pair.verdict != "equal"


def test_equal_runs_part_nowhere(reference, tmp_path):
    found = diff([reference, train(tmp_path / "again")])
    assert found.pairs[0].verdict == "equal"
    assert not found.findings
    assert all(not any(tap.distances) for tap in found.pairs[0].taps)


@pytest.mark.slow
def test_of_a_hundred_planted_changes_at_least_95_are_named(reference, tmp_path):
    chance = random.Random(21)
    wrong = []
    for case in range(100):
        kind, at = KINDS[case % len(KINDS)], chance.randrange(1, N_STEPS)
        plant, layer = planted(kind, chance)
        pair = diff([reference, train(tmp_path / f"{case}", plant=plant, at=at)]).pairs[0]
        step = None if pair.first is None else pair.first.first_step
        if step != at or not names_layer(pair, kind, layer):
            wrong.append((kind, at, layer, step, pair.first and pair.first.layer))
    print(f"{100 - len(wrong)} of 100 named; wrong: {wrong}")
    assert len(wrong) <= 5


@pytest.mark.slow
def test_runs_that_differ_by_chance_alone_are_seldom_beyond_it(tmp_path):
    """Seeds of one configuration, each beside one other replicate."""
    runs = [train(tmp_path / f"{seed}", seed=seed) for seed in range(6)]
    pairs = [
        pair
        for first in range(6)
        for second in range(1, 4)
        for pair in diff([runs[first], runs[(first + second) % 6], runs[(first + 4) % 6]]).pairs
        if pair.other != runs[(first + 4) % 6].name or second == 1
    ]
    assert all(pair.replicates for pair in pairs)
    n_beyond = sum(pair.verdict == "beyond" for pair in pairs)
    print(f"{n_beyond} of {len(pairs)} pairs of replicates called beyond the ordinary")
    assert n_beyond <= 0.05 * len(pairs)


@pytest.mark.slow
def test_the_last_bits_of_a_weight_part_runs_within_the_ordinary(reference, tmp_path):
    def nudge(training: Training) -> None:
        with torch.no_grad():
            training.layer(1).weight.mul_(1 + 2**-22)

    pair = diff([reference, train(tmp_path / "nudged", plant=nudge, at=3)]).pairs[0]
    assert (pair.verdict, pair.first.first_step) == ("bits", 3)
