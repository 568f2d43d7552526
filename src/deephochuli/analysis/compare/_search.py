"""Which layers to keep in higher precision: the smallest set with which the errors stay in budget.

Delta debugging (Zeller and Hildebrandt 2002) over the layers: parts of the set are given up as long
as outputs and gradients stay within the budget, until none can be given up any more. What a block
computes between its layers (a residual addition, attention written out) belongs to no layer, so
where layers do not suffice, whole blocks are kept: few blocks first, then few layers beside them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from deephochuli.analysis.compare._compare import check_finite, truth_of
from deephochuli.analysis.compare._errors import Differences, Error
from deephochuli.analysis.compare._execute import DEFAULT_BYTES, Loss, Task, execute
from deephochuli.analysis.compare._executors import Executor, emulated
from deephochuli.analysis.compare._judge import Judgement, judge
from deephochuli.analysis.compare._trace import Trace
from deephochuli.arithmetic import Arithmetic, get_arithmetic
from deephochuli.errors import CompareError


@dataclass(frozen=True, slots=True)
class Outcome:
    """Distance of an execution from the reference.

    Attributes:
        output: Norm of the output's error over the norm of the output; infinite where a number of
            it is NaN or infinite though it should be finite, as for `gradient`.
        gradient: The same of all parameters' gradients taken together; nan without gradients.
    """

    output: float
    gradient: float

    def is_within(self, budget: Outcome) -> bool:
        """Whether both stay within a budget; a missing gradient always does."""
        is_right = self.gradient <= budget.gradient or math.isnan(self.gradient)
        return self.output <= budget.output and is_right


@dataclass(frozen=True, slots=True)
class Kept:
    """The layers to keep in higher precision.

    Attributes:
        low: Name of the low arithmetic.
        layers: Paths of the layers to keep out of it, and of blocks with all that is in them; none
            of them can be left out.
        budget: What was asked for.
        all_low: Outcome with every layer in the low arithmetic.
        reached: Outcome with `layers` kept.
        is_within: Whether the budget is met; it is not if even with all layers and blocks kept it
            is not.
        n_candidates: Layers without parts, and blocks that compute something themselves.
        n_runs: Model executions that the search took.
    """

    low: str
    layers: tuple[str, ...]
    budget: Outcome
    all_low: Outcome
    reached: Outcome
    is_within: bool
    n_candidates: int
    n_runs: int

    def snippet(self, dtype: str = "torch.bfloat16") -> str:
        """Python that keeps these layers out of autocast.

        Each layer's forward runs with autocast switched off, its inputs in binary32.
        """
        if not self.layers:
            return f'with torch.autocast("cuda", dtype={dtype}):\n    output = model(batch)\n'
        names = "".join(f"    {name!r},\n" for name in self.layers)
        return _SNIPPET.format(names=names, dtype=dtype)


_SNIPPET = """\
KEEP_IN_FP32 = [
{names}]

def wide(x):
    return x.float() if torch.is_tensor(x) and x.is_floating_point() else x

def in_fp32(forward):
    def run(*inputs, **options):
        with torch.autocast("cuda", enabled=False):
            options = {{name: wide(x) for name, x in options.items()}}
            return forward(*map(wide, inputs), **options)
    return run

for name in KEEP_IN_FP32:
    layer = model.get_submodule(name)
    layer.forward = in_fp32(layer.forward)

with torch.autocast("cuda", dtype={dtype}):
    output = model(batch)
