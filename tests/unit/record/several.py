"""Ranks of one training, one after the other in this process: recording needs no process group."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import deephochuli as dh


class Net(nn.Module):
    """One hidden layer."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(3, 5)
        self.relu = nn.ReLU()
        self.head = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.relu(self.hidden(x)))


def net() -> Net:
    """The model, the same wherever it is made."""
    torch.manual_seed(3)
    return Net()


def batch(rank: int, step: int) -> Tensor:
    """What one rank computes on in one step."""
    generator = torch.Generator().manual_seed(100 * rank + step)
    return torch.randn(4, 3, generator=generator)


def record_ranks(
    folder: Path,
    n_ranks: int,
    steps: Sequence[int] | Callable[[int], Sequence[int]] = range(6),
    *,
    only: Iterable[int] | None = None,
    inputs: Callable[[int, int], Tensor] = batch,
    spoil: Callable[[nn.Module, int, int], None] = lambda model, rank, step: None,
    every: int | Callable[[int], int] = 1,
    resume: bool | int = False,
    flush_at: Callable[[int, int], bool] = lambda rank, step: False,
) -> None:
    """Let ranks train alike, with a rate of zero, and record.

    Args:
        folder: Where they record.
        n_ranks: How many there are.
        steps: Steps of the training, of all or of each rank.
        only: Ranks that take part; all if None.
        inputs: Of a rank and a step.
        spoil: May change the model of a rank before a step.
        every: Schedule, of all or of each rank.
        resume: As of `record`.
        flush_at: Whether a rank ends its chunk after a step.
    """
    for rank in range(n_ranks) if only is None else only:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RANK", str(rank))
            patch.setenv("WORLD_SIZE", str(n_ranks))
            model = net()
            optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
            rate = every(rank) if callable(every) else every
            with dh.record(model, optimizer, to=folder, every=rate, resume=resume) as recording:
                for step in steps(rank) if callable(steps) else steps:
                    spoil(model, rank, step)
                    loss = model(inputs(rank, step)).square().mean()
                    recording.log(loss=loss)
                    loss.backward()
                    optimizer.step()
                    optimizer.zero_grad()
                    if flush_at(rank, step):
                        recording.flush()


def rows(run: dh.RunReader) -> dict[tuple[str, str, int], dict[str, object]]:
    """Everything that a run says of each tap in each step."""
    lists = ("key", "count", "ratio", "ratio_count", "positive", "zero", "nonfinite")
    records = run.records(lists)
    found: dict[tuple[str, str, int], dict[str, object]] = {}
    for row in range(len(records)):
        tap = run.taps()[records.tap[row]]
        listed = {name: column[row] for name, column in records.lists.items()}
        of_row: dict[str, object] = {
            name: None if values is None else values.tolist() for name, values in listed.items()
        }
        of_row |= {name: repr(column[row]) for name, column in records.numbers.items()}
        place = (tap.layer, tap.quantity, int(records.step_first[row]))
        assert place not in found, "a tap has two rows in a step"
        found[place] = of_row
    return found
