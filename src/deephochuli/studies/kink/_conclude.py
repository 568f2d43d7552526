"""What follows from all points of the study of the kink."""

from __future__ import annotations

from collections.abc import Sequence

from deephochuli.analysis import percent
from deephochuli.studies._study import Claim, Conclusion, Result
from deephochuli.studies.kink import _claims as claims
from deephochuli.studies.kink._pictures import (
    changed_figure,
    expected_figure,
    nets_table,
    races_table,
    zones_table,
)
from deephochuli.studies.kink._read import Net, law, nets, pick, races, zones


def conclude(results: Sequence[Result]) -> Conclusion:
    """Claims, tables and figures."""
    found, volumes, trained = nets(results), zones(results), races(results)
    counts = law(results)
    made: tuple[Claim, ...] = (
        claims.half_of_the_time(volumes, counts),
        claims.never_at_64(found, volumes),
        claims.always_at_16(found, volumes),
        claims.zero_is_best(trained),
        claims.buffered(trained, volumes),
        claims.shares_of_zeros(found),
        claims.expected_zeros(found, counts),
        claims.bf16_always(found),
        claims.linear_in_alpha(found),
        claims.structure_is_harmless(found),
        claims.extras(found),
    )
    return Conclusion(
        answer=_answer(found),
        claims=made,
        tables=(nets_table(found), zones_table(volumes), races_table(trained)),
        figures=(changed_figure(found), expected_figure(found, counts)),
        notes=(
            "Ways are torch's own kernels on this machine in the dtype named; whether they add a "
            'bias before they round is the machine\'s, "apart" is not.',
            "Each batch runs forward once and backward with ReLU'(0) = 0, 1/2, 1 on the same "
            "graph; a change is any element of any weight's gradient.",
            "The large net sees digits enlarged to 28 x 28 pixels, moved and faded at random, not "
            "the data of the paper; its volume depends on them through the density p0 alone.",
        ),
    )


def _answer(found: Sequence[Net]) -> str:
    wide, apart, fused = (pick(found, way) for way in ("fp64", "bf16 apart", "bf16"))
    if wide is None or apart is None or fused is None:
        return "Not all ways were measured."
    return (
        f"In BF16 {percent(apart.numerical / apart.n)} of the pre-activations are exactly zero "
        f"where the bias is added after rounding and {percent(fused.numerical / fused.n)} where "
        f"it is added before; {claims.told_share(apart.share_changed)} and "
        f"{claims.told_share(fused.share_changed)} of the batches hang on ReLU'(0), by "
        f"{percent(apart.size)} and {percent(fused.size)} of the gradient in the median. In "
        f"binary64 {claims.told_share(wide.share_changed)} do. The number of zeros is N p0 ulp(b): "
        "neither a number of bits alone nor a property of ReLU."
    )
