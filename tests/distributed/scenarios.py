"""What ranks do in the tests, and the same training in one process.

All numbers are small multiples of powers of two, kept so by rounding weights after each step, and
all models are in binary64, so that no sum is rounded in any order: what differs from one process is
a mistake, not arithmetic.
"""

from __future__ import annotations

import math
import os
import pickle
import random
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    RowwiseParallel,
    parallelize_module,
)
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

import deephochuli as dh
from deephochuli import record, store  # noqa: F401 - imported before the ranks are forked
from deephochuli.kernels import TensorJob, UpdateJob, cpu_backend
from deephochuli.record._reduction import average
from deephochuli.sketch import Sketch

torch.set_num_threads(1)  # no thread may have been started when ranks are forked
_ONES = torch.ones(2, 2, dtype=torch.float64)
cpu_backend().summarise([TensorJob(_ONES, 1)])
cpu_backend().summarise_updates([UpdateJob(_ONES, _ONES, _ONES)])

N_STEPS = 4
BATCH = 8


class Net(nn.Module):
    """Two activations; the widths do not divide by the number of ranks where they need not."""

    def __init__(self, hidden: int = 8, outputs: int = 5) -> None:
        super().__init__()
        self.first = nn.Linear(6, hidden)
        self.relu = nn.ReLU()
        self.second = nn.Linear(hidden, 7)
        self.tail = nn.ReLU()
        self.head = nn.Linear(7, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.tail(self.second(self.relu(self.first(x)))))


def net() -> Net:
    """The model in its first state, the same wherever it is made."""
    generator = torch.Generator().manual_seed(5)
    model = Net().double()
    with torch.no_grad():
        for parameter in model.parameters():
            values = torch.randint(-4, 5, parameter.shape, generator=generator)
            parameter.copy_(values.double() / 4)
    return model


def batch(step: int, shard: int) -> tuple[Tensor, Tensor]:
    """Inputs, and what the outputs are weighted with, of one rank in one step."""
    generator = torch.Generator().manual_seed(1000 * step + shard)
    x = torch.randint(-3, 4, (BATCH, 6), generator=generator).double()
    return x, torch.randint(-2, 3, (BATCH, 5), generator=generator).double()


def loss_of(model: nn.Module, step: int, shard: int) -> Tensor:
    """A loss whose gradients are exact."""
    x, weights = batch(step, shard)
    return (model(x) * weights).sum() / 8


def momentum(model: nn.Module) -> Optimizer:
    """An optimizer with a state."""
    return torch.optim.SGD(model.parameters(), lr=2.0**-6, momentum=0.5)


def train(model: nn.Module, optimizer: Optimizer, shard: int) -> Iterator[float]:
    """Train on the data of one shard, and yield the loss of each step before its update."""
    for step in range(N_STEPS):
        loss = loss_of(model, step, shard)
        loss.backward()
        yield loss.item()
        finish_step(model, optimizer)


def finish_step(model: nn.Module, optimizer: Optimizer) -> None:
    """Update, and keep few bits of each weight."""
    optimizer.step()
    optimizer.zero_grad()
    with torch.no_grad():
        for parameter in model.parameters():
            part = parameter.to_local() if isinstance(parameter, DTensor) else parameter
            part.copy_((part * 16).round() / 16)


def train_alone(n_shards: int, to: Path | None = None) -> nn.Module:
    """The same training in one process: a micro-batch for each shard, gradients averaged."""
    model = net()
    optimizer = momentum(model)
    recording = dh.record(model, optimizer, to=to, ranks=False) if to else None
    for step in range(N_STEPS):
        for shard in range(n_shards):
            loss_of(model, step, shard).backward()
        for parameter in model.parameters():
            assert parameter.grad is not None
            parameter.grad /= n_shards
        finish_step(model, optimizer)
    if recording is not None:
        recording.close()
    return model


# ---- ways of spreading a model over ranks


def as_ddp() -> nn.Module:
    """Whole on every rank."""
    return DistributedDataParallel(net())


