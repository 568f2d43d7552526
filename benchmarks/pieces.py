"""How fast affine pieces are counted on one core, beside other ways of counting the same.

All ways count in turn, round by round, in one process and on one thread; times are CPU times of the
calling thread. Rates are those of the fastest count, which other work on the machine disturbed
least; ratios are medians over the rounds of the times of the same round. "With one counter" leaves
out what is done once for a model: one counter counts the segment many times, one after the other.
"Many at once" are 200 other segments in one call. "Products" is how long the multiplications of a
count would take at the rate of the library's product of two square matrices, without those by zero;
it is no lower bound where that library is not the fastest. Teeth are tallied: their places are not
kept. The other ways:

walk  One forward pass of numbers and their slopes for each region: at a place just behind the
      last boundary all pre-activations and their slopes along the segment are computed, and the
      nearest change of side is the next boundary. It stands for the algorithm of public walkers,
      written here as well as we could: products with vectors, no automatic differentiation, no
      fixed step of 1e-6. It counts regions only, and knows nothing of rounding errors.
exact The same in rational arithmetic (tests/reference/pieces/walker.py), small nets only; on the
      square [-1, 1]^2 cuts of polygons in rational arithmetic (tests/reference/pieces/flat.py).

Usage:

    python benchmarks/pieces.py [--rounds 5] [--large] [--teeth 18] [--segments]
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch import nn

# Not the folder above: a module `tests` of another library would be found before it.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from reference.pieces import flat
from reference.pieces.nets import RELU, exact
from reference.pieces.walker import walk as exact_walk
from unit.pieces.nets import he, sawtooth, unit_segment
from unit.pieces.planar import net as planar

from deephochuli.pieces import Counter, LineCount, count, plane

SMALL = (*product((8, 16, 32, 64), (5, 10, 20)), (256, 5), (256, 10))
LARGE = ((1024, 5), (1024, 10))
N_MANY = 200
"""Segments that are counted in one call."""
PLANES = ((6, 2), (16, 4), (32, 4), (64, 4))


def seconds(call: Callable[[], object]) -> tuple[float, object]:
    """CPU time of one call, and what it returns."""
    start = time.thread_time()
    found = call()
    return time.thread_time() - start, found


def weights(net: nn.Sequential) -> list[tuple[np.ndarray, np.ndarray]]:
    """The numbers of the linear layers."""
    linear = [layer for layer in net if isinstance(layer, nn.Linear)]
    return [(each.weight.detach().numpy(), each.bias.detach().numpy()) for each in linear]


def region_walk(layers: list[tuple[np.ndarray, np.ndarray]], x0: float, x1: float) -> int:
    """Count regions one after the other, by one pass over the layers for each."""
    t, n_regions = 0.0, 1
    while True:
        v, s = np.array([x0 + t * (x1 - x0)]), np.array([x1 - x0])
        nearest = np.inf
        for weight, bias in layers[:-1]:
            z, slope = weight @ v + bias, weight @ s
            with np.errstate(divide="ignore", invalid="ignore"):
                distance = -z / slope
            # What is at its knot up to rounding has just been passed.
            ahead = distance[distance > 1e-13]
            nearest = min(nearest, float(ahead.min(initial=np.inf)))
            on = (z > 0) & ~((slope < 0) & (distance < 1e-13)) | (
                (slope > 0) & (np.abs(distance) < 1e-13)
            )
            v, s = np.where(on, z, 0.0), np.where(on, slope, 0.0)
        t += nearest
        if not t < 1:
            return n_regions
        n_regions += 1


def rational(net: nn.Sequential) -> int:
    """Count regions in rational arithmetic."""
    layers: list[object] = []
    for weight, bias in weights(net):
        layers += [("affine", exact(weight), [Fraction(float(b)) for b in bias]), RELU]
    return len(exact_walk(layers[:-1], [-1.0], [1.0])[0]) + 1


def many(width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Segments that are all a little longer than [-1, 1]."""
    more = torch.rand(2, N_MANY, 1, generator=torch.Generator().manual_seed(width)) / 8
    return -1 - more[0], 1 + more[1]


def n_products(layers: list[tuple[np.ndarray, np.ndarray]], found: LineCount) -> int:
    """Multiplications of a count by numbers that are not zero.

    A layer has a row at each bend of the layers before it, and multiplies its values. The other way
    round, the derivatives behind a layer are multiplied once for all bends of the layers before
    that lie between two bends of it and of those behind.
    """
    total = 0
    for i, (weight, bias) in enumerate(layers):
        before = found.layer < i
        t = np.concatenate([[0.0], found.t[before], [1.0]])
        x = found.inputs(t)
        for earlier, offset in layers[:i]:
            x = np.maximum(x @ earlier.T + offset, 0.0)
        total += int((x != 0).sum()) * len(weight)
        if 0 < i < len(layers) - 1:
            _, seen = np.unique(np.cumsum(~before)[before], return_index=True)
            is_on = x[1:-1][seen] @ weight.T + bias > 0
            total += int(is_on.sum()) * weight.shape[1]
    return total


