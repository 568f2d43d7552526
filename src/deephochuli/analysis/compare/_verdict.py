"""Rounding or not: the first call that errs more than sound executions do, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from deephochuli.analysis.compare._compare import Direction, check_finite, truth_of
from deephochuli.analysis.compare._errors import Error
from deephochuli.analysis.compare._execute import DEFAULT_BYTES, Loss, Task, execute
from deephochuli.analysis.compare._executors import Executor, executor_of
from deephochuli.analysis.compare._floor import SAMPLES, Floor, measure_floor
from deephochuli.analysis.compare._judge import Judgement, Key, judge
from deephochuli.analysis.compare._mechanism import Mechanism, Place, explain
from deephochuli.analysis.compare._trace import CallName, Trace, label
from deephochuli.arithmetic import Arithmetic

THRESHOLD = 4.0
"""An error counts from this many times the floor on."""

_STAGES = {"forward": 0, "backward": 1, "gradient": 1, "update": 2}
"""When a direction is computed: a parameter's gradient when the backward passes its layer."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """A call whose own error lies above the floor.

    Attributes:
        call: The call.
        direction: Where the error shows.
        parameter: Parameter whose gradient or update errs, if it is one.
        error: Its own error.
        floor_rms: What sound executions reach, as rms.
        times_floor: By how much the error exceeds the floor.
    """

    call: CallName
    direction: Direction
    parameter: str | None
    error: Error
    floor_rms: float
    times_floor: float

    @property
    def layer(self) -> str:
        """The call as people read it."""
        return label(self.call)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found.

    Attributes:
        kind: "clean": nothing errs more than sound executions do. "rounding": a known rounding
            explains the first error. "not rounding": none does.
        culprit: The first suspect, in the order of the computation; None for a clean execution.
        mechanism: What explains its error, with the numbers that say so.
        suspects: All calls above the floor, in the order of the computation.
        floor: What was measured as sound, by the names of the executions.
        n_runs: Model executions that the verdict took.
        execution: Name of the execution that was judged.
    """

    kind: Literal["clean", "rounding", "not rounding"]
    culprit: Suspect | None
    mechanism: Mechanism | None
    suspects: tuple[Suspect, ...]
    floor: Floor
    n_runs: int
    execution: str = ""

    def __str__(self) -> str:
        """One paragraph."""
        if self.culprit is None:
            names = ", ".join(self.floor.samples)
            return f"No layer errs more than sound executions do ({names})."
        error, times = self.culprit.error, self.culprit.times_floor
        what = self.culprit.direction
        if self.culprit.parameter:
            what += f" of {self.culprit.parameter}"
        head = (
            f"{self.culprit.layer}, {what}: own error {error.rms:.3g} rms, {times:.3g} times what "
            f"sound executions reach ({self.culprit.floor_rms:.3g})."
        )
        because = "" if self.mechanism is None else f" {self.mechanism.text}"
        ending = "Rounding:" if self.kind == "rounding" else "Not rounding, look here:"
        return f"{ending} {head}{because}"


def verdict(
    model: nn.Module,
    batch: Any,
    suspect: Executor | Arithmetic | nn.Module | str,
    *,
    reference: Executor | nn.Module | str = "fp64",
    loss: Loss | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    samples: Sequence[str | Executor] = SAMPLES,
    floor: Floor | None = None,
    threshold: float = THRESHOLD,
    seed: int = 0,
    max_bytes: int = DEFAULT_BYTES,
) -> Verdict:
    """Name the first layer of an execution that errs more than rounding in binary32 would.

    Each call is given exactly what the suspect execution gave it, so errors of earlier layers do
    not count, and its own error is laid beside a noise floor that is measured: the largest own
    error of the same call in sound executions.

    Args:
        model: The model as it should be.
        batch: Its input; see `compare`.
        suspect: The execution in question; see `executor_of`. Often another model, such as a port,
            a refactored or a compiled one, whose layers bear the same names.
        reference: What counts as right; see `compare`.
        loss: See `compare`.
        optimizer: See `compare`.
        samples: Sound executions that make the floor; "perturbed" is Monte Carlo arithmetic.
        floor: A floor measured before for the same model and batch; None measures one.
        threshold: An error counts from this many times the floor on.
        seed: See `compare`.
        max_bytes: See `compare`.

    Raises:
        ArithmeticSpecError: The suspect, or a sample, is unknown.
        CompareError: See `compare`.
    """
    truth = truth_of(reference)
    task = Task(
        model=model, batch=batch, loss=loss, optimizer=optimizer, seed=seed, max_bytes=max_bytes
    )
    executor = executor_of(suspect)
    free = execute(task, truth)
    check_finite(free)
    trace = execute(task, executor)
    judgement = judge(task, trace, free, truth)
    if floor is None:
        floor = measure_floor(task, free, truth, samples=samples)
    suspects = rank(judgement, floor, free, threshold)
    if not suspects:
        return Verdict("clean", None, None, (), floor, task.meter.n_runs, executor.name)
    first = suspects[0]
    place = Place(first.call, first.direction, first.parameter)
    mechanism = explain(task, executor, trace, free, truth, place, floor)
    kind = "rounding" if mechanism is not None and mechanism.is_rounding else "not rounding"
    n_runs = task.meter.n_runs
    return Verdict(kind, first, mechanism, tuple(suspects), floor, n_runs, executor.name)


def rank(judgement: Judgement, floor: Floor, free: Trace, threshold: float) -> list[Suspect]:
    """Calls above the floor, in the order in which the computation reaches them."""
    order = {name: place for place, name in enumerate(free.calls)}
    found: list[Suspect] = []
    for key, error in judgement.local.items():
        times = floor.exceeded(key, error)
        if times > threshold and key[0] in order:
            found.append(_suspect(key, error, floor, times))
    return sorted(found, key=lambda each: _reached(each, order))


def _suspect(key: Key, error: Error, floor: Floor, times: float) -> Suspect:
    call, what = key
    direction, _, parameter = what.partition(":")
    rms, _ = floor.of(key, error)
    return Suspect(
        call=call,
        direction=direction,  # pyright: ignore[reportArgumentType]
        parameter=parameter or None,
        error=error,
        floor_rms=rms,
        times_floor=times,
    )


def _reached(suspect: Suspect, order: dict[CallName, int]) -> tuple[int, int, float]:
    """Place of a suspect in the computation: forward first, then the backward from the last call.

    Of two errors in one place the larger one is named first.
    """
    place = order[suspect.call]
    stage = _STAGES[suspect.direction]
    return stage, -place if stage == 1 else place, -suspect.times_floor
