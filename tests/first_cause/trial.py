"""Trials of the verdict: one model, one batch, one fault or none."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from deephochuli.analysis.compare import Task, execute, executor_of, of_model, verdict
from deephochuli.analysis.compare._floor import Floor
from tests.first_cause.faults import BACKWARD, FORWARD, UPDATE, FaultyAdam, faulty
from tests.first_cause.models import MODELS, build

SOUND = ("threads=2", "split=2", "fp32-pairwise", "fp32-sequential-no-fma", "fp32-blocked")
"""Executions that differ in what no arithmetic promises."""


@dataclass
class Tally:
    """What came of many trials."""

    n_faults: int = 0
    right: int = 0
    n_controls: int = 0
    alarms: int = 0
    most_runs: int = 0
    by_fault: tuple[Counter[str], Counter[str]] = field(
        default_factory=lambda: (Counter(), Counter())
    )
    by_model: tuple[Counter[str], Counter[str]] = field(
        default_factory=lambda: (Counter(), Counter())
    )
    mechanisms: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """At least 99 % right, at most 1 % alarms, at most 20 runs."""
        few = self.alarms <= 0.01 * self.n_controls
        return self.right >= 0.99 * self.n_faults and few and self.most_runs <= 20


class Case:
    """One model with its batch, and the floor that is measured once for it."""

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self.model, self.batch = build(name, seed)
        params = list(self.model.parameters())
        self.optimizer = FaultyAdam(params, lr=1e-3)
        for _ in range(2):  # so that the optimizer has states
            for parameter in params:
                parameter.grad = 0.1 * torch.randn_like(parameter)
            self.optimizer.step()
        self.optimizer.zero_grad()
        self.healthy = execute(self._task(), executor_of("fp32"))
        self.paths = [path for path, _ in dict.fromkeys(self.healthy.calls) if path]
        self.floor: Floor | None = None
        self.floor_runs = 0

    def _task(self) -> Task:
        return Task(model=self.model, batch=self.batch, optimizer=self.optimizer)

    def judge(self, suspect: Any) -> Any:
        """The verdict on a suspect."""
        found = verdict(self.model, self.batch, suspect, optimizer=self.optimizer, floor=self.floor)
        if self.floor is None:
            self.floor, self.floor_runs = found.floor, 2 * len(found.floor.samples)
            return found, found.n_runs
        return found, found.n_runs + self.floor_runs

    def changes(self, model: nn.Module, optimizer: FaultyAdam) -> bool:
        """Whether a fault changes any bit at all."""
        trace = execute(self._task(), of_model(model, optimizer=optimizer))
        pairs = list(zip(self.healthy.tensors(), trace.tensors(), strict=False))
        return any(not torch.equal(a, b) for a, b in pairs)

    @property
    def has_batch_statistics(self) -> bool:
        """Whether parts of a batch depend on each other, so that it cannot be cut."""
        kinds = (nn.modules.batchnorm._BatchNorm,)
        return any(isinstance(m, kinds) and m.training for m in self.model.modules())


def run_trials(n_faults: int, n_controls: int, seed: int, *, talk: bool = False) -> Tally:
    """Try faults and sound executions, spread evenly over the architectures."""
    torch.set_num_threads(1)
    dice, tally = random.Random(seed), Tally()
    names = list(MODELS)
    per_case = max(1, min(20, n_faults // len(names)))
    number = 0
    while tally.n_faults < n_faults or tally.n_controls < n_controls:
        case = Case(names[number % len(names)], seed=seed + number)
        number += 1
        for _ in range(min(per_case, n_faults - tally.n_faults)):
            _try_fault(case, dice, tally)
        for _ in range(
            min(max(1, per_case * n_controls // max(1, n_faults)), n_controls - tally.n_controls)
        ):
            _try_sound(case, dice, tally)
        if talk:
            print(
                f"{case.name}: {tally.right} of {tally.n_faults} right, {tally.alarms} alarms of "
                f"{tally.n_controls}",
                flush=True,
            )
            while tally.wrong:
                print("   ", tally.wrong.pop(0), flush=True)
    return tally


def _try_fault(case: Case, dice: random.Random, tally: Tally) -> None:
    for _ in range(200):
        where = dice.choice(("forward", "forward", "backward", "update"))
        fault = dice.choice({"forward": FORWARD, "backward": BACKWARD, "update": UPDATE}[where])
        path = dice.choice(case.paths)
        made = faulty(case.model, case.optimizer, path, where, fault)
        if made is not None and case.changes(*made):
            break
    else:
        raise RuntimeError(f"{case.name} has no place for a fault")
    found, runs = case.judge(of_model(made[0], optimizer=made[1]))
    tally.n_faults += 1
    tally.most_runs = max(tally.most_runs, runs)
    is_right = found.culprit is not None and found.culprit.call[0] == path
    tally.right += is_right
    for counters, kind in ((tally.by_fault, f"{where} {fault}"), (tally.by_model, case.name)):
        counters[0][kind] += is_right
        counters[1][kind] += 1
    if found.mechanism is not None:
        tally.mechanisms.append(found.mechanism.name)
    if not is_right:
        tally.wrong.append(f"{case.name}: {where} {fault} in {path!r}, but: {found}")


def _try_sound(case: Case, dice: random.Random, tally: Tally) -> None:
    sound = [each for each in SOUND if each != "split=2" or not case.has_batch_statistics]
    choice = dice.choice(sound)
    found, runs = case.judge(choice)
    tally.n_controls += 1
    tally.most_runs = max(tally.most_runs, runs)
    if found.culprit is not None:
        tally.alarms += 1
        tally.wrong.append(f"{case.name}: alarm on {choice}: {found}")
