"""How the absorbed share grows with the number of addends and with depth, and what predicts it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from deephochuli.analysis.swamping import predicted_shares, swamping
from deephochuli.formats import get_format
from deephochuli.kernels.addends import ORDERS, Addends
from deephochuli.studies._reference_net import digits
from deephochuli.studies._study import Params
from deephochuli.studies.swamping._sums import known, row_of
from deephochuli.studies.tf32._networks import plain_network

N_ADDENDS, MOST_SUMS = 1 << 21, 64


def measure_growth(params: Params) -> Mapping[str, Any]:
    """Absorbed share of sums of K random addends, in three orders, beside the random walk."""
    fmt = get_format(params["format"])
    rng = np.random.default_rng(params["seed"])
    rows: list[dict[str, Any]] = []
    for k in params["ks"]:
        n = max(4, min(MOST_SUMS, N_ADDENDS // k))
        drawn: npt.NDArray[np.float32] = rng.standard_normal((n, k), np.float32)
        x = drawn.astype(np.float64)
        x = np.abs(x) if params["addends"] == "positive" else x
        addends = Addends(x)
        row: dict[str, Any] = {"k": k, "predicted": known(predicted_shares(x, fmt)[0][1])}
        for order in ORDERS:
            made = addends.replay(fmt, order=order)
            row[order] = float(made.n_absorbed.sum() / made.n_additions.sum())
            row[f"{order} mass"] = float(made.lost.sum() / made.mass.sum())
        rows.append(row)
    return {"rows": rows}


def measure_depth(params: Params) -> Mapping[str, Any]:
    """Sums of a plain network of 24 convolutions, layer by layer."""
    found = swamping(
        plain_network(params["channels"], params["seed"]),
        digits()[0][:32],
        format=params["format"],
        orders=["sequential"],
        n_outputs=128,
        seed=params["seed"],
    )
    return {"rows": [row_of(row, row.layer) for row in found.rows]}
