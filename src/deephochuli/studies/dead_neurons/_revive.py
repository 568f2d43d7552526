"""Near-dead units of a trained net: who comes back in which arm."""

# Optimizers have no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import nn

from deephochuli.analysis.death import death, near_dead, revival
from deephochuli.studies._reference_net import trained_reference_net
from deephochuli.studies._study import Params
from deephochuli.studies.dead_neurons._deep import first_batches

N_BATCHES: Final = 6
FIRST: Final = "0"
_CHOSEN: Final = {FIRST: (1, 16), "2": (4, 32), "5": (4, 32), "8": (4, 64)}
"""Layers of the reference net: units that are made near-dead, and units there are. The inputs of
the first layer are the data, so that nothing can revive it: a control."""


def chosen_units(seed: int) -> dict[str, list[int]]:
    """The units that are made near-dead, drawn anew for each seed."""
    generator = torch.Generator().manual_seed(seed)
    return {
        layer: torch.randperm(n_units, generator=generator)[:n].sort().values.tolist()
        for layer, (n, n_units) in _CHOSEN.items()
    }


def measure_trained(params: Params) -> Mapping[str, Any]:
    """Train a net, make some units near-dead in each format, and count who lives where."""
    seed = params["seed"]
    model = trained_reference_net(seed=seed)
    return {
        "controls": {name: _control(model, name) for name in params["controls"]},
        "settings": [_setting(model, each, seed) for each in params["settings"]],
    }


def _control(model: nn.Module, arithmetic: str) -> dict[str, int]:
    """Units by fate of the trained net as it is, over a few steps."""
    found = death(
        model,
        first_batches(3),
        arithmetic,
        loss=nn.functional.cross_entropy,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.05),
    )
    return {"n_units": found.n_units, **found.counts()}


def _setting(model: nn.Module, setting: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Which of the chosen units live, by arm and step: 1 or 0 for each unit."""
    data = first_batches(N_BATCHES)
    chosen = chosen_units(seed)
    start = near_dead(model, data, chosen, setting["arithmetic"])
    found = revival(
        start,
        data,
        setting["arithmetic"],
        optimizer=torch.optim.SGD(start.parameters(), lr=setting["rate"]),
        loss=nn.functional.cross_entropy,
        steps=setting["steps"],
        arms=setting["arms"],
        seed=seed,
    )
    kept = [i for i, (layer, unit) in enumerate(found.units) if unit in chosen.get(layer, ())]
    return {
        "layers": [found.units[i][0] for i in kept],
        "steps": list(found.steps),
        "alive": {
            arm.name: found.alive[index][:, kept].astype(int).tolist()
            for index, arm in enumerate(found.arms)
        },
        "moved": {arm.name: found.moved[index].tolist() for index, arm in enumerate(found.arms)},
    }
