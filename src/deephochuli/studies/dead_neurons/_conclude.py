"""The answer on dead neurons: claims, tables, figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from deephochuli.analysis import Axis, Figure, Series, Table
from deephochuli.analysis.death import ARMS
from deephochuli.studies._evidence import share_of
from deephochuli.studies._study import Claim, Conclusion, Result
from deephochuli.studies.dead_neurons import _revival_claims as revival
from deephochuli.studies.dead_neurons import _rounding_claims as rounding
from deephochuli.studies.dead_neurons._law_claims import laws
from deephochuli.studies.dead_neurons._plan import ENOUGH, FORMATS, N_STEPS, RATE
from deephochuli.studies.dead_neurons._read import Group, Groups, deep_counts, groups_of

_NOTES: Final = (
    "The state: the reference net, trained in FP32 for 20 epochs from another initialisation each "
    "seed, is rounded to the format; in each seed 12 units of its inner layers and one of its "
    "first layer are made near-dead, by lowering their bias to the first number of the format at "
    "which they do not fire on 384 training images, in the format and in FP64. Plain SGD without "
    "momentum and weight decay then takes 30 steps on batches of these images.",
    "A unit lives when its FP64 pre-activation under the arm's weights is positive on any of the "
    "384 images. All arms take the same batches.",
    "Intervals of differences a seed are bootstrap-t intervals over seeds, since the units of one "
    "net depend on each other; their p-values are those of sign flips. McNemar's exact p treats "
    "units as independent and is given because it is what such tables are usually judged by.",
    "Low arithmetic: operands and results rounded to the format, sums in FP32, weights kept in the "
    "format (bf16-pure, fp16-pure).",
    "What is not said: other optimizers, normalisation layers, larger nets, other data.",
)


def conclude(results: Sequence[Result]) -> Conclusion:
    """Draw the conclusion."""
    groups = groups_of(results)
    return Conclusion(
        answer=_answer(groups),
        claims=_all_claims(results, groups),
        tables=(_arm_table(groups), _deep_table(results)),
        figures=(_arm_figure(groups), _deep_figure(results)),
        notes=_NOTES,
    )


def _all_claims(results: Sequence[Result], groups: Groups) -> tuple[Claim, ...]:
    return (
        revival.stays_dead(groups),
        revival.cause(groups),
        revival.permanent(groups),
        revival.stated_revival(groups),
        revival.small_rate(groups),
        revival.own_gradient(results),
        *revival.treatments(groups),
        rounding.by_rounding(results),
        rounding.by_rounding_trained(results),
        *rounding.frozen(results),
        rounding.loss_scale(results),
        rounding.control(results),
        *laws(results),
    )


def _answer(groups: Groups) -> str:
    group = groups["bf16-pure", RATE, N_STEPS]
    pair, seeds = group.pair("low", "exact"), group.per_seed("low", "exact")
    healed = group.per_seed("low", "exact-update")
    text = (
        f"Of {pair.n} near-dead units in {seeds.n} networks {pair.n_both + pair.n_first} live "
        f"after {N_STEPS} steps in pure BF16 and {pair.n_both + pair.n_second} in FP64 from the "
        "same state"
    )
    if seeds.n < ENOUGH:
        return f"{text}; too few networks for more than that."
    return (
        f"{text}, {seeds.mean:.2f} more a network [{seeds.low:.2f}, {seeds.high:.2f}]; master "
        f"weights alone give {healed.mean:.2f} [{healed.low:.2f}, {healed.high:.2f}], so it is the "
        "absorption of updates that keeps units dead."
    )


def _arm_table(groups: Groups) -> Table:
    rows: list[tuple[str | float, ...]] = []
    for group in groups.values():
        for arm in group.arms():
            alive, n = group.count(arm)
            pair = group.pair("low", arm)
            seeds = group.per_seed("low", arm)
            rows.append(
                (
                    *(group.arithmetic, group.rate, group.step, arm, ARMS[arm].says, seeds.n),
                    *(alive, n, pair.n_first, pair.n_second, pair.p_value),
                    *(seeds.mean, seeds.low, seeds.high, seeds.p_value),
                )
            )
    return Table(
        key="arms",
        title="Near-dead units that live, by format and arm",
        columns=(
            *("format", "learning rate", "steps", "arm", "what it is", "seeds", "alive", "of"),
            *("low arm only", "this arm only", "p, McNemar", "more than low, a seed"),
            *("low end", "high end", "p, sign flips"),
        ),
        rows=tuple(rows),
        note="Pairs and differences are with the low arm of the same seeds.",
    )


def _deep_table(results: Sequence[Result]) -> Table:
    fates = ("by data", "by bias", *rounding.ROUNDING, "numerically alive", "dormant, not dead")
    fates = (*fates, "frozen by absorption", "frozen by underflow", "frozen by death")
    rows: list[tuple[str | float, ...]] = []
    for arithmetic, bias, scaled in _cases():
        counts = [deep_counts(results, arithmetic, f, bias=bias, scaled=scaled) for f in fates]
        if counts[0]:
            means = [sum(each) / len(each) for each in counts]
            name = "with bias" if bias else "loss scale 2^14" if scaled else "no bias"
            rows.append((arithmetic, name, len(counts[0]), *means))
    return Table(
        key="deep",
        title="Units of a net of 20 layers of 64 units at birth: mean over seeds, of 1280",
        columns=("format", "net", "seeds", *fates),
        rows=tuple(rows),
        note="Frozen over five steps of SGD at learning rate 0.05.",
    )


def _cases() -> list[tuple[str, bool, bool]]:
    plain = [(arithmetic, False, False) for arithmetic in FORMATS]
    return [*plain, ("fp32", True, False), ("fp16-pure", False, True)]


def _arm_figure(groups: Groups) -> Figure:
    shown = [group for group in groups.values() if group.step == N_STEPS]
    return Figure(
        key="arms",
        title=f"Share of the near-dead units that live after {N_STEPS} steps",
        x=Axis("arm", "category"),
        y=Axis("share alive", low=0.0, high=1.0),
        series=tuple(_arm_series(group) for group in shown),
        how_to_read="Within one colour, arms as high as 'exact' restore what 'low' loses. "
        "Intervals take units as independent; differences within a seed are surer than they show.",
    )


def _arm_series(group: Group) -> Series:
    arms = group.arms()
    shares = [share_of(*group.count(arm)) for arm in arms]
    return Series(
        name=f"{group.arithmetic}, lr {group.rate:g}",
        x=tuple(arms),
        y=tuple(each.value for each in shares),
        low=tuple(each.low for each in shares),
        high=tuple(each.high for each in shares),
    )


def _deep_figure(results: Sequence[Result]) -> Figure:
    fates = ("by rounding", "frozen by absorption", "frozen by underflow", "frozen by death")
    series: list[Series] = []
    for fate in fates:
        counts = [deep_counts(results, arithmetic, fate) for arithmetic in FORMATS]
        series.append(
            Series(
                name=fate,
                x=FORMATS,
                y=tuple(sum(each) / max(1, len(each)) for each in counts),
                low=tuple(float(min(each, default=0)) for each in counts),
                high=tuple(float(max(each, default=0)) for each in counts),
            )
        )
    return Figure(
        key="deep",
        title="Units of the deep net that the format kills or freezes, of 1280",
        x=Axis("format", "category"),
        y=Axis("units", low=0.0),
        series=tuple(series),
        how_to_read="Mean over seeds, with the smallest and the largest.",
    )