def rate_of_library() -> float:
    """Multiplications a second of the library's product of matrices."""
    a = torch.randn(512, 512, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.mm(a, a)
    return 512**3 / min(seconds(lambda: torch.mm(a, a))[0] for _ in range(9))


def compare(width: int, depth: int, rounds: int, seed: int) -> None:
    """Print one row: a random net on [-1, 1]."""
    net = he([1, *[width] * depth, 1], seed, bias=0.1)
    layers, ends = weights(net), unit_segment()
    counter, n_again = Counter(net, ends[0]), 1 if width > 64 else 50
    segments = many(width)
    ways = {"ours": lambda: count(net, *ends)}
    if width < 1024:
        ways["walk"] = lambda: region_walk(layers, -1.0, 1.0)
    if width * depth <= 80:
        ways["exact"] = lambda: rational(net)
    times: dict[str, list[float]] = {name: [] for name in (*ways, "again", "many")}
    found: dict[str, object] = {}
    ways["ours"]()
    for _ in range(rounds):
        for name, way in ways.items():
            spent, found[name] = seconds(way)
            times[name].append(spent)
        times["again"] += [seconds(lambda: counter.count(*ends))[0] for _ in range(n_again)]
        if width <= 64:
            spent, found["many"] = seconds(lambda: counter.count_many(*segments))
            times["many"].append(spent)
    ours = found["ours"]
    rate = ours.n_regions / min(times["ours"])
    again = ours.n_regions / min(times["again"])
    row = f"{width:5d} x {depth:2d}  {ours.n_regions:6d} regions ({ours.regions})  {rate:9.0f}/s"
    row += f", {again:.0f}/s with one counter"
    if width <= 64:
        n = sum(each.n_regions for each in found["many"])
        least = n_products(layers, ours) / rate_of_library()
        row += f", {n / min(times['many']):.0f}/s many at once"
        row += f" (products {1e3 * least:.2f} ms of {1e3 * min(times['again']):.2f})"
    for name in list(ways)[1:]:
        ratio = statistics.median(
            other / mine for other, mine in zip(times[name], times["ours"], strict=True)
        )
        n = found[name]
        row += f"   {name}: {n} regions, {ratio:.1f} times slower"
    print(row, flush=True)


def teeth(most: int) -> None:
    """Print the rate on sawtooths, and the memory of the largest."""
    zero, one = torch.zeros(1), torch.ones(1)
    Counter(sawtooth(2), zero).tally(zero, one)
    for n in range(10, most + 1, 2):
        spent, found = seconds(lambda n=n: Counter(sawtooth(n), zero).tally(zero, one))
        size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        sure = "certain" if found.is_certain else "uncertain"
        rate = found.n_pieces / spent
        print(f"2^{n} teeth: {found.n_pieces} pieces, {sure}, {rate:.0f}/s, peak {size:.0f} MiB")


def planes(rounds: int) -> None:
    """Print rates on the square [-1, 1]^2, and the ratio to cuts in rational arithmetic."""
    corners = [torch.tensor(x, dtype=torch.float64) for x in ([-1, -1], [1, -1], [-1, 1])]
    for width, depth in PLANES:
        net = planar(width, depth)
        ways = {"ours": lambda net=net: plane(net, *corners)}
        if width < 16:
            ways["exact"] = lambda net=net: rational_regions(net)
        times: dict[str, list[float]] = {name: [] for name in ways}
        found: dict[str, object] = {}
        ways["ours"]()
        for _ in range(rounds):
            for name, way in ways.items():
                spent, found[name] = seconds(way)
                times[name].append(spent)
        n = found["ours"].n_regions
        row = f"plane {width:2d} x {depth}  {n} regions ({found['ours'].n_close} close)"
        row += f"  {n / min(times['ours']):.0f}/s"
        if "exact" in ways:
            pairs = zip(times["exact"], times["ours"], strict=True)
            ratio = statistics.median(other / mine for other, mine in pairs)
            row += f"   exact: {found['exact']} regions, {ratio:.1f} times slower"
        print(row, flush=True)


def rational_regions(net: nn.Sequential) -> int:
    """Count regions of the square in rational arithmetic."""
    numbers = weights(net)
    layers = [
        (exact(weight), [Fraction(float(b)) for b in bias], "relu") for weight, bias in numbers
    ]
    layers[-1] = (*layers[-1][:2], "linear")
    zero, one, two = Fraction(0), Fraction(1), Fraction(2)
    square = [(zero, zero), (one, zero), (one, one), (zero, one)]
    return len(flat.regions(layers, square, [(-one, two, zero), (-one, zero, two)]))


def images() -> None:
    """Print a residual net between two real images (needs scikit-learn and transformers)."""
    from sklearn.datasets import load_sample_images
    from transformers import ResNetConfig, ResNetForImageClassification

    torch.manual_seed(0)
    config = ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=10
    )
    model = ResNetForImageClassification(config).eval()
    pictures = load_sample_images()["images"]
    shrunk = [
        nn.functional.adaptive_avg_pool2d(torch.tensor(each).permute(2, 0, 1).double() / 255, 32)
        for each in pictures
    ]
    spent, found = seconds(lambda: count(Logits(model), *shrunk))
    print(f"ResNet between two photographs, {spent:.2f} s:\n{found}")


class Logits(nn.Module):
    """The tensor inside of what a model of transformers returns."""

    def __init__(self, model: nn.Module) -> None:
        """Wrap a model."""
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits."""
        return self.model(pixel_values=x).logits


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--large", action="store_true", help="also width 1024, without the walk")
    parser.add_argument("--teeth", type=int, default=18)
    parser.add_argument("--segments", action="store_true", help="only nets on segments")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for seed, (width, depth) in enumerate(SMALL + (LARGE if options.large else ())):
        compare(width, depth, options.rounds if width < 1024 else 2, seed)
    if options.segments:
        return
    teeth(options.teeth)
    planes(options.rounds)
    images()


if __name__ == "__main__":
    main()
