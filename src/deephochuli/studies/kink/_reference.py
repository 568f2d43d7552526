"""The kinks of the reference net: how many, why, and what hangs on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from deephochuli.analysis.kink import CAUSES, Kink, kink
from deephochuli.formats import BFLOAT16, BINARY16, BINARY32, BINARY64, Format
from deephochuli.studies._reference_net import reference_net, trained_reference_net
from deephochuli.studies._study import Params
from deephochuli.studies.kink._ways import batches_of_digits, execution_named, prepared

_FORMATS = {"fp64": BINARY64, "fp32": BINARY32, "bf16": BFLOAT16, "fp16": BINARY16}

NEAR = 2.0**-6
"""Pre-activations of at most this magnitude give the density at zero."""


def measure_reference(params: Params) -> Mapping[str, Any]:
    """Zeros by layer and cause, changed batches, and the size of the change.

    Numerics:
        The prediction of zeros by rounding is the sum over channels of N p0 ulp(b), p0 from the
        share of binary64 pre-activations within `NEAR`.
    """
    model = prepared(_model(params["bias"], params["epochs"]), params["way"])
    batches = batches_of_digits(params["batches"])
    execution = execution_named(params["way"])
    found = kink(model, batches, functional.cross_entropy, arithmetics=[execution])
    values = _values(found)
    if params["way"].endswith("apart") and params["bias"] == "default":
        fmt = _FORMATS[params["way"].split()[0]]
        values["predicted"] = _predicted(model, batches, fmt)
    return values


def _model(bias: str, epochs: int) -> nn.Module:
    if epochs:
        return trained_reference_net(epochs)
    model = reference_net(bias != "none")
    if bias == "zero":
        for module in model:
            if isinstance(module, nn.Conv2d | nn.Linear):
                assert module.bias is not None
                nn.init.zeros_(module.bias)
    return model


def _values(found: Kink) -> dict[str, Any]:
    run = found.runs[0]
    layers = {
        row.layer: {"n": row.n, "zero": row.n_zero, "numerical": row.n_numerical}
        for row in found.zeros
    }
    causes: Counter[str] = Counter()
    for row in found.zeros:
        causes.update(row.causes)
    return {
        "layers": layers,
        "causes": {cause: causes[cause] for cause in CAUSES},
        "changed": [batch.is_changed and batch.is_sure for batch in run.batches],
        "half": [dict(batch.sizes)[0.5] for batch in run.batches],
        "whole": [dict(batch.sizes)[1.0] for batch in run.batches],
        "weights": [batch.weights for batch in run.batches],
        "pooling": [batch.pooling for batch in run.batches],
        "tied": sum(row.n_tied for row in found.pools),
        "windows": sum(row.n_windows for row in found.pools),
    }


def _predicted(model: nn.Module, batches: list[tuple[Tensor, Tensor]], fmt: Format) -> float:
    """Expected zeros of all layers when each bias is added to a sum that is rounded already."""
    wide = model.to(torch.float64)
    x = torch.cat([images for images, _ in batches]).double()
    expected = 0.0
    with torch.no_grad():
        for module in wide.children():
            made = module(x)
            if isinstance(module, nn.Conv2d | nn.Linear) and made.shape[1] > 10:
                z = made.transpose(0, 1).flatten(1)
                density = (z.abs() < NEAR).double().mean(1) / (2 * NEAR)
                assert module.bias is not None
                gaps = torch.tensor([fmt.ulp(float(b)) for b in module.bias])
                expected += float((density * gaps).sum()) * z.shape[1]
            x = made
    return expected
