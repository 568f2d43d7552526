"""Claims on how absorption grows with the length of a sum, and with depth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from deephochuli.studies._evidence import exponent_of, mean_of, told
from deephochuli.studies._study import Claim, Result
from deephochuli.studies.swamping._expected import OURS
from deephochuli.studies.swamping._read import Spread, by_depth, growths, off_by


def growth_of_sums(results: Sequence[Result]) -> Iterator[Claim]:
    """The law that predicts absorbed shares, and how they grow with the number of addends."""
    found = list(growths(results))
    ratios = [
        (growth, k, ours.mean, law.mean)
        for growth in found
        for k, ours, law in zip(
            growth.ks, growth.shares["sequential"], growth.predicted, strict=True
        )
        if ours.mean > 1e-3
    ]
    worst = max(ratios, key=lambda each: off_by(each[2], each[3]))
    by_format = {
        name: max(off_by(ours, law) for growth, _, ours, law in ratios if growth.format == name)
        for name in dict.fromkeys(growth.format for growth, *_ in ratios)
    }
    yield Claim(
        text="A random walk predicts the absorbed share of sequential sums from their addends",
        source="derived (docs/swamping.md)",
        expected="within a quarter",
        measured="within a factor of "
        + ", ".join(f"{factor:.2f} ({name})" for name, factor in by_format.items())
        + f", {len(ratios)} cases (worst: {worst[0].format}, {worst[0].addends}, "
        f"K = {worst[1]}: {worst[2]:.2g}, predicted {worst[3]:.2g})",
        verdict="confirmed" if off_by(worst[2], worst[3]) <= 1.25 else "refined",
        because="What matters is how large a partial sum is beside the next addend. Where most "
        "addends are absorbed the sum stops growing, which the walk does not know: it then "
        "predicts too much.",
    )
    for addends, law, low, high in (("normal", 0.5, 0.4, 0.6), ("positive", 1.0, 0.8, 1.2)):
        slopes = {
            growth.format: slope
            for growth in found
            if growth.addends == addends
            and (slope := _slope(growth.ks, growth.shares["sequential"])) is not None
        }
        if not slopes:
            continue
        is_so = all(low <= slope <= high for slope in slopes.values())
        yield Claim(
            text=f"The absorbed share grows like K^{law:g} for {addends} addends, until it "
            "saturates",
            source="derived (docs/swamping.md)",
            expected=f"exponents of sequential sums from {low} to {high}, where shares are below "
            "0.2",
            measured=", ".join(f"{name}: {slope:.2f}" for name, slope in slopes.items()),
            verdict="confirmed" if is_so else "refined",
            because="Partial sums of both signs grow like a random walk, those of one sign like K. "
            "Blocks and trees do not grow so: their chains stay short.",
        )


def _slope(ks: Sequence[int], shares: Sequence[Spread]) -> float | None:
    """Exponent of the growth where it is neither noise nor saturated."""
    pairs = [(float(k), s.mean) for k, s in zip(ks, shares, strict=True) if 1e-6 < s.mean < 0.2]
    if len(pairs) < 2:
        return None
    return exponent_of([k for k, _ in pairs], [share for _, share in pairs])


def depth(results: Sequence[Result]) -> Iterator[Claim]:
    """What the depth of a network does."""
    nets = by_depth(results, "forward")
    if not nets:
        return
    exponents: list[float] = []
    factors: list[float] = []
    for rows in nets:
        inner = rows[1:]
        depths = [float(i + 2) for i in range(len(inner))]
        exponents.append(exponent_of(depths, [row["absorbed"][0] for row in inner]))
        factors += [off_by(row["absorbed"][0], row["predicted"]) for row in inner]
    exponent = mean_of(exponents)
    yield Claim(
        text="Swamping in forward sums does not grow with depth",
        source=OURS,
        expected="exponent in depth between -0.2 and 0.2, at one K, in BF16",
        measured=f"exponent {told(exponent, 2)}; {len(nets)} networks of {len(nets[0])} layers; "
        f"prediction right within a factor of {sorted(factors)[int(0.95 * len(factors))]:.2f} in "
        "95 % of the layers",
        verdict="confirmed" if abs(exponent.value) <= 0.2 else "refined",
        because="The share is that of a partial sum to its own addends: a scale of activations "
        "common to both drops out.",
    )
