"""Executions that were recorded elsewhere, each judged against a reference that runs here."""

from __future__ import annotations

from collections.abc import Sequence

from deephochuli.analysis.compare._compare import (
    BASELINE,
    Comparison,
    check_finite,
    comparison,
    truth_of,
)
from deephochuli.analysis.compare._execute import Task, execute
from deephochuli.analysis.compare._executors import Executor, executor_of
from deephochuli.analysis.compare._trace import Trace


def judge_recorded(
    task: Task, traces: Sequence[Trace], reference: Executor | str = "fp64"
) -> Comparison:
    """Compare executions that were recorded, on this machine or another, with a reference.

    Args:
        task: The model with the weights that the executions began with, their batch, and the loss
            and the optimizer where they had one.
        traces: The executions; each has a name of its own.
        reference: What counts as right; runs here. See `compare`.

    Raises:
        CompareError: See `compare`.
    """
    truth = truth_of(reference)
    free = execute(task, truth)
    check_finite(free)
    named = {trace.executor: trace for trace in traces}
    wanted = tuple(named)
    if BASELINE not in named:
        named[BASELINE] = execute(task, executor_of(BASELINE))
    return comparison(task, named, free, truth, wanted)
