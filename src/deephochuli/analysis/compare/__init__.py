"""Compare executions of a model: which layer errs, by itself or by inheritance, and why."""

from __future__ import annotations

from deephochuli.analysis.compare._compare import Comparison, Row, compare
from deephochuli.analysis.compare._errors import Error, error_of
from deephochuli.analysis.compare._execute import Patient, Task, execute, prepare, world
from deephochuli.analysis.compare._executors import (
    Executor,
    emulated,
    executor_of,
    native,
    of_model,
)
from deephochuli.analysis.compare._floor import SAMPLES, Floor, perturbed_executor
from deephochuli.analysis.compare._mechanism import Mechanism
from deephochuli.analysis.compare._pairs import PairComparison, PairRow, compare_traces
from deephochuli.analysis.compare._recorded import judge_recorded
from deephochuli.analysis.compare._saved import environment, is_saved, load, save
from deephochuli.analysis.compare._search import Kept, Outcome, keep_wide
from deephochuli.analysis.compare._top import Decisions
from deephochuli.analysis.compare._trace import Call, Trace, label
from deephochuli.analysis.compare._verdict import Suspect, Verdict, verdict

__all__ = [
    "SAMPLES",
    "Call",
    "Comparison",
    "Decisions",
    "Error",
    "Executor",
    "Floor",
    "Kept",
    "Mechanism",
    "Outcome",
    "PairComparison",
    "PairRow",
    "Patient",
    "Row",
    "Suspect",
    "Task",
    "Trace",
    "Verdict",
    "compare",
    "compare_traces",
    "emulated",
    "environment",
    "error_of",
    "execute",
    "executor_of",
    "is_saved",
    "judge_recorded",
    "keep_wide",
    "label",
    "load",
    "native",
    "of_model",
    "perturbed_executor",
    "prepare",
    "save",
    "verdict",
    "world",
]
