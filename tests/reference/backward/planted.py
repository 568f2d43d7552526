"""Faults of the backward pass, planted one at a time: python -m tests.reference.backward.planted.

Each case is one linear layer, its batch, a loss, an optimizer and an arithmetic whose weights,
gradients and accumulators are narrow, so that each of three faults could occur and one does.
"""

import sys
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from deephochuli.analysis.backward import backward
from deephochuli.arithmetic import Arithmetic, get_arithmetic
from deephochuli.formats import get_format

KINDS = ("swamped-sums", "swamped-updates", "gradient-underflow")
NONE = "none"


def narrow(name):
    """Sums, operands, gradients, weights and optimizer of one format, one FMA after the other."""
    fmt = get_format(name)
    base = get_arithmetic(f"{name}-sequential")
    kept = {"weights": fmt, "activations": fmt, "gradients": fmt, "optimizer": fmt}
    return replace(base, name=f"{name}-narrow", **kept)


ARITHMETICS = {name: narrow(name) for name in ("fp16", "bf16")}


@dataclass
class Case:
    """One planted fault."""

    kind: str
    arithmetic: Arithmetic
    model: nn.Module
    x: torch.Tensor
    slopes: torch.Tensor
    rate: float

    def found(self, arithmetic=None):
        """Kinds of the three faults that are found."""
        optimizer = torch.optim.SGD(self.model.parameters(), lr=self.rate)
        result = backward(
            self.model,
            self.x,
            [arithmetic or self.arithmetic],
            loss=lambda z: (z * self.slopes).sum(),
            optimizer=optimizer,
            n_outputs=16,
        )
        kinds = {finding.kind for finding in result.findings}
        return tuple(kind for kind in KINDS if kind in kinds)


def planted(kind, seed):
    """A case with one fault, or with none, of random size, shape, format and strength.

    The gradient of a weight is the sum over the batch of slope times input: slopes say how large it
    is, the inputs how its addends are spread, the rate how large the step is beside the weight.
    """
    rng = np.random.default_rng(seed)
    name = "fp16" if kind == "gradient-underflow" else ("fp16", "bf16")[seed % 2]
    fmt = get_format(name)
    n_in, n_out = int(rng.integers(3, 9)), int(rng.integers(2, 6))
    n = int(rng.integers(4, 9))
    gradient = 2.0 ** rng.uniform(-4, 0)
    if kind == "swamped-sums":
        n = int(rng.integers(100, 300))
    x = rng.uniform(0.5, 1, (n, n_in))
    if kind == "swamped-sums":  # one large sample first, then many below half of its ulp
        x[1:] *= 2.0 ** (-fmt.precision - rng.uniform(1.2, 2.5))
        x[1:] *= rng.choice([-1, 1], n_in)
    if kind == "gradient-underflow":
        gradient = 2.0 ** rng.uniform(-34, -28)
    slopes = gradient / n * rng.uniform(0.5, 1, (n, n_out))
    if kind == "swamped-sums":
        slopes = gradient * rng.uniform(0.5, 1, (1, n_out)).repeat(n, 0)
    model = nn.Linear(n_in, n_out, bias=False)
    signs = rng.choice([-1, 1], (n_out, n_in))
    weight = signs * rng.uniform(1, 2, (n_out, n_in))
    with torch.no_grad():
        model.weight.copy_(torch.from_numpy(weight))
    step = 2.0 ** rng.uniform(-3, 0)
    if kind == "swamped-updates":
        step = 2.0 ** (-fmt.precision - rng.uniform(2.2, 6))
    return Case(
        kind,
        ARITHMETICS[name],
        model,
        torch.from_numpy(x).float(),
        torch.from_numpy(slopes).float(),
        step / gradient,
    )


def confusion(n_of_each):
    """Counts of (planted kind, kinds found), and findings of the same cases in binary64."""
    counts, in_fp64 = Counter(), Counter()
    for kind in (*KINDS, NONE):
        for seed in range(n_of_each):
            case = planted(kind, seed)
            counts[kind, case.found() or (NONE,)] += 1
            in_fp64[case.found("fp64")] += 1
    return counts, in_fp64


def diagonal(counts, n_of_each):
    """Share of the cases of each kind in which this kind is found and no other."""
    return {kind: counts[kind, (kind,)] / n_of_each for kind in (*KINDS, NONE)}


def main():
    """Print the confusion matrix."""
    torch.set_num_threads(1)
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    counts, in_fp64 = confusion(n)
    for (kind, found), count in sorted(counts.items()):
        print(f"{kind:20} {', '.join(found):40} {count}")
    print("diagonal:", diagonal(counts, n))
    print("in binary64:", dict(in_fp64))


if __name__ == "__main__":
    main()
