"""Claims on updates that weights absorb."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from deephochuli.studies._evidence import number
from deephochuli.studies._study import Claim, Result, Verdict
from deephochuli.studies.swamping._expected import PROTOTYPE, UPDATES
from deephochuli.studies.swamping._read import Spread, broken, is_near, updates


def absorbed_updates(results: Sequence[Result]) -> Iterator[Claim]:
    """The table of the prototype, and what BF16 does to small steps."""
    found = updates(results)
    cells = {key: (ours, UPDATES[key]) for key, ours in found.items() if key in UPDATES}
    near = {key for key, (ours, theirs) in cells.items() if _is_like(ours, theirs)}
    far = [
        f"{optimizer}, {fmt}, step {step}: {cells[optimizer, fmt, step][0]} "
        f"({cells[optimizer, fmt, step][1]:g})"
        for optimizer, fmt, step in cells
        if (optimizer, fmt, step) not in near
    ]
    verdict: Verdict = "confirmed" if len(near) >= 0.9 * len(cells) else "refined"
    lost = broken(results)
    yield Claim(
        text="The shares of absorbed updates of the prototype's table",
        source=PROTOTYPE,
        expected="within 0.05, or within a factor of 1.5; 90 % of the cells",
        measured=f"{len(near)} of {len(cells)} cells"
        + ("; others: " + "; ".join(far) if far else "")
        + (f"; no gradient left to update with: {', '.join(lost)}" if lost else ""),
        verdict=verdict,
        because="Early steps repeat closely; after 220 steps the networks have gone different "
        "ways."
        + (" Adam's eps of 1e-8 is zero in FP16, and so are small squares." if lost else ""),
    )
    small = [found[key] for key in found if key[:2] == ("SGD 0.01", "bf16")]
    if small:
        low, high = min(each.low for each in small), max(each.high for each in small)
        yield Claim(
            text="BF16 absorbs 98 % of the updates of SGD with learning rate 0.01",
            source=PROTOTYPE,
            expected="0.98 within 0.02",
            measured=f"{number(low)} to {number(high)}",
            verdict="confirmed" if low > 0.96 and high < 1 else "refined",
            because="An update moves a BF16 weight only from 2^-9 of it on.",
        )


def _is_like(ours: Spread, theirs: float) -> bool:
    return abs(ours.mean - theirs) <= 0.05 or is_near(ours, theirs, 1.5)
