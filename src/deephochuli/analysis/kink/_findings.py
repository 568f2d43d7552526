"""Findings about gradients that hang on the derivative at a kink."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from deephochuli.analysis._finding import (
    Finding,
    Level,
    Number,
    PlaceEvidence,
    percent,
    ranked,
)
from deephochuli.analysis.kink._causes import NUMERICAL
from deephochuli.analysis.kink._result import KinkRun, PoolRow, ZeroRow

LARGE = 0.01
"""A change of the gradient from which on it is more than the noise of a BF16 gradient."""


def find(
    zeros: Sequence[ZeroRow], pools: Sequence[PoolRow], runs: Sequence[KinkRun]
) -> tuple[Finding, ...]:
    """What should be known, worst first."""
    found: list[Finding] = []
    for run in runs:
        own = [row for row in zeros if row.execution == run.execution]
        found += _sensitive(run, own)
        found += _ties(run, [row for row in pools if row.execution == run.execution])
        found += _unsure(run)
    return tuple(ranked(found))


def _sensitive(run: KinkRun, zeros: Sequence[ZeroRow]) -> Iterator[Finding]:
    changed = [batch for batch in run.batches if batch.is_changed and batch.is_sure]
    if not changed:
        return
    sizes = sorted(max(size for _, size in batch.sizes) for batch in changed)
    median, largest = sizes[len(sizes) // 2], sizes[-1]
    rows = sorted(zeros, key=lambda row: (-row.n_numerical, -row.n_zero, row.layer))
    worst = rows[0]
    level: Level = "warning" if median >= LARGE and run.changed.value >= 0.5 else "note"
    yield Finding(
        kind="kink-sensitive",
        level=level,
        score=min(1.0, run.changed.value * median),
        title=f"The gradients of {percent(run.changed.value)} of the batches hang on ReLU'(0) "
        f"({run.execution})",
        layer=worst.layer,
        quantity="z",
        summary=f"{len(changed)} of {run.n_batches} batches; where they do, the gradient changes "
        f"by {percent(median)} in the median and {percent(largest)} at most. {_told(worst)}",
        why="Exact zeros of pre-activations select a derivative by convention: another library, "
        "or another way to write the activation, trains another network from here on.",
        advice=_advice(worst),
        code="nn.init.uniform_(layer.bias, -bound, bound)" if not worst.n_numerical else "",
        numbers=(
            Number(
                "batches changed", run.changed.value, "share", run.changed.low, run.changed.high
            ),
            Number("change of the gradient", median, "share", sizes[0], largest),
        ),
        places=tuple(
            PlaceEvidence(row.layer, "z", float(row.n_numerical)) for row in rows if row.n_zero
        ),
        step_first=0,
        step_last=0,
        evidence="",
    )


def _advice(row: ZeroRow) -> str:
    """What to change, by what makes most of the zeros of a layer."""
    if not row.n_numerical:
        return (
            "The inputs of these units are empty and their biases exactly zero: start biases at "
            "random, or say which ReLU'(0) is meant; torch's is 0."
        )
    if row.causes.get("exact", 0) >= row.n_numerical / 2:
        return (
            "The exact sums are zero: data and weights lie on a grid, and no wider format helps. "
            "Say which ReLU'(0) is meant; torch's is 0."
        )
    return (
        "Zeros by cancellation go away where the bias is added before the sum is rounded, or where "
        "pre-activations are kept in a wider format; ReLU'(0) = 0 is torch's choice."
    )


def _told(row: ZeroRow) -> str:
    """Why the pre-activations of a layer are zero, in one sentence."""
    told = [f"{row.causes[cause]} by {cause}" for cause in NUMERICAL if row.causes.get(cause)]
    if not told:
        return f"{row.n_zero} of {row.n} pre-activations of {row.layer!r} are exactly at the kink."
    return (
        f"{row.n_numerical} of {row.n} pre-activations of {row.layer!r} are zero without being so "
        f"by structure: {', '.join(told)}."
    )


def _ties(run: KinkRun, pools: Sequence[PoolRow]) -> Iterator[Finding]:
    changed = sorted(run.tied)
    if not changed:
        return
    worst = max(pools, key=lambda row: row.n_tied)
    median = changed[len(changed) // 2]
    yield Finding(
        kind="pooling-ties",
        level="note",
        score=min(1.0, median * len(changed) / run.n_batches),
        title=f"The gradients of {len(changed)} of {run.n_batches} batches hang on which of "
        f"several equal elements a max pooling takes ({run.execution})",
        layer=worst.layer,
        quantity="a",
        summary=f"{worst.n_tied} of {worst.n_windows} windows of {worst.layer!r} have more than "
        f"one largest element; between the first and the last of them the gradient changes by "
        f"{percent(median)} in the median.",
        why="A tie is a kink too; libraries choose differently.",
        advice="Equal inputs make equal elements whatever the arithmetic; ties that only a narrow "
        "format has go away in a wider one.",
        code="",
        numbers=(Number("change of the gradient", median, "share", changed[0], changed[-1]),),
        places=tuple(PlaceEvidence(row.layer, "a", float(row.n_tied)) for row in pools),
        step_first=0,
        step_last=0,
        evidence="",
    )


def _unsure(run: KinkRun) -> Iterator[Finding]:
    n_unsure = sum(not batch.is_sure for batch in run.batches)
    if not n_unsure:
        return
    yield Finding(
        kind="gradient-not-repeatable",
        level="note",
        score=n_unsure / run.n_batches,
        title=f"The gradients of {n_unsure} of {run.n_batches} batches are not the same twice "
        f"({run.execution})",
        layer="",
        quantity="g",
        summary="The same graph, worked backwards again with the same slopes, gave another "
        "gradient; these batches say nothing about ReLU'(0).",
        why="An operator adds in an order that is not fixed, or rounds at random.",
        advice="Ask torch for deterministic algorithms, or for another arithmetic.",
        code="torch.use_deterministic_algorithms(True)",
        numbers=(Number("batches", n_unsure / run.n_batches, "share"),),
        places=(),
        step_first=0,
        step_last=0,
        evidence="",
    )
