"""What recording on several ranks costs while they train, and what merging costs afterwards.

    python benchmarks/ranks.py                 # two ranks on this machine, DDP over gloo
    python benchmarks/ranks.py --ranks 4 --pairs 40

Blocks of 20 steps alternate: not recorded, recorded by each process for itself, recorded as ranks
of one run; one step of each block is recorded. All times are CPU time; ratios are to the block
before. Merging happens when the run is opened: it is given as a share of the training before it.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import deephochuli as dh

EVERY = 20
WARM_UP = 2


def network(width: int) -> nn.Module:
    """Eight layers with their activations."""
    layers: list[nn.Module] = []
    for _ in range(8):
        layers += [nn.Linear(width, width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, 10))


def work(rank: int, options: argparse.Namespace, folder: Path) -> None:
    """Train on one rank; rank 0 prints what it cost."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/rendezvous",
        rank=rank,
        world_size=options.ranks,
        timeout=timedelta(minutes=10),
    )
    torch.manual_seed(0)
    model = DistributedDataParallel(network(options.width))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    x = torch.randn(options.batch, options.width)

    def block() -> float:
        began = time.process_time()
        for _ in range(EVERY):
            model(x).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
        return time.process_time() - began

    costs: dict[str, list[float]] = {"alone": [], "as ranks": []}
    steps: list[float] = []
    for number in range(-WARM_UP, options.pairs):
        for way, name in enumerate(costs):
            plain = block()
            places = folder / f"alone-{rank}", folder / "ranks"
            with dh.record(
                model,
                optimizer,
                to=places[way],
                every=EVERY,
                ranks=None if way else False,
                resume=number > -WARM_UP,
            ):
                recorded = block()
            if number >= 0:
                costs[name].append(recorded / plain)
                steps.append(plain / EVERY)
    with dh.record(model, optimizer, to=folder / "whole", every=EVERY):
        for _ in range(options.pairs):
            block()
    dist.barrier()  # the other ranks have written theirs
    dist.destroy_process_group()
    if rank == 0:
        report(costs, statistics.median(steps), folder / "whole")


def report(costs: dict[str, list[float]], step: float, run: Path) -> None:
    """Print ratios, and what merging takes."""
    for name, ratios in costs.items():
        low, median, high = statistics.quantiles(ratios, n=4)
        print(f"recorded {name:9} {median:.3f} of not recorded (quartiles {low:.3f} to {high:.3f})")
    pairs = zip(costs["as ranks"], costs["alone"], strict=True)
    low, median, high = statistics.quantiles([a / b for a, b in pairs], n=4)
    print(f"as ranks / alone   {median:.4f} (quartiles {low:.4f} to {high:.4f})")
    began = time.process_time()
    opened = dh.open_run(run)
    merging = time.process_time() - began
    n = len(opened.steps["step"])
    share = merging / (n * EVERY * step)
    print(
        f"merging on opening: {merging / n * 1e3:.2f} ms a recorded step of {len(opened.taps())} "
        f"taps and {len(opened.ranks)} ranks; a training step takes {step * 1e3:.1f} ms a rank, so "
        f"that this is {share:.2%} of one rank's training at every {EVERY}th step, after it"
    )


def main() -> None:
    """Read the command line and start the ranks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ranks", type=int, default=2, help="processes on this machine")
    parser.add_argument("--pairs", type=int, default=20, help="blocks of each kind")
    parser.add_argument("--width", type=int, default=512, help="width of the layers")
    parser.add_argument("--batch", type=int, default=256, help="rows of a batch on each rank")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(work, (options, Path(folder)), nprocs=options.ranks)


if __name__ == "__main__":
    main()
