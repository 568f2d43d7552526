"""Decisions at a model's outputs: the largest of several numbers, and the k largest."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from deephochuli.analysis.compare._trace import Trace

TOP = 5


@dataclass(frozen=True, slots=True)
class Decisions:
    """How often an execution decides otherwise, over the last dimension of the output.

    Attributes:
        n: Decisions, one for each vector of the first output; 0 where there is no choice.
        argmax_flips: Vectors whose largest element is another one, or that hold NaN.
        top_k: k of `top_k_flips`: 5, or less for shorter vectors.
        top_k_flips: Vectors whose set of k largest elements is another one, or that hold NaN.
        margin: Median over the vectors of the distance between the reference's largest two
            elements, in units of the execution's rms error; decisions below about 3 are not safe.
        margin_of_flips: The largest such distance among the flipped decisions; nan without a flip.
    """

    n: int = 0
    argmax_flips: int = 0
    top_k: int = 0
    top_k_flips: int = 0
    margin: float = math.nan
    margin_of_flips: float = math.nan


def decisions(judged: Trace, reference: Trace) -> Decisions:
    """Compare the decisions of two executions at the model's first output."""
    outputs = _first(judged), _first(reference)
    if outputs[0] is None or outputs[1] is None or outputs[0].shape != outputs[1].shape:
        return Decisions()
    a, r = (each.to("cpu").double().flatten(0, -2) for each in outputs if each is not None)
    size = r.shape[-1]
    undecided = a.isnan().any(-1)  # whatever index is found there, nothing was decided
    flips = (a.argmax(-1) != r.argmax(-1)) | undecided
    k = min(TOP, size - 1)
    sets = [each.topk(k).indices.sort().values for each in (a, r)]
    top = r.topk(2).values
    noise = _noise(a, r)
    margins = (top[:, 0] - top[:, 1]) / noise if noise else (top[:, 0] - top[:, 1]) * math.inf
    return Decisions(
        n=len(r),
        argmax_flips=int(flips.sum()),
        top_k=k,
        top_k_flips=int(((sets[0] != sets[1]).any(-1) | undecided).sum()),
        margin=float(margins.nan_to_num(0.0, math.inf).median()),
        margin_of_flips=float(margins[flips].max()) if bool(flips.any()) else math.nan,
    )


def _noise(judged: Tensor, reference: Tensor) -> float:
    """The rms error, infinite where numbers are lost; what both mask by infinity does not count."""
    differing = judged != reference
    if not bool(differing.any()):
        return 0.0
    errors = torch.where(differing, judged - reference, 0.0)
    n_numbers = max(1, int(reference.isfinite().sum()))
    return float(errors.square().sum().div(n_numbers).sqrt().nan_to_num(math.inf))


def _first(trace: Trace) -> Tensor | None:
    """The first output of the model itself, where its last dimension offers a choice."""
    root = trace.calls.get(("", 0))
    if root is None or not root.outputs:
        return None
    output = root.outputs[0]
    return output if output.dim() >= 2 and output.shape[-1] >= 2 else None
