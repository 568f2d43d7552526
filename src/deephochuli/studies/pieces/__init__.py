"""Affine pieces under noisy gradient descent: the theorem, its assumptions, and controls."""

from __future__ import annotations

from collections.abc import Sequence

from deephochuli.studies._study import Claim, Conclusion, Result, Study
from deephochuli.studies.pieces._claims import claims
from deephochuli.studies.pieces._figures import figures
from deephochuli.studies.pieces._measure import measure
from deephochuli.studies.pieces._plan import plan, weight
from deephochuli.studies.pieces._read import rows_of
from deephochuli.studies.pieces._tables import tables

__all__ = ["STUDY", "conclude"]


def conclude(results: Sequence[Result]) -> Conclusion:
    """Draw claims, tables and figures from the results."""
    rows = rows_of(results)
    found = claims(rows)
    n_open = sum(row.values["n_open"] for row in rows)
    n_recounted = sum(row.values["n_recounted"] for row in rows)
    n_differing = sum(row.values["n_differing"] for row in rows)
    return Conclusion(
        answer=_answer(found),
        claims=found,
        tables=tables(rows, results),
        figures=figures(rows),
        notes=(
            "The paper's target functions, widths, depths, learning rates, noise law and constants "
            "are not known to the project; the starts, targets, rates and the uniform law on "
            "[-1, 1] are its own. What is reproduced are the statements, not the figures.",
            "Regions and pieces are counted along the whole segment, not sampled. Rounding errors "
            f"of float64 left {n_open} networks open; {n_recounted} of these were counted again in "
            f"rational arithmetic, and {n_differing} of the counts differed.",
            "Plain gradient descent on the mean squared error of 64 random points; all weights are "
            "trained, noise is on the biases. Formats compute forward and backward, weights are "
            "kept in binary32.",
            "Closed forms for networks that are dead before training: study dying-relu.",
        ),
    )


def _answer(found: Sequence[Claim]) -> str:
    """The bound, what noise of a given size does, and what noise of rounding's kind does."""
    bound, depth = found[0], found[1]
    cause = next(claim for claim in found if claim.text.startswith("It is the noise"))
    return (
        f"The bound is kept: {bound.measured}. Noise of a given size on every bias leaves counts "
        f"that grow slowly with the layers: {depth.measured}. Noise like the updates in size, as "
        f"rounding makes it, adds nothing to what the exact step does: {cause.measured}."
        if {bound.verdict, depth.verdict} == {"confirmed"} and cause.verdict == "refuted"
        else f"Bound: {bound.measured}. Growth with the layers: {depth.measured}. Noise against "
        f"none: {cause.measured}."
    )


STUDY = Study(
    name="pieces",
    title="Affine pieces under noisy gradient descent",
    question=(
        "Does floating-point gradient descent keep a ReLU network from having many affine pieces, "
        "under which conditions, and is rounding the cause?"
    ),
    version=1,
    plan=plan,
    measure=measure,
    conclude=conclude,
    weight=weight,
)
