"""Sketches merge over ranks while these run, integer for integer."""

import pytest

import deephochuli as dh
from tests.distributed import scenarios
from tests.distributed.launch import launch

pytestmark = pytest.mark.distributed


@pytest.mark.parametrize("n_ranks", [2, 4])
def test_sketches_of_ranks_are_those_of_all_numbers(tmp_path, n_ranks):
    launch(scenarios.reduces_sketches, n_ranks, tmp_path / "x")
    assert len(list((tmp_path / "x").glob("done-*"))) == n_ranks


def test_a_group_is_never_guessed():
    with pytest.raises(dh.SketchError, match="over a group that is given"):
        dh.all_reduce_sketches({}, None)
