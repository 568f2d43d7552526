"""What the measurements say about the founding document's claims on swamping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deephochuli.analysis import percent
from deephochuli.studies._study import Conclusion, Result
from deephochuli.studies.swamping import _network_claims as network
from deephochuli.studies.swamping import _rule_claims as rule
from deephochuli.studies.swamping._growth_claims import depth, growth_of_sums
from deephochuli.studies.swamping._pictures import figures, tables
from deephochuli.studies.swamping._read import Key, Spread, sums
from deephochuli.studies.swamping._update_claims import absorbed_updates


def conclude(results: Sequence[Result]) -> Conclusion:
    """Claims, tables and figures from all points."""
    trained = sums(results, trained=True)
    return Conclusion(
        answer=_answer(results, trained),
        claims=(
            rule.document(results),
            rule.thresholds(results),
            *rule.pairs(results),
            rule.dice(results),
            network.forward(trained),
            network.gradients(results, trained),
            network.training(results, trained),
            network.orders(trained),
            *network.prototype_again(results, trained),
            *network.narrow(results, trained),
            *growth_of_sums(results),
            *depth(results),
            *absorbed_updates(results),
        ),
        tables=tables(results),
        figures=figures(results),
        notes=(
            "An addition is absorbed when its result is its larger operand and the smaller one is "
            "not zero. Sums are replayed with the true addends of the digits network (conv 1-16, "
            "conv 16-32, max-pool, conv 32-32, 512-64, 64-10) on its first 64 training images.",
            "Shares are means over networks trained from different initial weights; ranges are "
            "those of the networks.",
            "Updates: weights, gradients and optimizer states in one format, as torch computes in "
            "it on a CPU; the loss in FP32. FP16 has one seed, the others two.",
        ),
    )


def _answer(results: Sequence[Result], trained: Mapping[Key, Spread]) -> str:
    mass = sums(results, trained=True, value="lost_mass")
    shares = _weight_gradients(trained, "fp32")
    lost = _weight_gradients(mass, "fp32")
    return (
        "FP32 absorbs x into 1 exactly for 0 < x <= 2^-24 = 5.960464477539063e-08 (the tie "
        "included) and for 0 > x >= -2^-25. In the trained digits network FP32 gradient sums "
        f"absorb {percent(min(shares))} to {percent(max(shares))} of their additions and "
        f"{min(lost):.0e} to {max(lost):.0e} of the mass if added one after the other; forward "
        "sums lose nothing that matters."
    )


def _weight_gradients(found: Mapping[Key, Spread], way: str) -> list[float]:
    """Means of the sequential weight-gradient sums of a format."""
    return [
        value.mean
        for (_, kind, name, order), value in found.items()
        if (kind, name, order) == ("weight gradient", way, "sequential")
    ]
