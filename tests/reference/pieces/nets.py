"""Random networks of many kinds, small enough for exact rationals."""

import copy
from fractions import Fraction

import numpy as np
import torch
from torch import nn

RELU = ("knots", (Fraction(0),), (0, 1), Fraction(0))
ABS = ("knots", (Fraction(0),), (-1, 1), Fraction(0))
HARDTANH = ("knots", (Fraction(-1), Fraction(1)), (0, 1, 0), Fraction(-1))
KINDS = (
    *("plain", "zero bias", "duplicated", "permuted", "powers of two", "fp16", "bf16", "int8"),
    *("dead tail", "leaky", "hardtanh", "abs", "maxout", "residual", "fork", "tied"),
)


def leaky(slope):
    return ("knots", (Fraction(0),), (Fraction(slope), 1), Fraction(0))


def exact(array):
    return [[Fraction(float(v)) for v in row] for row in array]


def quantised(array, kind):
    """Numbers as a format or an integer grid keeps them."""
    if kind in ("fp16", "bf16"):
        dtype = torch.float16 if kind == "fp16" else torch.bfloat16
        return torch.from_numpy(array).to(dtype).double().numpy()
    if kind == "int8":
        step = 2.0**-5
        return np.clip(np.round(array / step), -127, 127) * step
    return array


def affine(n_in, n_out, rng, kind, bias=0.3):
    w = rng.standard_normal((n_out, n_in)) * np.sqrt(2 / n_in)
    b = np.zeros(n_out) if kind == "zero bias" else rng.standard_normal(n_out) * bias
    if kind == "duplicated" and n_out > 1:
        w[-1], b[-1] = w[0], b[0]
    if kind == "tied":
        w, b = np.round(w * 2) / 2, np.round(b * 2) / 2
    if kind == "powers of two":
        scale = 2.0 ** rng.integers(-12, 12, n_out)
        w, b = w * scale[:, None], b * scale
    w, b = quantised(w, kind), quantised(b, kind)
    return ("affine", exact(w), [Fraction(float(v)) for v in b])


def layers(kind, seed, widest=6, deepest=4):
    """One network of a kind: (layers, number of inputs)."""
    rng = np.random.default_rng(seed)
    n_in, depth = int(rng.integers(1, 4)), int(rng.integers(1, deepest + 1))
    act = {"leaky": leaky(float(rng.uniform(0, 1))), "hardtanh": HARDTANH, "abs": ABS}
    found, n = [], n_in
    for _ in range(depth):
        width = int(rng.integers(2, widest + 1))
        found.append(affine(n, width, rng, kind))
        if kind == "maxout":
            found.append(("max", [tuple(rng.choice(width, 2, replace=False)) for _ in range(3)]))
            width = 3
        else:
            found.append(act.get(kind, RELU))
        if kind == "residual":
            found.append(("residual", [affine(width, width, rng, kind), RELU]))
        if kind == "fork":
            parts = [[affine(width, 2, rng, kind), each] for each in (RELU, HARDTANH)]
            found.append(("fork", *parts))
            width = 4
        n = width
    if kind == "dead tail":
        weight = affine(n, 3, rng, kind)[1]
        found += [("affine", weight, [Fraction(-1000)] * 3), RELU]
        n = 3
    found.append(affine(n, int(rng.integers(1, 3)), rng, kind))
    return (permuted(found, rng) if kind == "permuted" else found), n_in


def permuted(found, rng):
    """Units of each hidden layer in another order."""
    changed, order = [], None
    for layer in found:
        if layer[0] == "affine":
            weight, bias = layer[1], layer[2]
            if order is not None:
                weight = [[row[i] for i in order] for row in weight]
            order = None if layer is found[-1] else rng.permutation(len(bias))
            if order is not None:
                weight, bias = [weight[i] for i in order], [bias[i] for i in order]
            layer = ("affine", weight, bias)
        changed.append(layer)
    return changed


