"""The parting of runs as tables and figures."""

from __future__ import annotations

from typing import Final

from deephochuli.analysis._sheet import Axis, Cell, Figure, Series, Sheet, Table
from deephochuli.analysis._shown import sheet_for
from deephochuli.analysis.parting._distance import CHANCE
from deephochuli.analysis.parting._judge import MARGIN, SUSTAINED, WINDOW, TapParting
from deephochuli.analysis.parting._pair import RunPair
from deephochuli.analysis.parting._result import Parting
from deephochuli.analysis.parting._text import place, sentences

MOST_CURVES: Final = 6
COMPUTED: Final = {"forward": "forward", "backward": "backward", "parameters": "optimizer"}


@sheet_for.register(Parting)
def sheet_of(parting: Parting) -> Sheet:
    """The answer as a sheet: one for all runs, with tables for each pair."""
    tables: list[Table] = [_overview(parting)]
    figures: list[Figure] = [_losses(parting)] if any(c.steps for c in parting.curves) else []
    for number, pair in enumerate(parting.pairs, start=1):
        suffix = f"-{number}" if len(parting.pairs) > 1 else ""
        tables += _tables(pair, suffix)
        figures += _figures(pair, suffix)
    if parting.changes:
        tables.append(_changes(parting))
    return Sheet(
        key="parting",
        title="Where and when runs part",
        question=f"Where and when do the runs part from {parting.runs[0]}?",
        answer=" ".join(" ".join(sentences(pair)[:2]) for pair in parting.pairs),
        findings=parting.findings,
        tables=tuple(tables),
        figures=tuple(figures),
        notes=_notes(parting),
    )


def _and(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _overview(parting: Parting) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for pair in parting.pairs:
        first, beyond, losses = pair.first, pair.beyond, pair.losses
        rows.append(
            (
                pair.other,
                len(pair.steps),
                len(pair.taps),
                None if first is None else first.first_step,
                None if first is None else place(first),
                None if beyond is None else beyond.beyond_step,
                None if beyond is None else place(beyond),
                None if losses is None else losses.first_step,
                None if losses is None else losses.final[0],
                None if losses is None else losses.final[1],
                len(pair.unaligned),
            )
        )
    columns = (
        *("run", "common steps", "places", "first differs at step", "first in"),
        *("beyond the ordinary from step", "beyond first in", "loss differs at step"),
        *("final loss of the reference", "final loss", "layers not aligned"),
    )
    return Table(
        "runs",
        f"Each run beside {parting.runs[0]}",
        columns,
        tuple(rows),
        "A place is a layer and a quantity. Final losses are means over the last tenth of the "
        "common steps.",
    )


def _tables(pair: RunPair, suffix: str) -> list[Table]:
    found = [] if pair.verdict == "equal" else [_places(pair, suffix)]
    found.append(_findings(pair, suffix))
    found += [_settings(pair, suffix)] if pair.settings else []
    found += [_unaligned(pair, suffix)] if pair.unaligned else []
    return [table for table in found if table.rows]


def _places(pair: RunPair, suffix: str) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for tap in pair.taps:
        step, distance, ordinary = tap.largest
        stored = tap.dtypes[0] if len(set(tap.dtypes)) == 1 else "/".join(tap.dtypes)
        rows.append(
            (
                *(tap.layer, tap.quantity, COMPUTED[tap.direction], stored),
                *(tap.first_step, tap.last_equal, tap.beyond_step),
                *(distance, ordinary, step),
            )
        )
    columns = (
        *(
            "layer",
            "quantity",
            "computed in",
            "stored in",
            "first differs at step",
            "equal at step",
        ),
        *("beyond the ordinary from step", "distance", "ordinary distance", "at step"),
    )
    return Table(
        f"places{suffix}",
        f"{pair.other} beside {pair.reference}: places, first parted first",
        columns,
        tuple(rows),
        "Places that part at the same step are in the order in which they are computed. The "
        "distance (Kolmogorov, of the recorded histograms) is the one that is most above the "
        "ordinary.",
    )


def _findings(pair: RunPair, suffix: str) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for change in pair.findings:
        texts = [each and f"{each.level}: {each.title}" for each in (change.before, change.after)]
        rows.append((change.kind, change.status, *texts))
    return Table(
        f"findings{suffix}",
        f"What became of the findings of {pair.reference} in {pair.other}",
        ("finding", "is", pair.reference, pair.other),
        tuple(rows),
        "The worst finding of each kind; worse and better: by level, or by more than 0.05 of the "
        "harm, which is between 0 and 1.",
    )


def _settings(pair: RunPair, suffix: str) -> Table:
    return Table(
        f"settings{suffix}",
        f"Steps of {pair.other} that were run otherwise than those of {pair.reference}",
        ("what", "from step", pair.reference, pair.other, "steps"),
        tuple((each.name, each.step, *each.values, each.n_steps) for each in pair.settings),
    )


def _unaligned(pair: RunPair, suffix: str) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (
            each.layer,
            pair.reference if each.is_reference else pair.other,
            ", ".join(each.quantities),
            each.suggestion or None,
        )
        for each in pair.unaligned
    ]
    return Table(
        f"unaligned{suffix}",
        f"Layers that only one of {pair.reference} and {pair.other} has",
        ("layer", "only in", "quantities", "perhaps the same as"),
        tuple(rows),
        "These are not compared. --rename OLD=NEW gives a layer of another run its name in the "
        "reference.",
    )


