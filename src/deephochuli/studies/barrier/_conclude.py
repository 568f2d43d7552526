"""The conclusion: is it the hardware, rarity, or the bias?"""

from __future__ import annotations

from collections.abc import Sequence

from deephochuli.analysis import Table
from deephochuli.analysis.barrier import COLUMNS, row_of
from deephochuli.studies._study import Conclusion, Result
from deephochuli.studies.barrier import _claims as claims
from deephochuli.studies.barrier._figures import cutoffs, histogram
from deephochuli.studies.barrier._read import Counted, counted, rows


def conclude(results: Sequence[Result]) -> Conclusion:
    """Draw the conclusion from all points."""
    counts = counted(results)
    fp32, fp64 = (_first(counts, way) for way in ("fp32", "fp64"))
    others = [each for each in counts if each is not fp32]
    return Conclusion(
        answer=_answer(fp32, fp64),
        claims=(
            claims.decay(fp32, fp64),
            claims.hardware(fp32, fp64, counts),
            claims.expected_end(fp64),
            claims.anchored([each for each in counts if each.bias], results),
            claims.zeros(fp32, others),
            claims.visible(counts),
            claims.few_values(results),
            claims.blunt_tests(results),
            claims.narrow(results),
            claims.plain(results),
            claims.everywhere(results),
        ),
        tables=(_counts(counts), _laws(counts), _models(results)),
        figures=(histogram((fp32, fp64)), cutoffs(counts)),
        notes=(
            "Inputs of the large counts are uniform noise that never repeats; FP32 and FP64 have "
            "the same inputs and weights. Values without a nonzero product are left out.",
            "Counts are exact; the cutoff law is fitted to minima of disjoint groups of blocks of "
            "2^17 values. In the large counts all values are counted in one thread of torch's own "
            "convolution on the machine that the page names.",
            "bf16 and fp16 round operands and results and sum in FP32, as tensor cores do; "
            "'bias last' and 'product last' round every partial sum.",
        ),
    )


def _first(counts: Sequence[Counted], way: str) -> Counted:
    return next(each for each in counts if each.way == way and each.bias and each.layer == "conv1")


def _answer(fp32: Counted, fp64: Counted) -> str:
    narrow, wide = fp32.judgement, fp64.judgement
    return (
        f"Rarity: of {wide.n:.3g} pre-activations in FP64 the smallest is "
        f"{wide.rarity.cutoff:.2g}, where 1/(2 N p0) = {wide.rarity.predicted.value:.2g}, and the "
        f"end of the histogram moves as N to the power {fp64.free.exponent} in FP64 and, up to "
        f"N = {fp32.free.n[-1]:.2g}, {fp32.free.exponent} in FP32. FP32 has a lattice besides, "
        f"anchored to the bias: spacing {narrow.lattice.spacing or 0:.2g} and up, "
        f"{narrow.zeros.seen} exact zeros ({narrow.zeros.by_lattice:.3g} predicted), none in FP64; "
        f"it shows in a histogram from N = {narrow.visible_from:.2g} on, where rarity ends at "
        "about the same magnitude. No limit of the hardware was met."
    )


def _counts(counts: Sequence[Counted]) -> Table:
    return Table(
        key="counts",
        title="Large counts",
        columns=COLUMNS,
        rows=tuple(row_of(each.name, each.way, each.judgement) for each in counts),
    )


def _laws(counts: Sequence[Counted]) -> Table:
    return Table(
        key="laws",
        title="The smallest magnitude against N",
        columns=("layer", "exponent", "exponent, low", "exponent, high", "N from", "to", "groups"),
        rows=tuple(
            (
                each.name,
                law.exponent.value,
                law.exponent.low,
                law.exponent.high,
                law.n[0],
                law.n[-1],
                sum(law.n_groups),
            )
            for each in counts
            for law in dict.fromkeys((each.free, each.law))
        ),
        note="Rarity predicts -1; a limit that does not depend on N would be 0. Where a lattice "
        "comes within reach the fit is made up to a 64th of where it is seen, and again up to "
        "the largest N.",
    )


def _models(results: Sequence[Result]) -> Table:
    return Table(
        key="models",
        title="Layers of whole models",
        columns=(
            "model",
            "arithmetic",
            "bias",
            "layer",
            "limited by",
            "N",
            "smallest |z|",
            "1/(2 N p0)",
            "exact zeros",
            "lattice made by",
            "spacing",
            "channels that agree with the bias",
            "of",
        ),
        rows=tuple(
            (
                params["model"],
                params["way"],
                params["bias"],
                row["layer"],
                row["judgement"]["limit"],
                row["judgement"]["n"],
                row["judgement"]["cutoff"],
                row["judgement"]["predicted"],
                row["judgement"]["zeros"],
                row["judgement"]["lattice"]["owner"],
                row["judgement"]["lattice"]["spacing"],
                row["judgement"]["lattice"]["n_agreeing"],
                row["judgement"]["lattice"]["n_channels"],
            )
            for params, row in rows(results)
        ),
    )