"""


def keep_wide(
    model: nn.Module,
    batch: Any,
    low: Arithmetic | str = "bf16",
    *,
    output: float = 1e-2,
    gradient: float = 5e-2,
    reference: Executor | nn.Module | str = "fp64",
    loss: Loss | None = None,
    max_runs: int = 300,
    seed: int = 0,
    max_bytes: int = DEFAULT_BYTES,
) -> Kept:
    """Find a smallest set of layers to keep out of a low arithmetic so that errors stay in budget.

    Smallest in the sense that no single layer of it can be given up; the layers that err most by
    themselves are kept first. A block is kept as a whole, and only where layers do not suffice.

    Args:
        model: The model.
        batch: Its input; see `compare`.
        low: Arithmetic of all other layers.
        output: Budget for the relative error (norm) of the model's first output.
        gradient: Budget for the relative error of all parameters' gradients together.
        reference: What counts as right; see `compare`.
        loss: See `compare`.
        max_runs: Model executions to spend at most.
        seed: See `compare`.
        max_bytes: See `compare`.

    Raises:
        ArithmeticSpecError: `low` is unknown.
        CompareError: See `compare`; or the budget is not positive.
    """
    if not (output > 0 and gradient > 0):
        raise CompareError(f"A budget must be positive; got output={output}, gradient={gradient}.")
    truth = truth_of(reference)
    task = Task(model=model, batch=batch, loss=loss, seed=seed, max_bytes=max_bytes)
    free = execute(task, truth)
    check_finite(free)
    _check_choice(free)
    search = _Search(task, free, get_arithmetic(low), Outcome(output, gradient), max_runs)
    first = execute(task, emulated(search.low))
    all_low = outcome(first, free)
    leaves, blocks = _ranked(judge(task, first, free, truth), free)
    search.n_runs += 3
    kept = () if all_low.is_within(search.budget) else search.smallest(leaves, blocks)
    reached = search.outcome_of(kept) if kept else all_low
    return Kept(
        low=search.low.name,
        layers=tuple(sorted(kept, key=[path for path, _ in free.calls].index)),
        budget=search.budget,
        all_low=all_low,
        reached=reached,
        is_within=reached.is_within(search.budget),
        n_candidates=len(leaves) + len(blocks),
        n_runs=search.n_runs,
    )


def _check_choice(free: Trace) -> None:
    """Raise where there is nothing to judge by, or nothing to choose from."""
    root = free.calls["", 0]
    if not root.outputs:
        raise CompareError(
            f"{root.kind} returns no floating-point tensor, so there is no output whose error "
            "could stay within a budget. Let it return the numbers that its result is decided by."
        )
    if len(free.calls) == 1:
        raise CompareError(
            f"{root.kind} calls no layers, so there is nothing to choose from: all of it runs in "
            "one arithmetic. Give a model that is made of modules, or use compare()."
        )


class _Search:
    """Tries sets of layers, each once."""

    def __init__(
        self, task: Task, free: Trace, low: Arithmetic, budget: Outcome, max_runs: int
    ) -> None:
        self.low = low
        self.budget = budget
        self.n_runs = 0
        self._task, self._free, self._max_runs = task, free, max_runs
        self._known: dict[frozenset[str], Outcome] = {}

    def outcome_of(self, kept: tuple[str, ...]) -> Outcome:
        """Outcome with some layers and blocks kept."""
        key = frozenset(outermost(kept))
        if key not in self._known:
            self.n_runs += 1
            trace = execute(self._task, emulated(self.low, dict.fromkeys(key, None)))
            self._known[key] = outcome(trace, self._free)
        return self._known[key]

    def smallest(self, leaves: list[str], blocks: list[str]) -> tuple[str, ...]:
        """A set from which nothing can be given up; all there is where even that does not suffice.

        Args:
            leaves: Layers without parts, those that err most by themselves first.
            blocks: Layers with parts that err between them, likewise.
        """
        needed: tuple[str, ...] = ()
        if not self._holds(tuple(leaves)):
            if not self._holds((*leaves, *blocks)):
                return outermost((*leaves, *blocks))
            needed = outermost(self._least(blocks, tuple(leaves)))
            needed = self._narrowed(needed, blocks, tuple(leaves))
        kept = (
            *needed,
            *self._least([leaf for leaf in leaves if not _is_in(leaf, needed)], needed),
        )
        return self._reduced(kept) if needed else kept

    def _least(self, ranked: list[str], beside: tuple[str, ...]) -> tuple[str, ...]:
        """Some of what is ranked, so that with what is beside it the budget holds."""
        if beside and self._holds(beside):
            return ()
        enough = _shortest_prefix(ranked, lambda some: self._holds((*beside, *some)))
        return self._reduced(tuple(ranked[:enough]), beside)

    def _narrowed(
        self, needed: tuple[str, ...], blocks: list[str], beside: tuple[str, ...]
    ) -> tuple[str, ...]:
        """Blocks inside of those that are needed, where they suffice in their place."""
        for block in needed:
            others = tuple(each for each in needed if each != block)
            inner = [each for each in blocks if _is_in(each, (block,))]
            if inner and self._holds((*beside, *others, *inner)):
                least = outermost(self._least(inner, (*beside, *others)))
                return self._narrowed((*others, *least), blocks, beside)
        return needed

    def _holds(self, kept: tuple[str, ...]) -> bool:
        return self.outcome_of(kept).is_within(self.budget)

    def _reduced(self, kept: tuple[str, ...], beside: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Give up halves, then quarters, and so on to single layers, while the budget holds."""
        size = max(1, len(kept) // 2)
        while kept:
            start, shrunk = 0, False
            while start < len(kept) and self.n_runs < self._max_runs:
                fewer = kept[:start] + kept[start + size :]
                if self._holds((*beside, *fewer)):
                    kept, shrunk = fewer, True
                else:
                    start += size
            if (size == 1 and not shrunk) or self.n_runs >= self._max_runs:
                break
            size = max(1, size // 2)
        return kept


def outermost(paths: tuple[str, ...]) -> tuple[str, ...]:
    """Paths without those that lie in another one.

    Example:
        >>> outermost(("a.b", "a", "ab"))
        ('a', 'ab')
    """
    return tuple(path for path in paths if not _is_in(path, paths))


def _is_in(path: str, blocks: tuple[str, ...]) -> bool:
    """Whether a path lies in one of some blocks, and is none of them."""
    return any(path.startswith(f"{block}.") for block in blocks)


def _shortest_prefix(ranked: list[str], holds: Callable[[tuple[str, ...]], bool]) -> int:
    """How many of the worst layers suffice, by halving."""
    low, high = 0, len(ranked)
    while high - low > 1:
        middle = (low + high) // 2
        if holds(tuple(ranked[:middle])):
            high = middle
        else:
            low = middle
    return high


def outcome(trace: Trace, free: Trace) -> Outcome:
    """Relative errors of the first output and of all gradients together."""
    differences = Differences()
    root, right = trace.calls[("", 0)], free.calls[("", 0)]
    differences.see("", "output", root.outputs[0], right.outputs[0])
    for name, gradient in trace.gradients.items():
        if name in free.gradients:
            differences.see("", "gradient", gradient, free.gradients[name])
    errors = differences.errors()
    gradient = errors.get(("", "gradient"))
    return Outcome(
        output=_relative(errors["", "output"]),
        gradient=math.nan if gradient is None else _relative(gradient),
    )


def _relative(error: Error) -> float:
    """Where both are zero there is no error; where a number is lost to NaN or infinity, no end."""
    if error.nonfinite:
        return math.inf
    return 0.0 if math.isnan(error.rel_l2) else error.rel_l2


def _ranked(judgement: Judgement, free: Trace) -> tuple[list[str], list[str]]:
    """Layers without parts, and blocks that err between their parts; the worst first."""
    harm: dict[str, float] = {}
    for (name, _), error in judgement.local.items():
        call = free.calls.get(name)
        if call is not None and call.path:
            relative = _relative(error)
            harm[call.path] = max(harm.get(call.path, 0.0), relative)
    is_leaf = {call.path: call.is_leaf for call in free.calls.values()}
    ranked = sorted(harm, key=lambda path: -harm[path])
    leaves = [path for path in ranked if is_leaf[path]]
    return leaves, [path for path in ranked if not is_leaf[path] and harm[path] > 0]


def default_dtype(low: Arithmetic) -> torch.dtype:
    """The dtype that autocast would use for an arithmetic."""
    fmt = low.activations or low.inputs
    return torch.float16 if fmt is not None and fmt.name == "fp16" else torch.bfloat16
