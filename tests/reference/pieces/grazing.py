"""Networks on which float64 gets signs wrong: units that end, or bends that cancel, in a rounding.

All numbers are chosen in rationals first and rounded last, so that what decides is smaller than
what float64 rounds, and the exact walk knows better.
"""

from fractions import Fraction

import numpy as np

from tests.reference.pieces.nets import RELU, exact, row


def through(layers, x):
    """Numbers behind layers of ReLUs and affine maps, as rationals."""
    for kind, *rest in layers:
        if kind == "affine":
            pairs = zip(*rest, strict=True)
            x = [sum((w * v for w, v in zip(ws, x, strict=True)), b) for ws, b in pairs]
        else:
            x = [max(v, Fraction()) for v in x]
    return x


def grazing(seed, n_before=2, width=6):
    """Units that are zero at the end of the segment from 0 to 1, but for the rounding of a bias.

    All units before them are on; whether one of them changes its side within the segment is decided
    by half an ulp of its bias.
    """
    rng = np.random.default_rng(seed)
    found, n = [], 1
    for _ in range(n_before):
        found += [
            ("affine", exact(rng.uniform(0.1, 1, (width, n))), row(rng.uniform(0.1, 1, width)))
        ]
        found += [RELU]
        n = width
    weight = exact(rng.uniform(-1, 1, (width, n)))
    at_end = through([*found, ("affine", weight, row(np.zeros(width)))], [Fraction(1)])
    last = ("affine", weight, row([-float(v) for v in at_end]))
    return [*found, last, RELU, ("affine", exact(rng.uniform(0.5, 1, (1, width))), row([1.0]))]


def cancelling(seed, disturbed, n=6):
    """One bend whose paths to the output cancel: exactly, or but for one ulp of one weight."""
    rng = np.random.default_rng(seed)
    a, b = rng.uniform(0.1, 1, (2, n))
    order = rng.permutation(2 * n)
    up, down = np.append(a, b)[order], np.append(b, -a)[order]
    if disturbed:
        down[0] = np.nextafter(down[0], 2)
    first = ("affine", exact([[1.0]]), row([-0.3]))
    spread = ("affine", exact(up[:, None]), row(np.ones(2 * n)))
    return [first, RELU, spread, RELU, ("affine", exact(down[None]), row([1.0]))]


def coincident(seed, moved, far=1000.0, n=3):
    """Units of the third layer that bend where units of the first do, or an ulp beside it.

    w x + b is there twice: straight, and with a large number added and taken away again, which
    float64 cannot do without a rounding that is large beside all that is left.
    """
    rng = np.random.default_rng(seed)
    w = rng.uniform(0.25, 1, n)
    b = np.round(-w * (np.arange(n) + rng.uniform(0.2, 0.8, n)) / n * 2.0**40) * 2.0**-40
    beside = np.array([np.nextafter(v, -1) for v in b - 1]) if moved else b - 1
    one, none = np.eye(n), np.zeros(n)
    same = exact(np.eye(2 * n))
    weight = exact(np.concatenate([w, w])[:, None])
    out = exact(rng.uniform(0.5, 1, (1, 2 * n)) @ np.kron(np.eye(2), one))
    return [
        *(("affine", weight, row([*b, *(none + far)])), RELU),
        *(("affine", same, row([*none, *(none + 1 - far)])), RELU),
        *(("affine", same, row([*none, *beside])), RELU),
        ("affine", out, row([1.0])),
    ]


def crowded(seed, lift, n=3):
    """The largest of three lines that meet at one place but for roundings.

    The one in the middle is lifted: by nothing, so that a rounding decides whether it is ever the
    largest, or by so much that it takes over and is taken over.
    """
    rng = np.random.default_rng(seed)
    width = 4
    found = [("affine", exact(rng.uniform(0.1, 1, (width, 1))), row(rng.uniform(0.1, 1, width)))]
    found += [RELU]
    weight, bias = np.zeros((3 * n, width)), np.zeros(3 * n)
    for k in range(n):
        steep = np.sort(rng.uniform(-1, 1, 3))[:, None] + np.array([[-2.0], [0.0], [2.0]])
        weight[3 * k : 3 * k + 3] = steep * rng.uniform(0.1, 1, width)
        meeting = Fraction((k + float(rng.uniform(0.3, 0.7))) / n)
        layer = ("affine", exact(weight), row(bias))
        there = through([*found, layer], [meeting])[3 * k : 3 * k + 3]
        bias[3 * k : 3 * k + 3] = [1 - float(v) for v in there]
        bias[3 * k + 1] += lift
    groups = [(3 * k, 3 * k + 1, 3 * k + 2) for k in range(n)]
    out = ("affine", exact(rng.uniform(0.5, 1, (1, n))), row([1.0]))
    return [*found, ("affine", exact(weight), row(bias)), ("max", groups), out]
