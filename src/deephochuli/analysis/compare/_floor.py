"""The noise floor: by how much sound executions of each call differ from the exact result.

Sound are executions that differ only in what no arithmetic promises: the number of threads, how the
batch is cut, the order of sums, and numbers perturbed by less than their last bit (Monte Carlo
arithmetic, Parker 1997). What errs more than the worst of them errs for another reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import nn

from deephochuli.analysis.compare._errors import Error
from deephochuli.analysis.compare._execute import Task, execute
from deephochuli.analysis.compare._executors import Executor, executor_of
from deephochuli.analysis.compare._judge import Judgement, Key, judge
from deephochuli.analysis.compare._trace import Trace
from deephochuli.arithmetic import perturbed

SAMPLES = ("fp32", "fp32-sequential", "threads=1", "perturbed")
"""Sound executions of a model in binary32."""


@dataclass(slots=True)
class Floor:
    """The largest own errors that sound executions made.

    Attributes:
        precision: Significand bits of the arithmetic that the floor is for.
        samples: Names of the executions that were measured.
        rms: Largest rms error, by call and direction.
        max_abs: Largest absolute error, likewise.
    """

    precision: int
    samples: list[str] = field(default_factory=list[str])
    rms: dict[Key, float] = field(default_factory=dict[Key, float])
    max_abs: dict[Key, float] = field(default_factory=dict[Key, float])

    def include(self, judgement: Judgement) -> None:
        """Raise the floor to the errors of one more sound execution."""
        self.samples.append(judgement.executor)
        for key, error in judgement.local.items():
            self.rms[key] = max(self.rms.get(key, 0.0), error.rms)
            self.max_abs[key] = max(self.max_abs.get(key, 0.0), error.max_abs)

    def of(self, key: Key, error: Error) -> tuple[float, float]:
        """Floor of rms and of the maximum; never below the rounding of the result alone.

        Rounding a result once errs by at most u = 2^-p of it; of the largest element, for which the
        largest is not kept, sqrt(n) times the rms is a bound.
        """
        unit = 2.0**-self.precision * error.reference_rms
        largest = unit * max(1.0, error.n) ** 0.5
        return max(self.rms.get(key, 0.0), unit), max(self.max_abs.get(key, 0.0), largest)

    def exceeded(self, key: Key, error: Error) -> float:
        """How many times an error is the floor: by its rms, or by its largest element."""
        rms, largest = self.of(key, error)
        if error.nonfinite:
            return float("inf")
        by_rms = error.rms / rms if rms else (0.0 if error.rms == 0 else float("inf"))
        by_max = error.max_abs / largest if largest else 0.0
        return max(by_rms, by_max / MAX_ALLOWANCE)


MAX_ALLOWANCE = 4.0
"""A single largest element varies more from one sound execution to the next than an rms does."""


def perturbed_executor(precision: int, seed: int) -> Executor:
    """Monte Carlo arithmetic at a precision, in binary32."""
    plain = executor_of("fp32")

    def context(model: nn.Module) -> object:
        return perturbed(model, precision_bits=precision, key=seed)

    return Executor(
        name="perturbed",
        dtype=plain.dtype,
        context=context,  # pyright: ignore[reportArgumentType]
        precision=precision,
    )


def measure_floor(
    task: Task,
    free: Trace,
    truth: Executor,
    *,
    precision: int = 24,
    samples: Sequence[str | Executor] = SAMPLES,
) -> Floor:
    """Execute the task soundly in several ways and keep the largest errors of each call."""
    floor = Floor(precision)
    for sample in samples:
        if sample == "perturbed":
            executor = perturbed_executor(precision, task.seed)
        else:
            executor = executor_of(sample)
        floor.include(judge(task, execute(task, executor), free, truth))
    return floor
