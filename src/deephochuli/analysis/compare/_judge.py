"""Lay one execution beside the reference: errors of each call's own, inherited ones, and both."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field

import torch
from torch import Tensor

from deephochuli.analysis.compare._errors import Differences, Error
from deephochuli.analysis.compare._execute import Task, replay
from deephochuli.analysis.compare._executors import Executor
from deephochuli.analysis.compare._forced import Forced
from deephochuli.analysis.compare._trace import CallName, Trace, owner_of

GRADIENT = "gradient"
UPDATE = "update"

Owner = tuple[str, int]
Key = tuple[Owner, str]


@dataclass(slots=True)
class Judgement:
    """All errors of one execution.

    Keys are (call, direction): "forward", "backward" (gradients by the inputs), "gradient:NAME" and
    "update:NAME" for the parameters of a layer, under its first call.

    Attributes:
        executor: What was judged.
        local: Errors that arose in the call itself.
        inherited: What the call makes of the errors of its inputs, without any of its own.
        total: Distance from the reference run.
        kinks: Inputs of piecewise-linear activations against the reference run: their sign flips
            are decisions that came out otherwise.
        missing: Calls of the reference that the execution does not have.
        extra: Calls of the execution that the reference does not have.
    """

    executor: str
    local: dict[Key, Error] = field(default_factory=dict[Key, Error])
    inherited: dict[Key, Error] = field(default_factory=dict[Key, Error])
    total: dict[Key, Error] = field(default_factory=dict[Key, Error])
    kinks: dict[Owner, Error] = field(default_factory=dict[Owner, Error])
    missing: list[CallName] = field(default_factory=list[CallName])
    extra: list[CallName] = field(default_factory=list[CallName])


def judge(task: Task, judged: Trace, free: Trace, reference: Executor) -> Judgement:
    """Judge an execution by the reference's free run, and by a run forced to its numbers."""
    forced = Forced(judged, free)
    gradients, updates = replay(task, reference, forced, judged)
    made = Judgement(judged.executor)
    errors = forced.differences.errors()
    made.local = {key: error for key, error in errors.items() if ":" not in key[1]}
    made.inherited = _under(errors, "inherited:")
    made.total = _under(errors, "total:")
    made.kinks = {owner: error for (owner, what), error in errors.items() if what == "kink:"}
    stored = {name: gradient.dtype for name, gradient in judged.gradients.items()}
    _judge_parameters(
        made, judged.gradients, gradients, free.gradients, GRADIENT, stored, free.calls
    )
    _judge_parameters(made, judged.updates, updates, free.updates, UPDATE, stored, free.calls)
    made.missing = forced.missing
    made.extra = [name for name in judged.calls if name not in free.calls]
    return made


def _under(errors: dict[Key, Error], head: str) -> dict[Key, Error]:
    """The errors whose names begin with a word, without that word."""
    return {
        (owner, what.removeprefix(head)): error
        for (owner, what), error in errors.items()
        if what.startswith(head)
    }


def _judge_parameters(
    made: Judgement,
    judged: dict[str, Tensor],
    replayed: dict[str, Tensor],
    free: dict[str, Tensor],
    what: str,
    stored: dict[str, torch.dtype],
    calls: Container[CallName],
) -> None:
    """Errors of gradients or updates, under the layer that owns each parameter.

    Ulps are those of the gradients' dtypes: updates are differences in binary64.
    """
    local, inherited, total = Differences(), Differences(), Differences()
    for name, value in judged.items():
        if name not in replayed or name not in free or value.shape != free[name].shape:
            continue
        owner, own = owner_of(name, calls)
        key = (owner, f"{what}:{own}")
        dtype = stored.get(name, value.dtype)
        local.see(*key, value, replayed[name], dtype)
        inherited.see(*key, replayed[name], free[name], dtype)
        total.see(*key, value, free[name], dtype)
    made.local |= local.errors()
    made.inherited |= inherited.errors()
    made.total |= total.errors()