def as_fsdp() -> nn.Module:
    """Parameters divided; with four ranks some parts are empty, for 5 and 7 do not divide."""
    model = net()
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    for layer in (model.first, model.second, model.head):
        fully_shard(layer, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def as_tensor_parallel() -> nn.Module:
    """The first layer divided by outputs, the second by inputs, the head whole."""
    model = net()
    return _in_tensor_parallel(model, init_device_mesh("cpu", (dist.get_world_size(),)))


def as_both() -> nn.Module:
    """Tensor-parallel in pairs, and parameters and data divided between the pairs."""
    mesh = init_device_mesh("cpu", (dist.get_world_size() // 2, 2), mesh_dim_names=("dp", "tp"))
    model = _in_tensor_parallel(net(), mesh["tp"])
    return fully_shard(model, mesh=mesh["dp"])


def _in_tensor_parallel(model: Net, mesh: dist.DeviceMesh) -> nn.Module:
    plan = {"first": ColwiseParallel(), "second": RowwiseParallel()}
    return parallelize_module(model, mesh, plan)


WAYS: dict[str, tuple[Callable[[], nn.Module], Callable[[int], int]]] = {
    "ddp": (as_ddp, lambda rank: rank),
    "fsdp": (as_fsdp, lambda rank: rank),
    "tp": (as_tensor_parallel, lambda rank: 0),
    "fsdp-tp": (as_both, lambda rank: rank // 2),
}
"""How a model is spread, and which shard of the data a rank works on."""


def whole_weights(model: nn.Module) -> list[np.ndarray]:
    """All parameters as they are together."""
    return [
        (p.full_tensor() if hasattr(p, "full_tensor") else p).detach().numpy().copy()
        for p in model.parameters()
    ]


# ---- scenarios


def trains_with_and_without(folder: Path, *ways: str) -> None:
    """Train in several ways, each with a recording and without; leave weights and losses."""
    rank = dist.get_rank()
    for way in ways:
        spread, shard_of = WAYS[way]
        for is_recorded in (True, False):
            model = spread()
            optimizer = momentum(model)
            recording = dh.record(model, optimizer, to=folder / way) if is_recorded else None
            losses: list[float] = []
            for loss in train(model, optimizer, shard_of(rank)):
                losses.append(loss)
                if recording is not None:
                    recording.log(loss=loss)
            if recording is not None:
                recording.close()
            name = f"{way}-{'recorded' if is_recorded else 'plain'}-{rank}.npz"
            np.savez(folder / name, np.array(losses), *whole_weights(model))


def dies(folder: Path, victim: int, after_s: float) -> None:
    """One rank is killed at some moment; the others fail in their next reduction."""
    rank = dist.get_rank()
    model = as_ddp()
    optimizer = momentum(model)
    with dh.record(model, optimizer, to=folder / "run") as recording:
        if rank == victim:
            killer = threading.Timer(after_s, os.kill, (os.getpid(), signal.SIGKILL))
            killer.daemon = True
            killer.start()
        for step in range(1_000_000):
            loss_of(model, step, rank).backward()
            finish_step(model, optimizer)
            if step % 3 == rank:
                recording.flush()


def reduces(folder: Path, dtype: str, hook: str) -> None:
    """Train real numbers under DDP, with the reduction looked at and without; leave weights."""
    compress = default_hooks.fp16_compress_hook if hook else None
    for is_watched in (True, False):
        torch.manual_seed(11)
        model = DistributedDataParallel(Net(outputs=3).to(getattr(torch, dtype)))
        watch = None
        if is_watched:
            watch = dh.watch_reduction(model, to=folder / "run", every=2, hook=compress)
        elif compress is not None:
            model.register_comm_hook(None, compress)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        generator = torch.Generator().manual_seed(dist.get_rank())
        gradients: list[list[Tensor]] = []
        for _ in range(5):
            x = torch.randn(16, 6, generator=generator).to(getattr(torch, dtype))
            model(x).square().mean().backward()
            gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
            optimizer.step()
            optimizer.zero_grad()
        if watch is not None:
            assert pickle.loads(pickle.dumps(watch)) is (compress or average)
            watch.close()
        name = f"{'watched' if is_watched else 'plain'}-{dist.get_rank()}.npz"
        flat = [torch.cat([g.flatten() for g in step]).double().numpy() for step in gradients]
        np.savez(folder / name, *flat)


def records_rounds(folder: Path, n_rounds: int) -> None:
    """Record many short trainings, each rank by a schedule of its own, and end some by a fault."""
    dice = random.Random(dist.get_rank())
    for number in range(n_rounds):
        model = as_ddp()
        optimizer = momentum(model)
        every = dice.choice([1, 2, "1:3", (0, 2), lambda step: step % 3 == dist.get_rank()])
        recording = dh.record(model, optimizer, to=folder / f"run-{number}", every=every)
        for step, _ in enumerate(train(model, optimizer, dist.get_rank())):
            if dice.random() < 0.1:
                recording.flush()
            if dice.random() < 0.05:
                recording.close()  # this rank alone looks no more
            if step == 2 and dice.random() < 0.1:
                break_taps(recording)
        recording.close()
    print("rank", dist.get_rank(), "done")


def break_taps(recording: dh.Recording) -> None:
    """Let everything that this rank looks at from now on fail."""

    def broken(*_: object) -> None:
        raise RuntimeError("broken by a test")

    recorder = recording._recorder
    recorder.see = recorder.before_update = broken


def reduces_sketches(folder: Path) -> None:
    """Merge sketches while all ranks run; then try with names that differ, and go on."""
    group = dist.new_group(backend="gloo", timeout=timedelta(seconds=60))
    rank, n_ranks = dist.get_rank(), dist.get_world_size()
    parts = [some_numbers(each) for each in range(n_ranks)]
    own = {"some": Sketch.of(parts[rank]), "few": Sketch.of(parts[rank][: 3 * rank])}
    for _ in range(2):
        merged = dh.all_reduce_sketches(own, group)
        few = [part[: 3 * other] for other, part in enumerate(parts)]
        whole = {"some": torch.cat(parts), "few": torch.cat(few)}
        for name, numbers in whole.items():
            expected, found = Sketch.of(numbers), merged[name]
            assert found.keys.tolist() == expected.keys.tolist()
            assert found.counts.tolist() == expected.counts.tolist()
            extremes = [str((s.min_abs, s.max_abs)) for s in (found, expected)]  # nan is nan
            assert extremes[0] == extremes[1]
            assert math.isclose(found.sum_sq, expected.sum_sq, rel_tol=1e-14)
        names = ["a"] if rank else ["a", "b"]
        with pytest.raises(dh.SketchError, match="different names: 2, 1"):
            dh.all_reduce_sketches(dict.fromkeys(names, own["some"]), group)
    assert dh.all_reduce_sketches({}, group) == {}
    (folder / f"done-{rank}").touch()


def some_numbers(rank: int) -> Tensor:
    """Numbers over many binades, with zeros and an infinity."""
    generator = torch.Generator().manual_seed(rank)
    numbers = torch.randn(1000, generator=generator) * 10.0 ** torch.randint(
        -30, 30, (1000,), generator=generator
    )
    numbers[:5] = 0
    numbers[7] = math.inf
    return numbers
