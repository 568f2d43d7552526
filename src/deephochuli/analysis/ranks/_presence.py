"""Ranks that have recorded nothing, or not the steps of the others."""

from __future__ import annotations

from functools import reduce

import numpy as np
from numpy.typing import NDArray

from deephochuli.analysis._finding import Finding, Number
from deephochuli.analysis.ranks._words import named, rank_of
from deephochuli.store import RunReader


def find_presence(run: RunReader) -> list[Finding]:
    """Say which ranks are missing from a run, as a whole or in some steps."""
    steps = {rank_of(each).rank: each.steps["step"] for each in run.ranks}
    n_ranks = rank_of(run.ranks[0]).n_ranks
    absent = [rank for rank in range(n_ranks) if not len(steps.get(rank, ()))]
    present = {rank: found for rank, found in steps.items() if len(found)}
    if not present:
        return []
    every = reduce(np.union1d, present.values())
    is_over = not run.has_writer
    # While ranks still write, the last chunk of one may be there before that of another.
    known = every if is_over else every[every <= min(int(s[-1]) for s in present.values())]
    lacking = {rank: len(np.setdiff1d(known, found)) for rank, found in present.items()}
    lacking = {rank: n for rank, n in lacking.items() if n}
    found = [_absent(absent, n_ranks, every)] if absent else []
    return [*found, _lacking(lacking, run, known)] if lacking else found


def _absent(absent: list[int], n_ranks: int, steps: NDArray[np.int64]) -> Finding:
    who = named(absent)
    return Finding(
        kind="missing-ranks",
        level="warning",
        score=len(absent) / n_ranks,
        title=f"No step of {who} of {n_ranks} was recorded",
        layer="",
        quantity="",
        summary=(
            f"The run holds {n_ranks - len(absent)} of {n_ranks} ranks. The others recorded "
            f"{len(steps)} steps, {steps[0]} to {steps[-1]}."
        ),
        why="Counts of activations and of divided parameters are too low by what these ranks hold.",
        advice="Was the rank killed before its first chunk was written, did it not record, or does "
        "its folder lie on another machine? Copy its folder beside the others.",
        code="rsync -a HOST:runs/x/rank-3 runs/x/",
        numbers=(Number("missing ranks", len(absent)), Number("ranks", n_ranks)),
        places=(),
        step_first=int(steps[0]),
        step_last=int(steps[-1]),
        evidence="",
    )


def _lacking(lacking: dict[int, int], run: RunReader, known: NDArray[np.int64]) -> Finding:
    worst = max(lacking, key=lambda rank: (lacking[rank], -rank))
    n_merged = len(run.steps["step"])
    return Finding(
        kind="uneven-ranks",
        level="note",
        score=lacking[worst] / len(known),
        title=(
            f"{len(known) - n_merged} of {len(known)} recorded steps are not of all ranks: "
            f"{named([worst])} lacks {lacking[worst]}"
        ),
        layer="",
        quantity="",
        summary=(
            "The merged view holds only steps that every rank has recorded. Steps lacking: "
            + ", ".join(f"{named([rank])} {n}" for rank, n in sorted(lacking.items()))
            + "."
        ),
        why="A rank that ended early, or that records by another schedule, ends the merged view.",
        advice="Give every rank the same schedule, one that depends on the step alone. The run of "
        "each rank can be opened by itself.",
        code='dh.open_run("runs/x").ranks[0]',
        numbers=(
            Number("steps of some ranks only", len(known) - n_merged, "steps"),
            Number("steps of all ranks", n_merged, "steps"),
        ),
        places=(),
        step_first=int(known[0]),
        step_last=int(known[-1]),
        evidence="",
    )
