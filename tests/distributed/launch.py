"""Ranks as processes of this machine, forked from one that has imported everything once."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

_PATIENCE = 300.0


def launch(
    scenario: Callable[..., None],
    n_ranks: int,
    folder: Path,
    *arguments: Any,
    fails: bool = False,
    patience: float = _PATIENCE,
) -> list[int]:
    """Run a scenario on some ranks, joined in a gloo group, and wait for them.

    Args:
        scenario: Function of ``tests.distributed.scenarios``; gets the folder and the arguments.
        n_ranks: How many ranks.
        folder: New folder for what they leave.
        fails: Whether ranks may end otherwise than in order.
        patience: Seconds after which ranks that have not ended are taken for stuck.

    Returns:
        The exit code of each rank.
    """
    folder.mkdir(parents=True)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.distributed.scenarios"])
    ranks = [
        context.Process(target=_run, args=(scenario, rank, n_ranks, folder, arguments))
        for rank in range(n_ranks)
    ]
    for rank in ranks:
        rank.start()
    deadline = time.monotonic() + patience
    for rank in ranks:
        rank.join(max(0.0, deadline - time.monotonic()))
    late = [number for number, rank in enumerate(ranks) if rank.is_alive()]
    for number in late:
        ranks[number].kill()
    if late:
        pytest.fail(f"ranks {late} of {scenario.__name__} did not end within {patience} s")
    codes = [rank.exitcode or 0 for rank in ranks]
    if not fails and any(codes):
        pytest.fail(f"{scenario.__name__}: exit codes {codes}; see what the ranks printed")
    return codes


def _run(
    scenario: Callable[..., None], rank: int, n_ranks: int, folder: Path, arguments: Any
) -> None:
    from datetime import timedelta

    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/.rendezvous",
        rank=rank,
        world_size=n_ranks,
        timeout=timedelta(seconds=60),
    )
    scenario(folder, *arguments)
    dist.destroy_process_group()
