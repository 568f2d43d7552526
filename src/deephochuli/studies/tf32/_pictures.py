"""Tables and figures of the study."""

from __future__ import annotations

from collections.abc import Sequence

from deephochuli.analysis import Axis, Figure, Series, Table
from deephochuli.analysis._sheet import Cell as Value
from deephochuli.studies._study import Result
from deephochuli.studies.tf32._laws import ratio
from deephochuli.studies.tf32._read import DEEP, TRAINED, Cell, Depth, networks

DOCUMENTED = 830.0


def tables(
    results: Sequence[Result], found: Sequence[Cell], block: int | None
) -> tuple[Table, ...]:
    """Products by K, which statistic gives 830, and networks by layer."""
    return _products(found, block), _statistics(found), *_layers(results)


def _products(found: Sequence[Cell], block: int | None) -> Table:
    sizes = {"sequential": None, "blocks of 384": 384, "this machine": block}
    rows = tuple(
        (
            *(each.inputs, each.way, each.k),
            *(each.rms.value, each.rms.low, each.rms.high, _law(each, sizes[each.way], block)),
            *(each.max, each.mean, each.cut.value),
        )
        for each in found
    )
    return Table(
        key="products",
        title="Errors with TF32 over errors with FP32, by K",
        columns=(
            *("inputs", "sums", "K", "rms ratio", "low", "high", "predicted"),
            *("ratio of largest", "ratio of means", "cut over rounded"),
        ),
        rows=rows,
        note="Products of a (256, K) and a (K, 64) matrix. Predicted: 2^14 / sqrt(rho K_b + "
        "K / K_b + 1), where K is a multiple of the block or below it.",
    )


def _law(cell: Cell, size: int | None, block: int | None) -> float | None:
    """The prediction, where the order of the sums is known."""
    if cell.way == "this machine" and (block is None or (cell.k > block and cell.k % block != 0)):
        return None
    return cell.predicted(size)


def _statistics(found: Sequence[Cell]) -> Table:
    """All cells whose ratio is within 3 % of 830, in any statistic."""
    rows: list[tuple[Value, ...]] = []
    for each in found:
        for statistic, value in (("rms", each.rms.value), ("max", each.max), ("mean", each.mean)):
            if abs(value / DOCUMENTED - 1) < 0.03:
                rows.append((each.way, each.inputs, each.k, statistic, value))
    return Table(
        key="statistics",
        title="What gives 830 within 3 %",
        columns=("sums", "inputs", "K", "statistic", "ratio"),
        rows=tuple(rows),
        note=f"Of {3 * len(found)} ratios. Only sums in blocks of 384 stay there as K grows.",
    )


def _layers(results: Sequence[Result]) -> tuple[Table, ...]:
    rows = tuple(_layer(net, place) for net in networks(results, TRAINED) for place in range(5))
    if not rows:
        return ()
    columns = (
        *("network", "layer", "K", "own: rms", "own: largest", "total: rms", "total: largest"),
        *("total, cut: rms", "relative error, total", "flips", "flips expected"),
    )
    return (
        Table(
            "layers",
            "The trained digits network: errors with TF32 over errors with FP32, by layer",
            columns,
            rows,
            "The first layer reads multiples of 1/16, which TF32 holds: only its weights round.",
        ),
    )


def _layer(net: Depth, place: int) -> tuple[Value, ...]:
    layer = net.layers[place]
    return (
        *(net.name, place + 1, layer["k"]),
        *(net.ratios("own")[place], net.ratios("own", statistic="max")[place]),
        *(net.ratios("total")[place], net.ratios("total", statistic="max")[place]),
        *(net.ratios("total", "tf32-rz")[place], layer["total"]["tf32"]["rel_l2"]),
        *(layer["flips"]["tf32"]["flips"], layer["flips"]["tf32"]["expected"]),
    )


def figures(results: Sequence[Result], found: Sequence[Cell]) -> tuple[Figure, ...]:
    """The ratio by K, relative errors by depth, and flips against their expectation."""
    return _by_k(found), _by_depth(results), _by_flips(results)


def _by_k(found: Sequence[Cell]) -> Figure:
    series: list[Series] = []
    ks = tuple(sorted({float(each.k) for each in found}))
    for way, block in (("sequential", None), ("blocks of 384", 384), ("blocks of 192", 192)):
        law = tuple(ratio(int(k), block) for k in ks)
        series.append(Series(f"predicted, {way}", ks, law, mark="line", dashed=True))
    for way in dict.fromkeys(each.way for each in found):
        row = [each for each in found if each.way == way and each.inputs == "normal"]
        series.append(
            Series(
                way,
                tuple(float(each.k) for each in row),
                tuple(each.rms.value for each in row),
                tuple(each.rms.low for each in row),
                tuple(each.rms.high for each in row),
            )
        )
    series.append(Series("830", (), (DOCUMENTED,), mark="rule"))
    return Figure(
        key="by-k",
        title="Errors with TF32 over errors with FP32, normal inputs",
        x=Axis("products in one sum, K", "log2"),
        y=Axis("ratio of rms errors", "log2"),
        series=tuple(series),
        how_to_read="The line falls as long as FP32 sums one product after the other; a kernel "
        "that sums in blocks stops falling at the block.",
    )


def _by_depth(results: Sequence[Result]) -> Figure:
    series: list[Series] = []
    for net in networks(results, DEEP):
        depths = tuple(float(i + 1) for i in range(len(net.layers)))
        for way, name in (("fp32", "FP32"), ("tf32", "TF32 rounded"), ("tf32-rz", "TF32 cut")):
            relative = tuple(net.total(way, "rel_l2"))
            series.append(Series(f"{name}, {net.name}", depths, relative, mark="line"))
    return Figure(
        key="by-depth",
        title="Relative errors by depth, plain networks of 24 layers",
        x=Axis("layer", "log2"),
        y=Axis("norm of the error over norm of the result", "log10"),
        series=tuple(series),
        how_to_read="On these axes a power of depth is a straight line: slope 1/2 where errors "
        "have independent signs, slope 1 where all have the same one.",
    )


def _by_flips(results: Sequence[Result]) -> Figure:
    series: list[Series] = []
    largest = 1.0
    for way, name in (("tf32", "TF32 rounded"), ("tf32-rz", "TF32 cut")):
        rows = [each["flips"][way] for net in networks(results, DEEP) for each in net.layers]
        expected = tuple(float(each["expected"]) for each in rows)
        observed = tuple(float(each["flips"]) for each in rows)
        largest = max(largest, *expected, *observed)
        series.append(Series(name, expected, observed))
    line = Series("as expected", (0.0, largest), (0.0, largest), mark="line", dashed=True)
    return Figure(
        key="flips",
        title="Pre-activations whose sign flips, by layer",
        x=Axis("expected: n p(0) E|e| near zero", low=0.0),
        y=Axis("counted", low=0.0),
        series=(line, *series),
        how_to_read="Points scatter around the line by the square root of their count.",
    )
