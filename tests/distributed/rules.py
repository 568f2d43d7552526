"""What ranks do whose callbacks have rules, of which only one has something to say."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from deephochuli.integrations import Follow
from deephochuli.integrations._callback import Training
from deephochuli.record import record
from tests.unit.integrations.trackers import model_and_optimizer, train


def stops_together(folder: Path) -> None:
    """Train up to 100 steps with DDP; an event at step 40 of rank 1, seen by no other rank."""
    rank = dist.get_rank()
    model, optimizer = model_and_optimizer()
    parallel = DistributedDataParallel(model)
    rules = {"loss-spike": ("snapshot", "stop")}
    begin = partial(record, to=folder / "run", every=1)
    training = Training(begin, Follow(on_finding=rules))
    training.begin(parallel, optimizer, 0)
    decisions: list[tuple[int, list[str], bool]] = []
    for step in range(100):
        training.log(torch.tensor(float("nan") if (rank, step) == (1, 40) else 1.0))
        train(parallel, optimizer, 1, seed=step + rank)
        decided = training.decide()
        if decided.snapshots or decided.stops:
            decisions.append((step, list(decided.snapshots), decided.stops))
        if decided.stops:
            break
    training.end()
    (folder / f"decisions-{rank}.json").write_text(json.dumps(decisions))
