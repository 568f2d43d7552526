"""One network in all arithmetics, and once more with a loss scale."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from deephochuli.analysis.backward import Backward, GradientRow, LossScale, backward
from deephochuli.analysis.swamping import Estimate
from deephochuli.studies._reference_net import digits
from deephochuli.studies._study import Params
from deephochuli.studies.backward._models import network
from deephochuli.studies.backward._plan import ARITHMETICS, LEARNING_RATE, SCALED


def measure(params: Params) -> Mapping[str, Any]:
    """Measure one network."""
    model = network(params["what"], params["epochs"], params["seed"])
    images, labels, _, _ = digits()
    images, labels = images[: params["images"]], labels[: params["images"]]

    def loss(output: Tensor) -> Tensor:
        return nn.functional.cross_entropy(output, labels)

    def look(arithmetics: tuple[str, ...], scale: float = 1.0) -> Backward:
        return backward(
            model,
            images,
            arithmetics,
            loss=loss,
            scale=scale,
            learning_rate=LEARNING_RATE,
            n_outputs=0,
        )

    plain = look(ARITHMETICS)
    values: dict[str, Any] = {
        name: {"rows": [row_of(row) for row in plain.of(name)], "scale": _scale(plain.scales[name])}
        for name in ARITHMETICS
    }
    for name in SCALED:
        rescued = look((name,), plain.scales[name].advised)
        values[name]["rescued"] = [row_of(row) for row in rescued.rows]
    return values


def row_of(row: GradientRow) -> dict[str, Any]:
    """A row as JSON holds it."""
    fate = row.fate
    return {
        "layer": row.layer,
        "kind": row.kind,
        "order": row.order,
        "tensor": row.tensor,
        "n": fate.n,
        "live": fate.n_nonzero,
        "lost": fate.lost,
        "decided": fate.decided,
        "rounded": fate.rounded,
        "inside": fate.inside,
        "nonfinite": fate.nonfinite,
        "effective": row.effective,
        "vanishing": row.vanishing,
        "decay": _known(row.decay),
        "rms": row.exact.rms,
        "range": [row.exact.low, row.exact.median, row.exact.high],
        "cosine": _ends(row.likeness.cosine),
        "scale": _ends(row.likeness.scale),
        "bias": _ends(row.likeness.bias),
    }


def _scale(found: LossScale) -> dict[str, Any]:
    return {
        "lowest": math.log2(found.lowest),
        "demanding": found.demanding,
        "highest": math.log2(found.highest),
        "limiting": found.limiting,
        "advised": math.log2(found.advised),
        "fits": found.fits,
    }


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _ends(estimate: Estimate) -> list[float | None]:
    return [_known(each) for each in (estimate.value, estimate.low, estimate.high)]