def ends(n_in, seed, kind):
    """A segment: random, or through the origin where bends may meet there."""
    rng = np.random.default_rng(seed + 10_000)
    a, b = rng.uniform(-2, 2, n_in), rng.uniform(-2, 2, n_in)
    if kind in ("zero bias", "tied", "int8"):
        a, b = np.round(a * 4) / 4, np.round(b * 4) / 4
        a = np.where((a == b) | (a == 0), a + 1, a)
    if kind == "zero bias":
        b = -a if seed % 2 else -0.375 * a
    return a, b


def disturbed_tents(depth, size, seed):
    """A sawtooth whose numbers are all disturbed by a relative size: bends that nearly coincide.

    A third unit that bends where the tents have their valleys makes coincidences on purpose.
    """
    rng = np.random.default_rng(seed)

    def near(array):
        array = np.array(array, dtype=float)
        return array * (1 + size * rng.standard_normal(array.shape))

    found = [("affine", exact(near([[1], [1], [1]])), row(near([0, -0.5, -0.25])))]
    for _ in range(depth - 1):
        weight = near([[2, -4, 0], [2, -4, 0], [2, -4, 0.5]])
        found += [RELU, ("affine", exact(weight), row(near([0, -0.5, -0.25])))]
    return [*found, RELU, ("affine", exact(near([[2, -4, 1]])), row([0.0]))]


def row(numbers):
    """A bias."""
    return [Fraction(float(v)) for v in numbers]


def image_net(seed, kind="plain"):
    """A small convolution net as a module, and the same as layers: (module, layers, shape)."""
    generator = torch.Generator().manual_seed(seed)
    shape = (1, 5, 5)
    module = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1),
        nn.BatchNorm2d(2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(2, 3, 2, stride=1, bias=False),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(3, 2),
    )
    module = module.double().eval()
    for each in module.parameters():
        each.data = torch.randn(each.shape, generator=generator, dtype=torch.float64)
        if kind == "coarse":
            each.data = (each.data * 2).round() / 2
    module[1].running_mean.copy_(torch.tensor([0.25, -0.5]))
    found, n = [], 25
    for layer in module:
        if isinstance(layer, nn.ReLU):
            found.append(RELU)
        elif isinstance(layer, nn.MaxPool2d):
            places = torch.arange(n, dtype=torch.float64).reshape(1, *shape)
            found.append(("max", windows(places)))
        else:
            found.append(probed(layer, shape))
        shape = tuple(layer(torch.zeros(1, *shape, dtype=torch.float64)).shape[1:])
        n = int(np.prod(shape))
    return module, found, (1, 5, 5)


def windows(places):
    """Entries in each window of a max pool of size 3, stride 2, padding 1, by plain loops."""
    _, channels, height, width = places.shape
    found = []
    for c in range(channels):
        for i in range(0, height, 2):
            for j in range(0, width, 2):
                rows = range(max(i - 1, 0), min(i + 2, height))
                columns = range(max(j - 1, 0), min(j + 2, width))
                found.append([int(places[0, c, p, q]) for p in rows for q in columns])
    return found


def probed(layer, shape):
    """The matrix of an affine layer, found by what it does to unit vectors.

    With batch norm, one number is rounded: its factor, which the module rounds in the same way.
    """
    n = int(np.prod(shape))
    with torch.no_grad():
        bias = layer(torch.zeros(1, *shape, dtype=torch.float64)).reshape(-1)
        if isinstance(layer, nn.BatchNorm2d):
            factor = layer.weight * (1 / torch.sqrt(layer.running_var + layer.eps))
            offset = layer.bias - layer.running_mean * factor
            per = n // len(factor)
            weight = torch.diag(factor.repeat_interleave(per))
            bias = offset.repeat_interleave(per)
        else:
            plain = copy.deepcopy(layer)
            if getattr(plain, "bias", None) is not None:
                plain.bias.zero_()
            weight = plain(torch.eye(n, dtype=torch.float64).reshape(n, *shape)).reshape(n, -1).T
    return ("affine", exact(weight.numpy()), row(bias.numpy()))
