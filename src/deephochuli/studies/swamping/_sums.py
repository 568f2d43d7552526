"""Sums inside the digits network, addition by addition."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from deephochuli.analysis.swamping import Estimate, SumRow, swamping
from deephochuli.studies._reference_net import BATCH, digits, trained_reference_net
from deephochuli.studies._study import Params

NAMES = {"0": "conv1", "2": "conv2", "5": "conv3", "8": "fc1", "10": "fc2"}
SAMPLING_SEED = 3


def measure_sums(params: Params) -> Mapping[str, Any]:
    """Every sum of the network's forward and backward on the first 64 training images."""
    model = trained_reference_net(params["epochs"], params["seed"])
    images, labels, _, _ = digits()

    def loss(output: Tensor) -> Tensor:
        return nn.functional.cross_entropy(output, labels[:BATCH])

    found = swamping(
        model,
        images[:BATCH],
        loss=loss,
        arithmetic=params.get("arithmetic"),
        format=params.get("format"),
        n_outputs=params["outputs"],
        seed=SAMPLING_SEED,
    )
    return {"rows": [row_of(row, NAMES.get(row.layer, row.layer)) for row in found.rows]}


def row_of(row: SumRow, layer: str) -> dict[str, Any]:
    """A row as JSON holds it, under the name of its layer."""
    return {
        "layer": layer,
        "sum": row.sum,
        "order": row.order,
        "k": row.n_addends,
        "absorbed": _ends(row.absorbed),
        "lost_mass": _ends(row.lost_mass),
        "bits_lost": row.bits_lost,
        "underflowed": row.n_underflowed,
        "zero_share": row.zero_share,
        "predicted": None if row.predicted is None else known(row.predicted),
    }


def _ends(estimate: Estimate) -> list[float] | None:
    """Value and both ends, or nothing where there was no addition."""
    ends = [estimate.value, estimate.low, estimate.high]
    return None if math.isnan(estimate.value) else ends


def known(value: float) -> float | None:
    """A number, or None where there is none."""
    return None if math.isnan(value) else value
