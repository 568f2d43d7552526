"""Rules on several ranks: what one of them asks for, all do at the same step."""

import json

import pytest

import deephochuli as dh
from tests.distributed import rules
from tests.distributed.launch import launch

pytestmark = pytest.mark.distributed


def test_ranks_stop_at_the_same_step_though_only_one_has_a_reason(tmp_path):
    folder = tmp_path / "x"
    launch(rules.stops_together, 2, folder)
    for rank in range(2):
        decisions = json.loads((folder / f"decisions-{rank}.json").read_text())
        assert decisions == [[63, ["rules"], True]]
    for run in dh.open_run(folder / "run").ranks:
        assert run.finished
        assert run.steps["step"].tolist() == list(range(64))
