"""Affine pieces under noisy gradient descent: the theorem, its assumptions, and controls."""

from __future__ import annotations

from collections.abc import Sequence

from deephochuli.studies._study import Conclusion, Result, Study
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
    verdicts = [claim.verdict for claim in found]
    counted = {verdict: verdicts.count(verdict) for verdict in dict.fromkeys(verdicts)}
    n_open = sum(row.values["n_open"] for row in rows)
    n_recounted = sum(row.values["n_recounted"] for row in rows)
    n_differing = sum(row.values["n_differing"] for row in rows)
    return Conclusion(
        answer=(
            f"{found[0].measured[0].upper()}{found[0].measured[1:]}. Of {len(found)} claims "
            + ", ".join(f"{n} are {verdict}" for verdict, n in counted.items())
            + "."
        ),
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
