"""A parting in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from deephochuli.analysis.parting._judge import TapParting
from deephochuli.analysis.parting._pair import RunPair

MOST_NAMES: Final = 4
WHERE: Final = {
    "forward": "in the forward pass",
    "backward": "in the backward pass",
    "parameters": "in the optimizer step",
}


def place(tap: TapParting) -> str:
    """Layer and quantity, as messages write them."""
    return f"{tap.layer}:{tap.quantity}"


def listed(names: Sequence[str], most: int = MOST_NAMES) -> str:
    """Names with commas, and how many more there are.

    Example:
        >>> listed(["a", "b", "c"], most=2)
        'a, b and 1 more'
    """
    more = len(names) - most
    return ", ".join(names) if more <= 0 else f"{', '.join(names[:most])} and {more} more"


def sentences(pair: RunPair) -> list[str]:
    """What is to be said about two runs: when and where they part, and what explains it."""
    if not pair.steps:
        return [f"{pair.other} and {pair.reference} have no recorded step in common."]
    if not pair.taps:
        return [f"{pair.other} and {pair.reference} have no layer of one name in common."]
    said = [parting_sentence(pair)]
    if pair.first is not None:
        said += [beyond_sentence(pair), *_causes(pair)]
    left = len(pair.unaligned)
    if left:
        said.append(f"{left} {'layer is' if left == 1 else 'layers are'} in one of the two only.")
    return said


def parting_sentence(pair: RunPair) -> str:
    """The first step at which anything differs, and the place."""
    first, common = pair.first, f"{len(pair.steps)} common steps"
    if first is None and pair.verdict == "equal":
        return f"{pair.other} is recorded exactly as {pair.reference} at all {common}."
    if first is None:
        return (
            f"{pair.other} and {pair.reference} differ at none of {len(pair.taps)} places over "
            f"{common}, but in the losses or settings of their steps."
        )
    since = (
        f"up to step {first.last_equal} everything recorded there is equal"
        if first.last_equal is not None
        else "that is the first common step"
    )
    return (
        f"{pair.other} parts from {pair.reference} at step {first.first_step}, "
        f"{WHERE[first.direction]}, first at {_places(pair)}; {since}."
    )


def _places(pair: RunPair) -> str:
    """Where two runs part first, with how many places part at the same step in the same pass."""
    first = pair.first
    if first is None:
        return ""
    n_more = len(pair.first_places) - 1
    return f"{place(first)} (and {n_more} more in that step)" if n_more else place(first)


def beyond_sentence(pair: RunPair) -> str:
    """The first step that is beyond the ordinary, and what is ordinary."""
    beyond = pair.beyond
    ordinary = (
        f"what {listed(pair.replicates)} differ by"
        if pair.replicates
        else f"{pair.reference} itself moves from step to step"
    )
    if beyond is None:
        return f"No histogram stays further away than {ordinary}."
    return f"From step {beyond.beyond_step} on, {place(beyond)} is further away than {ordinary}."


def _causes(pair: RunPair) -> list[str]:
    """What is known to be different at the place, or in how the runs were made."""
    first, said = pair.first, list[str]()
    if first is None:
        return said
    if first.dtypes[0] != first.dtypes[1]:
        said.append(
            f"{place(first)} is {first.dtypes[0]} in one and {first.dtypes[1]} in the other."
        )
    elif pair.between:
        said.append(f"What lies between the last equal place and it: {listed(pair.between)}.")
    said += [
        f"{change.name} is {change.values[0]:g} and {change.values[1]:g} from step {change.step}."
        for change in pair.settings
        if change.step <= (first.first_step or 0)
    ]
    if pair.changes:
        said.append(f"Made differently: {listed([change.name for change in pair.changes])}.")
    if not pair.replicates and any(change.name == "seed" for change in pair.changes):
        said.append(
            "How much a seed does would be told by a third run that differs in nothing else."
        )
    return said
