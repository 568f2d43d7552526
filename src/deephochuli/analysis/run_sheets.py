"""Questions that a recorded run answers by itself, as sheets: no model, no data, no shadow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from deephochuli.analysis import dead_units, underflow, updates
from deephochuli.analysis._sheet import Axis, Cell, Figure, Series, Sheet, Table
from deephochuli.analysis.barrier import barrier_of_run
from deephochuli.store import RunReader

MOST_LAYERS: Final = 8
_RECORDED: Final = "Only recorded steps are seen, and what passed through the model in them."


def barrier(run: RunReader) -> Sheet:
    """Where the magnitudes of recorded pre-activations end, and what rarity predicts."""
    return barrier_of_run(run).sheet()


def death(run: RunReader) -> Sheet:
    """When recorded channels fall silent and come back."""
    lives = dead_units.lives(run)
    n_dead, n = sum(int(life.dead.sum()) for life in lives), sum(life.n_channels for life in lives)
    revived = sum(life.n_revived for life in lives)
    return Sheet(
        key="death",
        title="Dead units",
        question="Which channels of ReLU layers are silent, since when, and do they come back?",
        answer=(
            f"{n_dead} of {n} channels are silent at the end of the run, and {revived} were silent "
            "once and came back."
            if lives
            else "The run has no ReLU layer whose channels were counted."
        ),
        findings=tuple(dead_units.find(run)),
        tables=(_lives(lives),),
        figures=(_silence(lives),) if lives else (),
        notes=(
            "A channel is silent in a window when none of its recorded pre-activations there is "
            "positive; windows are the chunks of the recording. Why it is silent, data or "
            "rounding, needs the model: deephochuli examine MODEL -q death.",
            _RECORDED,
        ),
    )


def swamping(run: RunReader) -> Sheet:
    """Which updates were too small to move their weights."""
    found = updates.stagnations(run)
    total = sum(each.updatable for each in found)
    lost = sum(each.unmoved for each in found)
    rows: list[tuple[Cell, ...]] = [
        (
            each.series.info.layer,
            each.series.info.dtype,
            each.updatable,
            each.share,
            each.low_share,
            each.high_share,
        )
        for each in found
    ]
    columns = ("parameter", "stored in", "updates", "unmoved", "unmoved, low", "unmoved, high")
    return Sheet(
        key="swamping",
        title="Swamped updates",
        question="Which updates were too small to move their weights?",
        answer=(
            f"{lost} of {total} updates with a gradient left the stored bits as they were "
            f"({lost / total:.3%})."
            if total
            else "The run has no updates: record with an optimizer."
        ),
        findings=tuple(updates.find(run)),
        tables=(
            Table(
                "updates",
                "Updates that did not move their weight, by parameter",
                columns,
                tuple(rows),
                "Shares over all recorded steps, and the smallest and largest in one step.",
            ),
        ),
        notes=(
            "Counts are exact. What is swallowed inside of sums needs the model: deephochuli "
            "examine MODEL -q swamping.",
            _RECORDED,
        ),
    )


def backward(run: RunReader) -> Sheet:
    """Which gradients have left, or nearly left, the range of their format."""
    found = underflow.underflows(run)
    n_hit = sum(each.damaged_share > 0 for each in found)
    rows: list[tuple[Cell, ...]] = [
        (
            each.series.info.layer,
            each.series.info.quantity,
            each.format.name,
            each.n_nonzero,
            each.flushed_low_share,
            each.flushed_high_share,
            each.damaged_share,
        )
        for each in found
    ]
    columns = (
        *("layer", "quantity", "format", "nonzero left", "flushed, at least", "flushed, at most"),
        "flushed or subnormal",
    )
    return Sheet(
        key="backward",
        title="Gradients that underflow",
        question="Which gradients were flushed to zero, or lost bits below the smallest normal?",
        answer=(
            f"{n_hit} of {len(found)} recorded gradient tensors with nonzero elements near the end "
            "of their format's range lost some to zero or to subnormal numbers."
            if found
            else "No recorded gradient comes near the lower end of its format's range."
        ),
        findings=tuple(underflow.find(run)),
        tables=(Table("gradients", "Share of the gradients of each tensor", columns, tuple(rows)),),
        notes=(
            "Which of them vanish in exact arithmetic, too, needs the model: deephochuli examine "
            "MODEL -q backward.",
            _RECORDED,
        ),
    )


QUESTIONS: Final[dict[str, Callable[[RunReader], Sheet]]] = {
    "barrier": barrier,
    "death": death,
    "swamping": swamping,
    "backward": backward,
}
"""Name of a question -> what answers it from a run."""


def _lives(lives: list[dead_units.ChannelLife]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for life in lives:
        deaths = life.death_step[life.dead]
        back = [step for step, _, died in life.changes if not died]
        rows.append(
            (
                life.tap.layer,
                life.n_channels,
                int(life.dead.sum()),
                int(life.dormant.sum()),
                life.n_revived,
                int(deaths.min()) if len(deaths) else None,
                max(back) if back else None,
            )
        )
    columns = ("layer", "channels", "dead", "dormant", "revived", "first death", "last revival")
    return Table(
        "channels", "Channels by layer", columns, tuple(rows), "Deaths and revivals: step."
    )


def _silence(lives: list[dead_units.ChannelLife]) -> Figure:
    worst = sorted(lives, key=lambda life: -float(life.silent.mean()))[:MOST_LAYERS]
    series = tuple(
        Series(
            life.tap.layer,
            tuple(float(step) for step in life.last_steps),
            tuple(life.silent.mean(axis=1).tolist()),
            mark="line",
        )
        for life in worst
    )
    return Figure(
        key="silence",
        title="Share of silent channels over the run",
        x=Axis("step"),
        y=Axis("share of the layer's channels", low=0.0),
        series=series,
        how_to_read=f"One line a layer, the {MOST_LAYERS} with most silence; a line that falls is "
        "channels that came back.",
    )
