"""Affine pieces counted by public tools and by this package, on the same nets, beside each other.

Give the folders of checkouts of the tools; nothing of them is part of this project:

linear-regions        github.com/magamba/linear-regions: steps along a segment from boundary to
                      boundary, 1e-6 beyond each, in float64. One forward pass a region.
relu_edge_subdivision github.com/arturs-berzins/relu_edge_subdivision: cuts the edges of a square
                      by one unit after the other, in float32. Regions follow from Euler's formula.

Each tool is called once beforehand, so that what it compiles is not in its time.
Times are CPU times of one thread. A tool that skips regions counts fewer than a certain count.

Usage:

    python benchmarks/pieces_public.py --linear-regions DIR --edge-subdivision DIR
"""

from __future__ import annotations

import argparse
import copy
import importlib
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from deephochuli.pieces import count, plane

LINES = ((16, 2, 5), (64, 3, 5), (64, 10, 3), (256, 5, 2), (256, 10, 1))
PLANES = (
    ((8, 8), 20),
    ((16, 16), 20),
    ((32, 32), 5),
    ((64, 64), 3),
    ((32,) * 4, 3),
    ((64,) * 4, 2),
)
BOX = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))


@dataclass
class Beside:
    """Counts and times of one kind of net."""

    ours: list[int] = field(default_factory=list)
    theirs: list[int] = field(default_factory=list)
    our_time: float = 0.0
    their_time: float = 0.0

    def add(self, ours: Callable[[], int], theirs: Callable[[], int]) -> None:
        """Count a net in both ways."""
        spent, found = _seconds(theirs)
        self.their_time += spent
        self.theirs.append(found)
        spent, found = _seconds(ours)
        self.our_time += spent
        self.ours.append(found)

    def __str__(self) -> str:
        pairs = list(zip(self.ours, self.theirs, strict=True))
        equal, fewer = sum(a == b for a, b in pairs), sum(b < a for a, b in pairs)
        return (
            f"{sum(self.ours):8d} regions; the tool {sum(self.theirs):8d}, equal in {equal} of "
            f"{len(pairs)} nets, fewer in {fewer}; it takes {self.their_time / self.our_time:.0f} "
            f"times as long; here {sum(self.ours) / self.our_time:.3g} regions/s"
        )


def _seconds(call: Callable[[], int]) -> tuple[float, int]:
    start = time.thread_time()
    found = call()
    return time.thread_time() - start, found


def lines(folder: Path) -> Iterator[tuple[str, Beside]]:
    """Regions on segments, by linear-regions and here."""
    counter = _module(folder, "core.module_counter").ModuleCounter
    for width, depth, n in LINES:
        beside = Beside()
        for seed in range(n):
            net, x0, x1 = _line(width, depth, seed)
            theirs = counter(copy.deepcopy(net), input_shape=(8,), batch_size=1)
            theirs.count(x0[None], 0.999 * x0[None])
            count(net, x0, 0.999 * x0)
            beside.add(
                lambda net=net, x0=x0, x1=x1: count(net, x0, x1).n_regions,
                lambda it=theirs, x0=x0, x1=x1: int(it.count(x0[None], x1[None])[2][0]) + 1,
            )
        yield f"segment, {depth} layers of {width}", beside


def _line(width: int, depth: int, seed: int) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    dice = torch.Generator().manual_seed(seed)
    layers: list[nn.Module] = []
    for place in range(depth):
        linear = nn.Linear(8 if place == 0 else width, width)
        nn.init.kaiming_normal_(linear.weight, generator=dice)
        nn.init.normal_(linear.bias, std=0.1, generator=dice)
        layers += [linear, nn.ReLU()]
    x = torch.randn(2, 8, generator=dice, dtype=torch.float64)
    return nn.Sequential(*layers, nn.Linear(width, 1)), 3 * x[0], x[1] - 3 * x[0]


def planes(folder: Path) -> Iterator[tuple[str, Beside]]:
    """Regions of the square [-1, 1]^2, by relu_edge_subdivision and here."""
    make = _module(folder, "NN").Net
    divide = _module(folder, "edge_subdivision").skeletal_subdivision
    corners = torch.tensor([[-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]])
    for widths, n in PLANES:
        beside = Beside()
        for seed in range(n):
            torch.manual_seed(seed)
            theirs = make([2, *widths, 1])
            layers = [each for linear in theirs.fcs for each in (linear, nn.ReLU())]
            ours = nn.Sequential(*layers)  # the tool cuts at zeros of the output, too
            plane(ours, *(corners / 64), polygon=BOX)
            beside.add(
                lambda ours=ours: plane(ours, *corners, polygon=BOX).n_regions,
                lambda theirs=theirs: _faces(divide, theirs),
            )
        yield f"square, layers of {', '.join(map(str, widths))}", beside


def _faces(divide: Any, net: nn.Module) -> int:
    with torch.no_grad():
        vertices, edges, _ = divide(net, device=torch.device("cpu"), verbose=False)
    return len(edges) - len(vertices) + 1


def _module(folder: Path, name: str) -> Any:
    if not folder.is_dir():
        raise SystemExit(f"{folder} is no folder: expected a checkout of the tool.")
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    return importlib.import_module(name)


def main() -> None:
    """Print a line for each kind of net."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--linear-regions", type=Path)
    parser.add_argument("--edge-subdivision", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # the tools use parts of torch that it will drop
    if options.edge_subdivision:
        for name, beside in planes(options.edge_subdivision):
            print(f"{name:32s} {beside}", flush=True)
    if options.linear_regions:
        torch.set_default_dtype(torch.float64)  # as that tool asks for
        for name, beside in lines(options.linear_regions):
            print(f"{name:32s} {beside}", flush=True)


if __name__ == "__main__":
    main()
