"""Volume of the bifurcation zone, and the law of exact zeros behind it."""

# Tensors of torch have partial types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch.nn import functional

from deephochuli.analysis.kink import bifurcation_volume
from deephochuli.studies._reference_net import digits
from deephochuli.studies._study import Params
from deephochuli.studies.kink._plan import LARGE
from deephochuli.studies.kink._ways import (
    Batches,
    batches_of_digits,
    execution_named,
    large_images,
    network,
)

N_LARGE = 60_000
N_SMALL_BATCHES = 4
WIDTH = 2000
NEAR = 2.0**-5


def measure_volume(params: Params) -> Mapping[str, Any]:
    """Draws of weights at which the gradient of some batch hangs on ReLU'(0)."""
    name = params["net"]
    batches = _large_batches() if name == LARGE else batches_of_digits(N_SMALL_BATCHES, flat=True)
    (found,) = bifurcation_volume(
        lambda seed: network(name, seed),
        batches,
        functional.cross_entropy,
        seeds=range(params["first"], params["first"] + params["n"]),
        arithmetics=[execution_named(params["way"])],
    )
    values = asdict(found)
    del values["share"]
    return values


def _large_batches() -> Batches:
    """As many images as an epoch of handwritten digits has, in batches of 500."""
    images = large_images(N_LARGE, seed=1)
    labels = torch.randint(0, 10, (N_LARGE,), generator=torch.Generator().manual_seed(2))
    return list(zip(images.split(500), labels.split(500), strict=True))


def measure_law(params: Params) -> Mapping[str, Any]:
    """Exact zeros of one dense layer of 64 inputs in FP32 over fresh weights, and their prediction.

    "fused": as torch's kernel adds the bias; "apart": added to the rounded sum.

    Numerics:
        Predicted is the sum over units of N p0 ulp(b), ulp of FP32, with p0 from the share of
        pre-activations within `NEAR`, of every tenth draw.
    """
    x = digits()[0].flatten(1)
    n = n_fused = n_apart = 0
    expected: list[float] = []
    for seed in range(params["first"], params["first"] + params["n"]):
        generator = torch.Generator().manual_seed(seed)
        w = (torch.rand(WIDTH, 64, generator=generator) * 2 - 1) / 8
        b = (torch.rand(WIDTH, generator=generator) * 2 - 1) / 8
        z = torch.addmm(b, x, w.T)
        n += z.numel()
        n_fused += int((z == 0).sum())
        n_apart += int((torch.mm(x, w.T) + b == 0).sum())
        if seed % 10 == 0:
            density = (z.abs() < NEAR).double().mean(0) / (2 * NEAR)
            gap = 2.0 ** (torch.frexp(b.double()).exponent - 24)
            expected.append(float((density * gap).sum()) * len(x))
    predicted = sum(expected) / len(expected) * params["n"]
    return {"n": n, "fused": n_fused, "apart": n_apart, "predicted": predicted}