def _changes(parting: Parting) -> Table:
    return Table(
        "made",
        "What differs in how the runs were made",
        ("what", *parting.runs),
        tuple((change.name, *change.values) for change in parting.changes),
    )


def _losses(parting: Parting) -> Figure:
    return Figure(
        key="losses",
        title="Losses that were told while recording",
        x=Axis("step"),
        y=Axis("loss"),
        series=tuple(
            Series(c.run, tuple(map(float, c.steps)), c.losses, mark="line") for c in parting.curves
        ),
    )


def _figures(pair: RunPair, suffix: str) -> list[Figure]:
    parted = [tap for tap in pair.taps if tap.first_step is not None]
    return [_map(pair, parted, suffix), _distances(pair, parted, suffix)] if parted else []


def _map(pair: RunPair, parted: list[TapParting], suffix: str) -> Figure:
    """When each place parts, in the order in which places are computed."""
    ordered = sorted(parted, key=lambda tap: tap.place_in_step)
    names = tuple(place(tap) for tap in ordered)
    beyond = [tap for tap in ordered if tap.beyond_step is not None]
    steps = tuple(float(tap.first_step or 0) for tap in ordered)
    later = tuple(float(tap.beyond_step or 0) for tap in beyond)
    return Figure(
        key=f"map{suffix}",
        title=f"When each place of {pair.other} parts from {pair.reference}",
        x=Axis("places in the order in which they are computed", scale="category"),
        y=Axis("step"),
        series=(
            Series("first differs", names, steps),
            *([Series("beyond the ordinary", tuple(map(place, beyond)), later)] if beyond else []),
        ),
        how_to_read="The place with the earliest step is where the runs part; those with later "
        "steps follow from it.",
    )


def _distances(pair: RunPair, parted: list[TapParting], suffix: str) -> Figure:
    """Distances over time of the places that part first, with what is ordinary."""
    ranked = sorted(parted, key=lambda tap: (tap.beyond_step is None, tap.beyond_step or 0))
    series: list[Series] = []
    for tap in ranked[:MOST_CURVES]:
        steps = tuple(map(float, tap.steps))
        series.append(Series(place(tap), steps, tap.distances, mark="line"))
        name = f"{place(tap)}, ordinary"
        series.append(Series(name, steps, tap.ordinary, mark="line", dashed=True))
    return Figure(
        key=f"distances{suffix}",
        title=f"How far {pair.other} is from {pair.reference}",
        x=Axis("step"),
        y=Axis("Kolmogorov distance of histograms", low=0.0),
        series=tuple(series),
        how_to_read=f"The {MOST_CURVES} places that are beyond the ordinary first. A solid line "
        "above the dashed one of the same place is more than the ordinary.",
    )


def _notes(parting: Parting) -> tuple[str, ...]:
    notes = [
        "First differs: any recorded count, extreme or sum of the place differs. Equal means that "
        "everything recorded is; two tensors that hold the same numbers in another order within "
        "each channel look equal (in long runs, over all channels).",
        f"Beyond the ordinary: for {SUSTAINED} common steps in a row the distance is above what is "
        f"ordinary. That is the largest distance of the reference from one common step to the next "
        f"within {WINDOW} steps, or, with replicates, {MARGIN:g} times its largest distance from "
        "one of them there; for places that never were equal, what sampling exceeds with chance "
        f"{CHANCE:g} (independent elements) is added.",
    ]
    for pair in parting.pairs:
        alone = sum(pair.n_alone)
        if alone:
            notes.append(f"{alone} steps are in one of {pair.reference}, {pair.other} only.")
        if pair.replicates:
            notes.append(f"Beside {pair.other}, replicates are {_and(pair.replicates)}.")
        if not pair.with_sums:
            notes.append(
                f"{pair.other} was recorded on another kind of device or by another version: sums "
                "may be rounded otherwise there and are not compared."
            )
    return tuple(notes)
