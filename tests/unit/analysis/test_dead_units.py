"""Dead, dormant and revived channels, from planted histories."""

import torch

from deephochuli.analysis import findings
from deephochuli.analysis.dead_units import lives
from runs import tap, write_run


def history(*windows):
    """Pre-activations [1000, channels] with a given number of positive ones per channel."""
    tensors = []
    for counts in windows:
        z = -torch.ones(1000, len(counts))
        for channel, count in enumerate(counts):
            z[:count, channel] = 1.0
        tensors.append([tap("relu", "z", z)])
    return tensors


def test_death_revival_and_dormancy(tmp_path):
    run = write_run(
        tmp_path / "run",
        history((500, 500, 500, 9), (500, 0, 0, 9), (500, 0, 500, 9), (500, 0, 500, 9)),
    )
    (life,) = lives(run)
    assert life.dead.tolist() == [False, True, False, False]
    assert life.death_step.tolist() == [-1, 1, -1, -1]
    assert life.n_revived == 1
    assert life.changes == [(1, 1, True), (1, 2, True), (2, 2, False)]
    assert life.dormant.tolist() == [False, False, False, False]


def test_dormant_is_a_fortieth_of_the_average(tmp_path):
    run = write_run(tmp_path / "run", history((1000, 1000, 1000, 10)))
    (life,) = lives(run)
    assert life.dormant.tolist() == [False, False, False, True]  # 10 < 0.025 * 752.5


def test_zero_is_not_positive(tmp_path):
    run = write_run(tmp_path / "run", [[tap("relu", "z", torch.zeros(8, 2))]])
    (life,) = lives(run)
    assert life.dead.all()


def test_layer_is_reported_from_a_tenth_dead(tmp_path):
    alive = history((5,) * 19 + (0,))
    dying = history((5,) * 18 + (0, 0))
    assert findings(write_run(tmp_path / "alive", alive)) == []
    (found,) = findings(write_run(tmp_path / "dying", dying))
    assert (found.kind, found.level, found.score) == ("dead-channels", "warning", 0.1)
