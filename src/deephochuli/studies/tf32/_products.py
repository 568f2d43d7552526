"""Errors of single products, for every way to sum them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import torch
from torch import Tensor

from deephochuli.arithmetic import Arithmetic, Sums, get_arithmetic, matmul, round_to
from deephochuli.formats import BINARY32, Rounding
from deephochuli.studies._study import Params

ROWS, COLUMNS, N_GROUPS = 256, 64, 16
BLOCKS = (64, 96, 128, 192, 256, 320, 384, 512)
"""Blocks that a kernel of this machine may sum in."""

OPERANDS: Final = {"fp32": None, "tf32": Rounding.NEAREST_AWAY, "tf32-rz": Rounding.TOWARD_ZERO}
"""Operands as they are, rounded by software to TF32, and cut to it as hardware reads them."""


def in_blocks(block: int) -> Arithmetic:
    """FP32 sums in blocks of neighbours, one FMA after the other, as libraries cut long sums."""
    sums = Sums(kind="chain", format=BINARY32, order="blocked", block=block)
    return Arithmetic(name=f"fp32 in blocks of {block}", inputs=BINARY32, sums=sums)


WAYS: Final = {
    "sequential": get_arithmetic("fp32-sequential"),
    "blocks of 384": in_blocks(384),
    "this machine": get_arithmetic("fp32"),
}
"""How products are summed; the last one is torch's own kernel on the machine of the study."""


def measure_product(params: Params) -> Mapping[str, Any]:
    """Errors of one product of a (256, K) and a (K, 64) matrix, by way and operands."""
    k = params["k"]
    generator = torch.Generator().manual_seed(params["seed"])
    weight = torch.randn(k, COLUMNS, generator=generator) / math.sqrt(k)
    x = torch.randn(ROWS, k, generator=generator)
    if params["inputs"] == "rectified":
        x = x.relu()
    right = x.double() @ weight.double()
    values: dict[str, Any] = {"n": right.numel()}
    for way, arithmetic in WAYS.items():
        values[way] = {
            name: errors(matmul(to_tf32(x, rounding), to_tf32(weight, rounding), arithmetic), right)
            for name, rounding in OPERANDS.items()
        }
    values["equal_bits"] = _equal_bits(x, weight)
    return values


def to_tf32(x: Tensor, rounding: Rounding | None) -> Tensor:
    """Operands as TF32 has them; as they are where there is no rounding."""
    return x if rounding is None else round_to(x, "tf32", rounding=rounding)


def errors(judged: Tensor, right: Tensor) -> dict[str, Any]:
    """Sums of squared errors by groups of rows, and the largest, mean and median error."""
    e = (judged.double() - right).abs()
    squares = (e * e).reshape(N_GROUPS, -1).sum(1)
    return {
        "squares": [float(each) for each in squares],
        "max": float(e.max()),
        "mean": float(e.mean()),
        "median": float(e.median()),
    }


def _equal_bits(x: Tensor, weight: Tensor) -> dict[str, float]:
    """Share of the sums of this machine that emulated blocks reproduce to the bit."""
    own = x @ weight
    shares: dict[str, float] = {}
    for block in BLOCKS:
        made = matmul(x, weight, _halving(block))
        shares[str(block)] = float((made == own).double().mean())
    return shares


def _halving(block: int) -> Arithmetic:
    """Blocks of which the last two share what is left, as MKL's do."""
    plain = in_blocks(block)
    return replace(plain, sums=replace(plain.sums, halved_tail=True))
