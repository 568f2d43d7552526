"""Gradients are reduced as without a look at them, and what is seen is what happened."""

import numpy as np
import pytest

import deephochuli as dh
from deephochuli.analysis.reduction import read_reductions
from tests.distributed import scenarios
from tests.distributed.launch import launch

pytestmark = pytest.mark.distributed


@pytest.fixture(
    scope="module",
    params=[(3, "float32", ""), (2, "bfloat16", ""), (3, "float32", "fp16")],
    ids=lambda case: "-".join(map(str, case)),
)
def reduced(request, tmp_path_factory):
    """A folder in which ranks have trained; how many there are; the format that was reduced in."""
    n_ranks, dtype, hook = request.param
    folder = tmp_path_factory.mktemp("reduced") / "x"
    launch(scenarios.reduces, n_ranks, folder, dtype, hook)
    return folder, n_ranks, hook or {"bfloat16": "bf16", "float32": "fp32"}[dtype]


def gradients(folder, name):
    with np.load(folder / name) as file:
        return [file[each] for each in file.files]


def test_gradients_are_those_of_ddp_to_the_bit(reduced):
    folder, n_ranks, _ = reduced
    for rank in range(n_ranks):
        watched = gradients(folder, f"watched-{rank}.npz")
        plain = gradients(folder, f"plain-{rank}.npz")
        assert [step.tobytes() for step in watched] == [step.tobytes() for step in plain]


def test_what_came_back_is_what_the_optimizer_got(reduced):
    folder, n_ranks, _ = reduced
    steps = read_reductions(folder / "run")
    assert [each.step for each in steps] == [0, 2, 4]
    for rank in range(n_ranks):
        trained = gradients(folder, f"watched-{rank}.npz")
        for each in steps:  # fewer elements than are looked at: all of them, in another order
            assert sorted(each.after[rank]) == sorted(trained[each.step])


def test_the_answer_is_that_of_float_arithmetic(reduced):
    folder, n_ranks, fmt = reduced
    answer = dh.reduction(folder / "run")
    assert (answer.n_ranks, answer.steps, answer.n_unlike) == (n_ranks, (0, 2, 4), 0)
    assert answer.total.fmt == fmt
    unit = {"bf16": 2.0**-8, "fp16": 2.0**-11, "fp32": 2.0**-24}[fmt]
    before, after = (
        np.concatenate([getattr(each, name) for each in read_reductions(folder / "run")], axis=1)
        for name in ("before", "after")
    )
    mean = before.mean(axis=0)  # in binary64, where three numbers lose next to nothing
    used = (before != 0).any(axis=0)
    errors = np.abs(after[0] - mean)[used] / np.abs(mean)[used] / unit
    np.testing.assert_allclose(answer.total.error, np.median(errors), rtol=1e-6)
    assert answer.total.n == used.sum()
    assert 0 < answer.total.error < 4
