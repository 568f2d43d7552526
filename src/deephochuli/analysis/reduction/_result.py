"""The answer: how much of the gradients the reduction over ranks keeps."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from deephochuli.analysis._finding import Finding, Number, PlaceEvidence, percent, ranked
from deephochuli.analysis._proportion import clopper_pearson
from deephochuli.analysis._sheet import Sheet, Table
from deephochuli.analysis.reduction._judge import Judged, format_of_results, judge
from deephochuli.analysis.reduction._read import Reduced, read_reductions

WARN_SHARE: Final = 0.10
NOTE_SHARE: Final = 0.01
_Element = tuple[str, str, Judged]


@dataclass(frozen=True, slots=True)
class ParameterReduction:
    """The gradients of one parameter around their reduction.

    Attributes:
        name: Name of the parameter.
        fmt: Format of the results.
        n: Gradients that were looked at and have a contribution that is not zero.
        n_swamped: Of these, with a contribution that leaves no trace.
        low: Lower end of the 95 % interval of the share n_swamped / n.
        high: Upper end.
        n_unrounded: With a result that is not the exact mean, rounded once.
        n_overflow: With a result that is not finite although the mean is within the format.
        error: Median of |result - exact mean| / |exact mean|, in unit roundoffs of the format.
        worst: Largest of these.
    """

    name: str
    fmt: str
    n: int
    n_swamped: int
    low: float
    high: float
    n_unrounded: int
    n_overflow: int
    error: float
    worst: float


@dataclass(frozen=True, slots=True)
class Reduction:
    """What the averaging of gradients over ranks kept and lost.

    Attributes:
        n_ranks: Ranks.
        steps: Reductions that were looked at.
        parameters: One entry for each parameter, in the order of the buckets.
        total: All parameters together.
        n_unlike: Gradients that are not the same on all ranks after the reduction.
        findings: What should be known, worst first.
    """

    n_ranks: int
    steps: tuple[int, ...]
    parameters: tuple[ParameterReduction, ...]
    total: ParameterReduction
    n_unlike: int
    findings: tuple[Finding, ...]

    def __str__(self) -> str:
        """The answer in a sentence."""
        return self.sheet().answer

    def sheet(self) -> Sheet:
        """The answer as data."""
        total = self.total
        share = total.n_swamped / total.n if total.n else 0.0
        return Sheet(
            key="reduction",
            title="Reduction over ranks",
            question="What of the gradients is lost when they are averaged over ranks?",
            answer=(
                f"Of {total.n:,} gradients of {self.n_ranks} ranks in {len(self.steps)} steps, "
                f"{total.n_swamped:,} ({percent(share)}, 95 % interval {percent(total.low)} to "
                f"{percent(total.high)}) have a contribution that leaves no trace in the result, "
                f"kept in {total.fmt}. {total.n_unrounded:,} results are not the exact mean, "
                f"rounded once; the median error is {total.error:.2g} unit roundoffs."
            ),
            findings=self.findings,
            tables=(_table(self.parameters),),
            notes=(
                "A contribution leaves no trace if the exact mean without it rounds to the same "
                "number: no order of the sum would have kept it. Intervals take the gradients that "
                "were looked at as drawn independently.",
                "Only DDP offers a look; FSDP reduces inside of a collective.",
            ),
        )


def reduction(path: str | os.PathLike[str]) -> Reduction:
    """Ask what the reduction of gradients over ranks has lost.

    Args:
        path: Folder that was given to :func:`~deephochuli.watch_reduction`, with the files of all
            ranks.

    Returns:
        The answer; ``.sheet()`` shows it, ``.findings`` judges it.

    Raises:
        StoreError: There is nothing that all ranks have seen, or a file is damaged.

    Numerics:
        Exact: means are rational numbers, rounded once. Intervals are Clopper and Pearson's.
    """
    steps = read_reductions(Path(path))
    by_owner: defaultdict[tuple[str, str], list[Judged]] = defaultdict(list)
    for owner, fmt, judged in _elements(steps):
        by_owner[owner, fmt].append(judged)
    parameters = tuple(_of(name, fmt, all_of) for (name, fmt), all_of in by_owner.items())
    formats = sorted({fmt for _, fmt in by_owner})
    every = [judged for all_of in by_owner.values() for judged in all_of]
    total = _of("all", " and ".join(formats), every)
    n_unlike = sum(int((each.after != each.after[:1]).any(axis=0).sum()) for each in steps)
    n_ranks = len(steps[0].before)
    found = _findings(parameters, total, n_unlike, n_ranks, [each.step for each in steps])
    return Reduction(
        n_ranks, tuple(each.step for each in steps), parameters, total, n_unlike, found
    )


def _elements(steps: Sequence[Reduced]) -> Iterator[_Element]:
    """Every gradient that can be judged, with its parameter and the format of its result."""
    dtypes = sorted({str(name) for each in steps for name in np.unique(each.dtype)})
    results = {
        name: np.concatenate([each.after[0][each.dtype == name] for each in steps])
        for name in dtypes
    }
    formats = {name: format_of_results(results[name], name) for name in dtypes}
    for each in steps:
        columns = each.before.T.tolist()
        for owner, dtype, given, result in zip(
            each.owner.tolist(), each.dtype.tolist(), columns, each.after[0].tolist(), strict=True
        ):
            judged = judge(given, result, formats[dtype])
            if judged is not None and judged.n_contributions:
                yield owner, formats[dtype].name, judged


def _of(name: str, fmt: str, judged: Sequence[Judged]) -> ParameterReduction:
    n_swamped = sum(each.n_traceless > 0 for each in judged)
    errors = [each.error for each in judged if each.error == each.error]
    low, high = clopper_pearson(n_swamped, len(judged)) if judged else (0.0, 1.0)
    return ParameterReduction(
        name=name,
        fmt=fmt,
        n=len(judged),
        n_swamped=n_swamped,
        low=low,
        high=high,
        n_unrounded=sum(not each.is_rounded for each in judged),
        n_overflow=sum(each.is_overflow for each in judged),
        error=float(np.median(errors)) if errors else 0.0,
        worst=max(errors, default=0.0),
    )


def _findings(
    parameters: Sequence[ParameterReduction],
    total: ParameterReduction,
    n_unlike: int,
    n_ranks: int,
    steps: Sequence[int],
) -> tuple[Finding, ...]:
    found: list[Finding] = []
    span = (steps[0], steps[-1])
    if total.n and total.low >= NOTE_SHARE:
        found.append(_swamped(parameters, total, n_ranks, span))
    if total.n_overflow:
        found.append(_overflow(parameters, total, span))
    if n_unlike:
        found.append(_unlike(n_unlike, total, span))
    return tuple(ranked(found))


def _swamped(
    parameters: Sequence[ParameterReduction],
    total: ParameterReduction,
    n_ranks: int,
    span: tuple[int, int],
) -> Finding:
    share = total.n_swamped / total.n
    hit = sorted((p for p in parameters if p.n_swamped), key=lambda p: (-p.n_swamped / p.n, p.name))
    return Finding(
        kind="swamped-reduction",
        level="warning" if total.low >= WARN_SHARE else "note",
        score=share,
        title=(
            f"Averaging {n_ranks} ranks in {total.fmt} swamps a contribution in {percent(share)} "
            "of the gradients"
        ),
        layer=hit[0].name,
        quantity="g",
        summary=(
            f"{total.n_swamped:,} of {total.n:,} gradients that were looked at (95 % interval "
            f"{percent(total.low)} to {percent(total.high)}), most in {hit[0].name}."
        ),
        why="What a rank learned about these weights does not reach them; small gradients beside "
        "large ones are lost first, and more ranks lose more.",
        advice="Reduce in FP32: keep gradients in FP32 under DDP and leave out hooks that compress "
        "them; under FSDP, set reduce_dtype.",
        code="MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)",
        numbers=(
            Number("gradients with a swamped contribution", share, "share", total.low, total.high),
            Number("median error, unit roundoffs", total.error),
            Number("ranks", n_ranks),
        ),
        places=tuple(PlaceEvidence(p.name, "g", p.n_swamped / p.n, p.low, p.high) for p in hit),
        step_first=span[0],
        step_last=span[1],
        evidence="unmoved",
    )


def _overflow(
    parameters: Sequence[ParameterReduction], total: ParameterReduction, span: tuple[int, int]
) -> Finding:
    hit = sorted((p for p in parameters if p.n_overflow), key=lambda p: (-p.n_overflow, p.name))
    return Finding(
        kind="reduction-overflow",
        level="critical",
        score=1.0,
        title=f"The sum over ranks overflows {total.fmt} where the mean does not",
        layer=hit[0].name,
        quantity="g",
        summary=f"{total.n_overflow:,} of {total.n:,} gradients that were looked at.",
        why="The step is skipped by a scaler, or the weights become infinite.",
        advice="Divide before adding, as DDP does by itself, or reduce in a wider format.",
        code="dh.watch_reduction(model, to=...)  # without a hook",
        numbers=(Number("gradients that overflow", total.n_overflow),),
        places=tuple(PlaceEvidence(p.name, "g", float(p.n_overflow)) for p in hit),
        step_first=span[0],
        step_last=span[1],
        evidence="nonfinite",
    )


def _unlike(n_unlike: int, total: ParameterReduction, span: tuple[int, int]) -> Finding:
    return Finding(
        kind="unlike-reduction",
        level="critical",
        score=1.0,
        title=f"{n_unlike:,} gradients are not the same on all ranks after their reduction",
        layer=total.name,
        quantity="g",
        summary=f"Of {total.n:,} that were looked at, in steps {span[0]} to {span[1]}.",
        why="Ranks that get different gradients drift apart, and no later step brings them back.",
        advice="Look for the odd rank in the recording (docs/many-ranks.md), and test the network "
        "and the memory of the machine.",
        code="dh.findings(dh.open_run(RUN))",
        numbers=(Number("gradients that differ", n_unlike),),
        places=(),
        step_first=span[0],
        step_last=span[1],
        evidence="headroom",
    )


def _table(parameters: Sequence[ParameterReduction]) -> Table:
    rows = tuple(
        (p.name, p.fmt, p.n, p.n_swamped / p.n, p.low, p.high, p.n_unrounded, p.error, p.worst)
        for p in parameters
    )
    return Table(
        "parameters",
        "Gradients with a contribution that leaves no trace, by parameter",
        (
            "parameter",
            "reduced in",
            "gradients",
            "swamped",
            "swamped, low",
            "swamped, high",
            "not rounded once",
            "median error (u)",
            "largest error (u)",
        ),
        rows,
        note="Errors are relative to the exact mean, in unit roundoffs u of the format.",
    )
