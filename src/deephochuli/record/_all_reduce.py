"""Sketches of several ranks become one on all of them, by adding integers.

Recording never does this: its ranks are merged by reading (`deephochuli.open_run`). It is for
whoever needs the numbers of all ranks while they train, and calls it where all ranks do.
"""

# torch leaves what comes of groups untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from deephochuli.errors import SketchError
from deephochuli.kernels import N_KEYS, largest, smallest
from deephochuli.sketch import Sketch
from deephochuli.store import add_floats

_DIGEST: Final = 8


def all_reduce_sketches(
    sketches: Mapping[str, Sketch], group: dist.ProcessGroup
) -> dict[str, Sketch]:
    """Merge sketches of the same names over the ranks of a group.

    A collective: every rank of the group calls it, like `torch.distributed.all_reduce`. First the
    ranks compare their names; if these differ, all of them raise, and none waits for another.

    Args:
        sketches: What this rank has, by name; the same names in the same order on every rank.
        group: The group, never a default: preferably one of its own, made by
            ``torch.distributed.new_group(backend="gloo", timeout=...)``, so that nothing of the
            training is in its way.

    Returns:
        The merged sketches, the same on every rank.

    Raises:
        SketchError: There is no group, or the ranks have sketches of different names.

    Numerics:
        Counts are added in int64: exact. Sums are those of the ranks, each rounded to binary64
        once, added exactly.
    """
    if group is None:  # pyright: ignore[reportUnnecessaryComparison]  # torch's own default
        raise SketchError(
            "Sketches are merged over a group that is given, not over whatever the training uses. "
            "Make one on every rank: torch.distributed.new_group(backend='gloo')."
        )
    device = torch.device("cuda" if dist.get_backend(group) == "nccl" else "cpu")
    _agree(list(sketches), group, device)
    if not sketches:
        return {}
    given = list(sketches.values())
    used = torch.zeros(len(given), N_KEYS, dtype=torch.uint8, device=device)
    for row, sketch in enumerate(given):
        used[row, _indices(sketch.keys, device)] = 1
    dist.all_reduce(used, dist.ReduceOp.MAX, group=group)
    keys = [used[row].nonzero().flatten() for row in range(len(given))]
    counts = _add(given, keys, group, device)
    moments = _gather(
        torch.tensor([[s.sum, s.sum_sq, s.min_abs, s.max_abs] for s in given], dtype=torch.float64),
        group,
        device,
    )
    merged = zip(keys, counts, moments.transpose(1, 0, 2), strict=True)
    return dict(zip(sketches, [_sketch(*each) for each in merged], strict=True))


def _agree(names: Sequence[str], group: dist.ProcessGroup, device: torch.device) -> None:
    """Compare the names on all ranks; all of them find the same."""
    digest = hashlib.blake2b("\0".join(names).encode("utf-8", "replace"), digest_size=_DIGEST)
    word = int.from_bytes(digest.digest(), "little", signed=True)
    found = _gather(torch.tensor([len(names), word]), group, device)
    if (found != found[0]).any():
        raise SketchError(
            "The ranks have sketches of different names: "
            f"{', '.join(map(str, found[:, 0].tolist()))} of them, by rank. Give the same names in "
            "the same order on every rank; an empty sketch stands for what a rank has not seen."
        )


def _add(
    given: Sequence[Sketch],
    keys: Sequence[Tensor],
    group: dist.ProcessGroup,
    device: torch.device,
) -> list[NDArray[np.int64]]:
    """Counts of the keys that any rank has, added."""
    tables = torch.zeros(N_KEYS, dtype=torch.int64, device=device)
    parts: list[Tensor] = []
    for sketch, used in zip(given, keys, strict=True):
        tables.zero_()
        tables[_indices(sketch.keys, device)] = torch.from_numpy(sketch.counts).to(device)
        parts.append(tables[used])
    total = torch.cat(parts)
    dist.all_reduce(total, dist.ReduceOp.SUM, group=group)
    return [part.cpu().numpy() for part in total.split([len(part) for part in parts])]


def _indices(keys: NDArray[np.uint16], device: torch.device) -> Tensor:
    return torch.from_numpy(keys.astype(np.int64)).to(device)


def _gather(own: Tensor, group: dist.ProcessGroup, device: torch.device) -> NDArray[Any]:
    """What each rank has, one after the other."""
    own = own.to(device)
    found = [torch.empty_like(own) for _ in range(dist.get_world_size(group))]
    dist.all_gather(found, own, group=group)
    return torch.stack(found).cpu().numpy()


def _sketch(keys: Tensor, counts: NDArray[np.int64], moments: NDArray[np.float64]) -> Sketch:
    total, total_sq, least, greatest = moments.T.tolist()
    key = keys.cpu().numpy().astype(np.uint16)
    sums = add_floats(total), add_floats(total_sq)
    return Sketch.from_counts(key, counts, *sums, smallest(least), largest(greatest))
