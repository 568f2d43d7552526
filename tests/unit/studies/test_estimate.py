"""What a plan will cost, before it starts and after some of it was measured."""

import itertools
import json

import pytest

from deephochuli.studies import Ledger, Local, PointCache, estimate, run_studies
from deephochuli.studies._estimate import makespan
from tests.unit.studies.toy import STUDY


def test_a_new_plan_costs_what_the_study_guesses(tmp_path):
    left = estimate([STUDY], PointCache(tmp_path), Ledger())
    (cost,) = left.studies
    assert (cost.study, cost.n_points, cost.n_known, cost.n_timed) == ("toy", 12, 0, 0)
    assert cost.points == tuple(1.0 + n for n in range(12))
    assert left.seconds == 78.0
    assert (left.elapsed(1), left.elapsed(2), left.elapsed(100)) == (78.0, 39.0, 12.0)


def test_known_points_cost_nothing_and_teach_what_others_cost(tmp_path):
    path = tmp_path / "seconds.jsonl"
    cache, ledger = PointCache(tmp_path / "points"), Ledger(path)
    run_studies([STUDY], cache, quick=True, engine=Local(1), ledger=ledger)
    seconds = [json.loads(line)["seconds"] for line in path.read_text().splitlines()]
    assert len(seconds) == 3
    rate = sum(seconds) / (1 + 2 + 3)
    (cost,) = estimate([STUDY], cache, Ledger(path)).studies
    assert (cost.n_points, cost.n_known, cost.n_timed) == (12, 3, 3)
    assert cost.points == pytest.approx([rate * (1 + n) for n in range(3, 12)], rel=1e-12)


def test_costs_lie_beside_the_results_and_not_among_them(tmp_path):
    cache = PointCache(tmp_path / "points")
    run_studies([STUDY], cache, quick=True, engine=Local(1), ledger=Ledger(tmp_path / "l"))
    assert {path.suffix for path in cache.folder.rglob("*") if path.is_file()} == {".json"}


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[" * 100_000,
        "7",
        '{"study": "toy@1"}',
        '{"study": "toy@1", "weight": 0, "seconds": 3}',
        '{"study": "toy@1", "weight": NaN, "seconds": 3}',
        '{"study": "toy@1", "weight": 1, "seconds": -3}',
        '{"study": "toy@2", "weight": 1, "seconds": 3}',
        '{"study": ["toy@1"], "weight": 1, "seconds": 3}',
        "\udcff",
    ],
)
def test_a_line_that_says_nothing_about_the_study_is_passed_over(tmp_path, line):
    path = tmp_path / "seconds.jsonl"
    good = '{"study": "toy@1", "weight": 2, "seconds": 8}'
    path.write_text(f"{good}\n{line}\n", errors="surrogateescape")
    ledger = Ledger(path)
    assert ledger.n_timed(STUDY) == 1
    assert ledger.expected(STUDY, {"n": 4}) == 20.0


def test_the_time_that_passes_is_near_the_best_of_all_assignments():
    """Graham's bound against every assignment of seven points to three workers."""
    seconds = [5.0, 4.0, 4.0, 3.0, 3.0, 2.5, 1.0]
    best = min(
        max(sum(s for s, w in zip(seconds, workers, strict=True) if w == k) for k in range(3))
        for workers in itertools.product(range(3), repeat=len(seconds))
    )
    assert best <= makespan(seconds, 3) <= best * (4 / 3 - 1 / 9)
    assert makespan([], 3) == 0.0
