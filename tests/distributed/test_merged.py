"""Several ranks together see what one process sees, integer for integer."""

import numpy as np
import pytest

from deephochuli import open_run
from tests.distributed import scenarios
from tests.distributed.launch import launch

pytestmark = pytest.mark.distributed

WAYS = {2: ("ddp", "fsdp", "tp"), 4: ("ddp", "fsdp", "tp", "fsdp-tp")}
CASES = [(n, way) for n, ways in WAYS.items() for way in ways]
N_SHARDS = {"ddp": lambda n: n, "fsdp": lambda n: n, "tp": lambda n: 1, "fsdp-tp": lambda n: n // 2}
COUNTED = ("n", "n_zero", "n_subnormal", "n_inf", "n_nan", "n_updatable", "n_unmoved", "calls")
MOMENTS = ("sum", "sum_sq", "min_abs", "max_abs")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder for each number of ranks in which they have trained in all ways."""
    folders = {}
    for n_ranks, ways in WAYS.items():
        folders[n_ranks] = tmp_path_factory.mktemp("ranks") / str(n_ranks)
        launch(scenarios.trains_with_and_without, n_ranks, folders[n_ranks], *ways)
    return folders


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Runs of one process with the data of one, two and four ranks."""
    folder = tmp_path_factory.mktemp("alone")
    return {
        n: (open_run(folder / str(n)), model)
        for n in (1, 2, 4)
        if (model := scenarios.train_alone(n, folder / str(n)))
    }


def rows(run):
    """Everything that a run says of each tap in each step."""
    records = run.records(("key", "count", "ratio", "ratio_count", "positive", "zero"))
    found = {}
    for row in range(len(records)):
        tap = run.taps()[records.tap[row]]
        place = (tap.layer, tap.quantity, int(records.step_first[row]))
        lists = {name: column[row] for name, column in records.lists.items()}
        numbers = {name: records.numbers[name][row] for name in (*COUNTED, *MOMENTS)}
        found[place] = lists | numbers
    return found


@pytest.mark.parametrize(("n_ranks", "way"), CASES)
def test_the_merged_run_equals_that_of_one_process(trained, alone, n_ranks, way):
    merged = rows(open_run(trained[n_ranks] / way))
    single = rows(alone[N_SHARDS[way](n_ranks)][0])
    assert set(merged) == set(single)
    for place, expected in single.items():
        found = merged[place]
        for name, value in expected.items():
            if way in ("tp", "fsdp-tp") and name in ("positive", "zero") and place[0] == "relu":
                assert found[name] is None, (place, name)
            else:
                np.testing.assert_array_equal(found[name], value, err_msg=f"{place} {name}")


@pytest.mark.parametrize(("n_ranks", "way"), CASES)
def test_steps_are_merged_too(trained, alone, n_ranks, way):
    run, single = open_run(trained[n_ranks] / way), alone[N_SHARDS[way](n_ranks)][0]
    for name in ("step", "n_micro_batches", "lr", "skipped"):
        np.testing.assert_array_equal(run.steps[name], single.steps[name], err_msg=name)
    each = [rank.steps["loss"] for rank in run.ranks]
    np.testing.assert_allclose(run.steps["loss"], np.mean(each, axis=0), rtol=1e-15)
    assert run.finished
    assert [rank.manifest.rank.rank for rank in run.ranks] == list(range(n_ranks))


@pytest.mark.parametrize(("n_ranks", "way"), CASES)
def test_training_is_the_same_with_and_without_a_recording(trained, alone, n_ranks, way):
    weights = list(map(np.asarray, scenarios.whole_weights(alone[N_SHARDS[way](n_ranks)][1])))
    for rank in range(n_ranks):
        with np.load(trained[n_ranks] / f"{way}-recorded-{rank}.npz") as recorded:
            seen = [recorded[name] for name in recorded.files]
        with np.load(trained[n_ranks] / f"{way}-plain-{rank}.npz") as plain:
            unseen = [plain[name] for name in plain.files]
        assert [each.tobytes() for each in seen] == [each.tobytes() for each in unseen]
        assert [each.tobytes() for each in seen[1:]] == [each.tobytes() for each in weights]
