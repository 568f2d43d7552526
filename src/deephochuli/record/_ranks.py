"""Which rank this process is, and which part of the model it holds."""

# What FSDP knows of its mesh, and where a part begins in the whole, have no public interface.
# pyright: reportPrivateUsage=false, reportUnknownMemberType=false
from __future__ import annotations

import os
import sys
from typing import Any, cast

import torch.distributed as dist
from torch import Tensor, nn

from deephochuli.store import RankOf


def rank_here() -> tuple[int, int] | None:
    """Return the rank of this process and how many there are; None if it is the only one.

    Asked of `torch.distributed`, and of what ``torchrun`` has put into the environment before a
    process group is made.
    """
    if dist.is_available() and dist.is_initialized():
        rank, n_ranks = dist.get_rank(), dist.get_world_size()
    else:
        given = os.environ.get("RANK", ""), os.environ.get("WORLD_SIZE", "")
        if not all(text.isascii() and text.isdigit() for text in given):
            return None
        rank, n_ranks = int(given[0]), int(given[1])
    return (rank, n_ranks) if n_ranks > 1 and 0 <= rank < n_ranks else None


def describe_rank(model: nn.Module, rank: int, n_ranks: int) -> RankOf:
    """Say what a rank holds of a model, without asking the others."""
    spread = {
        name: parameter for name, parameter in model.named_parameters() if _is_spread(parameter)
    }
    return RankOf(
        rank=rank,
        n_ranks=n_ranks,
        same_data=_same_data(model, list(spread.values())),
        shards={name: _part(parameter) for name, parameter in spread.items()},
    )


def _is_spread(tensor: Tensor) -> bool:
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


def _part(parameter: Any) -> list[int]:
    """First index along each dimension and shape of the part of a DTensor that lies here."""
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

    shape, offset = compute_local_shape_and_global_offset(
        parameter.shape, parameter.device_mesh, parameter.placements
    )
    return [*map(int, offset), *map(int, shape)]


def _same_data(model: nn.Module, parameters: list[Any]) -> list[int]:
    """Ranks that work on the same data, so that their activations are parts or copies.

    These are the ranks that share a parameter, except for those among which FSDP has divided it:
    it divides parameters and data alike.
    """
    divided = _divided_by_fsdp(model)
    same: set[int] = set()
    for parameter in parameters:
        ranks, here = parameter.device_mesh.mesh, parameter.device_mesh.get_coordinate()
        if here is None:
            continue
        among = divided.get(id(parameter), set())
        place: list[int | slice] = [
            here[dim] if _varies(ranks, here, dim) & among else slice(None)
            for dim in range(ranks.ndim)
        ]
        same.update(ranks[tuple(place)].flatten().tolist())
    return sorted(same) if len(same) > 1 else []


def _varies(ranks: Tensor, here: list[int], dim: int) -> set[int]:
    """Other ranks that one meets from here along one dimension of a mesh."""
    line = tuple(slice(None) if d == dim else here[d] for d in range(ranks.ndim))
    met = cast("list[int]", ranks[line].tolist())
    return set(met) - {int(ranks[tuple(here)])}


def _divided_by_fsdp(model: nn.Module) -> dict[int, set[int]]:
    """By identity of a parameter: ranks among which FSDP has divided it, or keeps it alike."""
    fsdp = sys.modules.get("torch.distributed.fsdp")
    kind = getattr(fsdp, "FSDPModule", ())
    found: dict[int, set[int]] = {}
    for module in model.modules():
        if not isinstance(module, kind):
            continue
        for group in groups_of(cast(Any, module)._get_fsdp_state()):
            for each in group.fsdp_params:
                ranks: set[int] = set(each.mesh_info.mesh.mesh.flatten().tolist())
                found[id(each.sharded_param)] = ranks
    return found


def groups_of(state: Any) -> list[Any]:
    """The parameters that FSDP keeps together; before torch 2.12 a module had one group or none."""
    if hasattr(state, "_fsdp_param_groups"):
        return state._fsdp_param_groups
    return [] if state._fsdp_param_group is None else [state._fsdp_param_group]
