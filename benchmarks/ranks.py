"""What recording on several ranks costs while they train, and what merging costs afterwards.

    python benchmarks/ranks.py                                 # two ranks, a small net, DDP (gloo)
    python benchmarks/ranks.py --ranks 4 --pairs 20
    python benchmarks/ranks.py --net resnet --pairs 6 --block 2 --recorded 16

1. What is done for ranks beside recording. In a step it is nothing: the functions that a recorded
   step calls are counted, recorded alone and as ranks. What is done once, when a recording begins,
   is timed in a loop.
2. The same by experiment: blocks of steps, one of them recorded, by each process alone, once more
   (what differs then is noise), and as ranks of one run.
3. Merging happens when the run is opened. It is timed in turn with steps of the training, and given
   as a share of the training of one rank that records every 20th step.

All times are CPU time of rank 0; intervals hold the median with the confidence that is said.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from math import comb
from pathlib import Path
from types import FrameType

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from resnet import Training, make_training
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import deephochuli as dh
from deephochuli.record._ranks import describe_rank, rank_here

EVERY = 20
WAYS = ("alone", "alone again", "as ranks")
CONFIDENCE = 0.95


def small_training(width: int, batch: int) -> Training:
    """Eight wide layers with their activations, and a head of ten classes."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for _ in range(8):
        layers += [nn.Linear(width, width), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(width, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    return Training(model, optimizer, [(torch.randn(batch, width), torch.randint(10, (batch,)))])


class Bench:
    """One rank of a training, and what is asked of it."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        make = make_training if options.net == "resnet" else small_training
        self.training = make(options.width, options.batch)
        self.training.model = DistributedDataParallel(self.training.model)
        self.options = options
        self.folder = folder
        self.rank = dist.get_rank()

    def train(self, n_steps: int) -> float:
        """CPU seconds of some steps."""
        began = time.process_time()
        for _ in range(n_steps):
            self.training.step()
        return time.process_time() - began

    def record(self, way: str, every: int, *, resume: bool = False) -> dh.Recording:
        """Begin a recording, alone or as a rank."""
        as_ranks = way == "as ranks"
        return dh.record(
            self.training.model,
            self.training.optimizer,
            to=self.folder / (way if as_ranks else f"{way}-{self.rank}"),
            every=every,
            ranks=None if as_ranks else False,
            resume=resume,
        )

    def calls(self, way: str) -> Counter[tuple[str, str]]:
        """How often each Python function is called in a recorded step."""
        found: Counter[tuple[str, str]] = Counter()

        def note(frame: FrameType, event: str, _: object) -> None:
            if event == "call":
                found[frame.f_code.co_filename, frame.f_code.co_qualname] += 1

        with self.record(way, every=1, resume=True) as recording:
            self.train(2)
            recording.flush()  # a chunk that is due by its age would come into one of the ways
            sys.setprofile(note)
            self.train(1)
            sys.setprofile(None)
        return found

    def start_seconds(self) -> float:
        """What the beginning of a recording takes longer as a rank."""
        module = self.training.model.module
        return min(timed(lambda: describe_rank(module, *rank_here())) for _ in range(200))

    def pairs(self) -> dict[str, list[float]]:
        """CPU seconds of blocks of each way; the order changes from round to round."""
        costs: dict[str, list[float]] = {way: [] for way in WAYS}
        for number in range(self.options.pairs):
            shift = number % len(WAYS)
            for way in WAYS[shift:] + WAYS[:shift]:
                with self.record(way, self.options.block, resume=True):
                    costs[way].append(self.train(self.options.block))
        return costs

    def merging(self) -> tuple[list[float], list[float]]:
        """CPU seconds of a step, and of merging a recorded step, in turn."""
        run = self.folder / "as ranks"
        shutil.rmtree(run / f"rank-{self.rank}")
        with self.record("as ranks", every=1):
            self.train(self.options.recorded)
        steps: list[float] = []
        merges: list[float] = []
        for _ in range(self.options.merges):
            dist.barrier()
            steps.append(self.train(1))
            dist.barrier()
            if self.rank == 0:
                shutil.rmtree(run / "merged", ignore_errors=True)
                merges.append(timed(lambda: dh.open_run(run)) / self.options.recorded)
        return steps, merges


def timed(act: Callable[[], object]) -> float:
    """CPU seconds of a call."""
    began = time.process_time()
    act()
    return time.process_time() - began


def median(values: Sequence[float], form: str) -> str:
    """The median, with an interval between order statistics that holds that of all values."""
    ordered, n = sorted(values), len(values)
    # Fewer than `out` values below the median, or above it, have this probability at most.
    missed = [sum(comb(n, i) for i in range(out)) / 2 ** (n - 1) for out in range(1, n // 2 + 1)]
    out = max([1, *(k for k, miss in enumerate(missed, 1) if miss <= 1 - CONFIDENCE)])
    ends = f"{ordered[out - 1]:{form}} to {ordered[n - out]:{form}}"
    return f"{statistics.median(ordered):{form}} ({1 - missed[out - 1]:.1%}: {ends}; n = {n})"


def report(bench: Bench) -> None:
    """Measure on all ranks; rank 0 prints what came out."""
    bench.train(2)
    say = print if bench.rank == 0 else lambda _: None
    alone, as_rank = bench.calls("alone"), bench.calls("as ranks")
    differ = sum(((as_rank - alone) + (alone - as_rank)).values())
    say(f"functions called in a recorded step: {alone.total()} alone; as a rank {differ} differ")
    say(f"at the beginning of a recording:     {bench.start_seconds() * 1e6:.0f} us for ranks")
    costs = bench.pairs()
    for way in WAYS[1:]:
        ratios = [a / b for a, b in zip(costs[way], costs["alone"], strict=True)]
        say(f"recorded {way:11} / alone:      {median(ratios, '.4f')}")
    steps, merges = bench.merging()
    if bench.rank:
        return
    run = dh.open_run(bench.folder / "as ranks")
    shares = [merge / (EVERY * step) for merge, step in zip(merges, steps, strict=True)]
    of = f"{len(run.taps())} taps, {len(run.ranks)} ranks, {bench.options.recorded} recorded steps"
    say(f"a training step, ms:                 {median([s * 1e3 for s in steps], '.1f')}")
    say(f"merging a recorded step, ms:         {median([m * 1e3 for m in merges], '.2f')}; {of}")
    say(f"share of training, every {EVERY}th step:  {median(shares, '.3%')}")


def work(rank: int, options: argparse.Namespace, folder: Path) -> None:
    """Join the other ranks and measure."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/rendezvous",
        rank=rank,
        world_size=options.ranks,
        timeout=timedelta(minutes=10),
    )
    report(Bench(options, folder))
    dist.barrier()
    dist.destroy_process_group()


def main() -> None:
    """Read the command line and start the ranks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--net", choices=("small", "resnet"), default="small", help="what trains")
    parser.add_argument("--ranks", type=int, default=2, help="processes on this machine")
    parser.add_argument("--pairs", type=int, default=12, help="blocks of each kind")
    parser.add_argument("--block", type=int, default=EVERY, help="steps of a block")
    parser.add_argument("--recorded", type=int, default=32, help="recorded steps to merge")
    parser.add_argument("--merges", type=int, default=9, help="how often they are merged")
    parser.add_argument("--width", type=int, help="width of the layers (512, or 64 of resnet)")
    parser.add_argument("--batch", type=int, help="inputs of a rank (256, or 32 of resnet)")
    options = parser.parse_args()
    options.width = options.width or (64 if options.net == "resnet" else 512)
    options.batch = options.batch or (32 if options.net == "resnet" else 256)
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(work, (options, Path(folder)), nprocs=options.ranks)


if __name__ == "__main__":
    main()
