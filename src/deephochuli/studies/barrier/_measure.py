"""Measure single layers, whole models and plain normal numbers."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deephochuli.analysis.barrier import (
    CERTAIN,
    Judgement,
    Lattice,
    LayerBarrier,
    Tally,
    barrier,
    count,
    counted,
    judge,
    trailing_upper,
    trailing_zeros,
)
from deephochuli.formats import BINARY64, get_format
from deephochuli.studies._study import Params
from deephochuli.studies.barrier._models import images, model_of, way_of

NEAR_BELOW = 2.0**-6
KEPT = 512
_SIDE, _BATCH = 64, 8


def measure_layer(params: Params) -> Mapping[str, Any]:
    """Count the pre-activations of one layer of the reference net, of noise that never repeats.

    The second layer is fed with what the first makes of the noise.
    """
    way = way_of(params["way"])
    net: Any = model_of("convolutional", params["bias"], params["epochs"], way)
    layer: nn.Module = net[int(params["layer"])]
    before = net[: int(params["layer"])]
    tally: Tally | None = None
    wanted = 1 << params["log2_n"]
    for noise in images(_BATCH, _SIDE, 1 + params["seed"]):
        inputs: Tensor = before(noise.to(way.dtype))
        tally = counted(layer, inputs, layer(inputs), NEAR_BELOW, KEPT, tally)
        if int((tally.n + tally.n_structural).sum()) >= wanted:
            break
    assert tally is not None  # images never end
    bias: Any = layer.bias
    return {
        "tally": tally.to_json(),
        "bias": None if bias is None else bias.double().tolist(),
    }


def measure_model(params: Params) -> Mapping[str, Any]:
    """Ask what limits each layer of a model; about 2^log2_n values in its largest layer."""
    way = way_of(params["way"])
    model = model_of(params["model"], params["bias"], params["epochs"], way)
    n_images = 1 << (params["log2_n"] - (11 if params["model"] == "convolutional" else 10))
    size, n_batches = (8 * n_images, 8) if params["model"] == "dense" else (n_images, 4)
    batches = itertools.islice(images(size // n_batches, 8, params["seed"]), n_batches)
    result = barrier(
        model,
        (batch.to(way.dtype) for batch in batches),
        arithmetic=way.arithmetic,
        interventions=params["bias"],
        kept=1 << 12,
    )
    return {"rows": [_row(row) for row in result.rows]}


def measure_normal(params: Params) -> Mapping[str, Any]:
    """Count standard normal numbers, which no arithmetic made."""
    generator = torch.Generator().manual_seed(params["seed"])
    tally = Tally.empty(1, NEAR_BELOW, 1 << 14)
    for _ in range(1 << max(0, params["log2_n"] - 20)):
        z = torch.randn(1 << 20, 1, 1, generator=generator, dtype=torch.float64)
        tally = tally.merge(count(z, NEAR_BELOW, 1 << 14, kept_below=tally.kept_below))
    return {"judgement": _judgement(judge(tally, BINARY64)), "tally": tally.to_json()}


def _row(row: LayerBarrier) -> dict[str, Any]:
    return {
        "layer": row.layer,
        "format": row.format,
        "accumulator": row.accumulator,
        "judgement": _judgement(row.judgement),
        "interventions": {each.name: _lattice(each.lattice) for each in row.interventions},
        "groups_of_four": _groups_of_four(row),
    }


def _groups_of_four(row: LayerBarrier) -> list[int]:
    """Of kept values below 2^-12, four at a time: how often they prove a lattice, and how many."""
    small = row.tally.small
    values = small.magnitude[small.magnitude < 2.0**-12]
    values = np.random.default_rng(0).permutation(values)[: len(values) // 4 * 4]
    if not len(values):
        return [0, 0]
    sums = trailing_zeros(values, get_format(row.format)).reshape(-1, 4).sum(1)
    return [sum(trailing_upper(int(total), 4) < CERTAIN for total in sums), len(sums)]


def _judgement(it: Judgement) -> dict[str, Any]:
    rarity, zeros = it.rarity, it.zeros
    return {
        "limit": it.limit,
        "because": it.because,
        "n": it.n,
        "n_structural": it.n_structural,
        "p0": [rarity.p0.value, rarity.p0.low, rarity.p0.high],
        "cutoff": _finite(rarity.cutoff),
        "predicted": _finite(rarity.predicted.value),
        "p": _finite(rarity.p),
        "bins_p": _finite(rarity.bins_p),
        "uniform_p": _finite(rarity.uniform_p),
        "zeros": zeros.seen,
        "zeros_in_shadow": zeros.in_shadow,
        "zeros_by_range": zeros.by_range,
        "zeros_by_lattice": _finite(zeros.by_lattice),
        "zeros_p": _finite(zeros.lattice_p),
        "lattice": _lattice(it.lattice),
        "visible_from": _finite(it.visible_from),
    }


def _lattice(it: Lattice) -> dict[str, Any]:
    return {
        "owner": it.owner,
        "spacing": it.spacing,
        "p": it.p,
        "trailing_mean": _finite(it.trailing_mean),
        "n_values": it.n_values,
        "distinct_p": it.distinct_p,
        "n_agreeing": it.n_agreeing,
        "n_channels": it.n_channels,
        "bias_format": it.bias_format,
    }


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
