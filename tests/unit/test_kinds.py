"""What is handed over by mistake is refused by name, with what was expected."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

import deephochuli as dh
from deephochuli.arithmetic import noisy

MODEL = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
X = torch.ones(2, 2)
NO_MODEL = "type int: expected a torch.nn.Module"
NO_TENSOR = "type float: expected a torch.Tensor"

CASES: dict[str, tuple[Callable[[], object], type[dh.DeepHochuliError], str]] = {
    "round_to": (lambda: dh.round_to(1.5, "fp16"), dh.ArithmeticSpecError, NO_TENSOR),
    "round_to, an array": (
        lambda: dh.round_to(np.ones(3), "fp16"),
        dh.ArithmeticSpecError,
        "Cannot round a value of type ndarray: expected a torch.Tensor",
    ),
    "round_blocks": (lambda: dh.round_blocks(1.5, "mxfp4"), dh.ArithmeticSpecError, NO_TENSOR),
    "Sketch.of": (lambda: dh.Sketch.of(1.5), dh.SketchError, NO_TENSOR),
    "run_as": (lambda: dh.run_as(3, "bf16").__enter__(), dh.ArithmeticSpecError, NO_MODEL),
    "noisy": (
        lambda: noisy(torch.optim.SGD(MODEL.parameters(), 0.1), level="x", on="all"),
        dh.ArithmeticSpecError,
        "type str: expected a number",
    ),
    "compare": (lambda: dh.compare(3, X, ["bf16"]), dh.CompareError, NO_MODEL),
    "verdict": (
        lambda: dh.verdict(MODEL, X, 3),
        dh.ArithmeticSpecError,
        "type int: expected an executor, an arithmetic",
    ),
    "keep_wide": (lambda: dh.keep_wide(3, X, "bf16"), dh.CompareError, NO_MODEL),
    "significance": (lambda: dh.significance(3, X), dh.CompareError, NO_MODEL),
    "swamping": (lambda: dh.swamping(3, X), dh.CompareError, NO_MODEL),
    "barrier": (lambda: dh.barrier(3, X), dh.CompareError, NO_MODEL),
    "death": (lambda: dh.death(3, [X]), dh.CompareError, NO_MODEL),
    "kink": (lambda: dh.kink(3, [X]), dh.CompareError, NO_MODEL),
    "backward": (lambda: dh.backward(3, X, ["bf16"]), dh.CompareError, NO_MODEL),
    "pieces.count": (lambda: dh.pieces.count(3, X[0], -X[0]), dh.PiecesError, NO_MODEL),
    "pieces.plane": (
        lambda: dh.pieces.plane(3, X[0], -X[0], torch.tensor([1.0, 2.0])),
        dh.PiecesError,
        NO_MODEL,
    ),
    "pieces, inputs": (lambda: dh.pieces.count(MODEL, 1.0, 2.0), dh.PiecesError, NO_TENSOR),
    "pieces, corners": (lambda: dh.pieces.plane(MODEL, 1.0, 2.0, 3.0), dh.PiecesError, NO_TENSOR),
    "record": (lambda: dh.record(3, to="nowhere"), dh.TapError, NO_MODEL),
    "a loss that is none": (
        lambda: dh.compare(MODEL, X, ["bf16"], loss=lambda out: 1.5),
        dh.CompareError,
        "Cannot take as a loss a value of type float",
    ),
    "a loss of several": (
        lambda: dh.compare(MODEL, X, ["bf16"], loss=lambda out: out),
        dh.CompareError,
        r"a tensor of shape \(2, 2\): expected a single number",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_another_kind_is_refused(name):
    call, error, message = CASES[name]
    with pytest.raises(error, match=message):
        call()
