"""Each unit's largest pre-activation: as judged, in binary64, and in binary64 layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from deephochuli.analysis._batches import Batch, called
from deephochuli.analysis.compare import Executor, Task, world
from deephochuli.analysis.death._low import EXACT, Low, exact_copy
from deephochuli.analysis.death._rectifiers import Rectifiers
from deephochuli.analysis.death._wiring import Wiring, wiring_of
from deephochuli.errors import CompareError

Float64s = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Shadow:
    """What the units of one call of a rectifier do on all data; arrays are float64 [units].

    Attributes:
        wiring: The units and what feeds them.
        low: Largest pre-activation as judged.
        exact: Largest one in binary64 from the inputs on, with the same weights.
        local: Largest one in binary64 from the judged activations of the rectifiers before.
        unbiased: Largest one in binary64 without the bias that is added last, all activations of
            the rectifiers before being as they are with it; nan for units that are not dead in
            binary64.
        activity: Mean magnitude of the judged activation.
    """

    wiring: Wiring
    low: Float64s
    exact: Float64s
    local: Float64s
    unbiased: Float64s
    activity: Float64s


@dataclass(slots=True)
class _Highs:
    """Collects the largest pre-activation of each unit of each call, batch by batch."""

    wirings: Sequence[Wiring]
    seen: dict[int, list[Tensor]] = field(default_factory=lambda: dict[int, list[Tensor]]())

    def see(self, index: int, z: Tensor) -> None:
        self.seen.setdefault(index, []).append(_rows(z, self._wiring(index)).amax(0))

    def high(self, index: int) -> Tensor:
        return reduce(torch.maximum, self.seen[index])

    def _wiring(self, index: int) -> Wiring:
        if index >= len(self.wirings):
            raise CompareError(
                f"The model calls more rectifiers on some batches than on the first one, which "
                f"called {len(self.wirings)}: units can be followed only where it always calls the "
                "same ones. Judge a part of the model, or batches of one kind."
            )
        return self.wirings[index]


def _rows(z: Tensor, wiring: Wiring) -> Tensor:
    """Pre-activations as float64 [all the rest, units]."""
    return z.detach().double().movedim(wiring.dim, -1).reshape(-1, wiring.n_units)


def wirings_of(exact: nn.Module, batch: Batch, seed: int) -> list[Wiring]:
    """The units of every rectifier that a copy in binary64 calls on a batch.

    Raises:
        CompareError: It calls none.
    """
    found: list[Wiring] = []
    named = dict(exact.named_parameters())
    mode = Rectifiers(lambda index, z: found.append(wiring_of(z, named, index)))
    with world(_task(exact, seed), EXACT, exact), mode:
        called(exact, batch)
    if not found:
        raise CompareError(
            f"{type(exact).__name__} calls no rectifier (ReLU, ReLU6, clamp at zero): only units "
            "before one can be dead. For other activations see deephochuli.significance."
        )
    return _numbered(found)


def _numbered(found: list[Wiring]) -> list[Wiring]:
    """Calls of one layer after the first bear their number."""
    counts: dict[str, int] = {}
    numbered: list[Wiring] = []
    for each in found:
        counts[each.layer] = n = counts.get(each.layer, 0) + 1
        name = each.layer if n == 1 else f"{each.layer}#{n}"
        numbered.append(Wiring(name, each.dim, each.n_units, each.weights, each.bias))
    return numbered


def _task(model: nn.Module, seed: int) -> Task:
    return Task(model=model, batch=None, seed=seed)


def shadows_of(low: Low, judged: nn.Module, batches: Sequence[Batch], seed: int) -> list[Shadow]:
    """Run all data through a low copy and through its two shadows, layer by layer.

    Args:
        low: How the copy runs.
        judged: The copy; its weights are numbers of the low format.
        batches: The data.
        seed: Of dropout, the same in all three runs.

    Raises:
        CompareError: No rectifier is called, or not the same ones on all batches.
    """
    exact = exact_copy(judged)
    wirings = wirings_of(exact_copy(judged), batches[0], seed)
    lows, exacts, locals_ = _Highs(wirings), _Highs(wirings), _Highs(wirings)
    activity = [torch.zeros(each.n_units, dtype=torch.float64, device="cpu") for each in wirings]
    for number, batch in enumerate(batches):
        task = _task(judged, seed + number)
        kept: list[Tensor] = []

        def keep(index: int, a: Tensor, kept: list[Tensor] = kept) -> None:
            kept.append(a.detach().clone())
            activity[index] += _rows(a, wirings[index]).abs().mean(0).cpu() / len(batches)

        with world(task, low.executor, judged), torch.no_grad(), Rectifiers(lows.see, keep):
            called(judged, batch)
        with world(task, EXACT, exact), torch.no_grad(), Rectifiers(exacts.see):
            called(exact, batch)
        forced = Rectifiers(locals_.see, lambda index, a, kept=kept: kept[index])
        with world(task, EXACT, exact), torch.no_grad(), forced:
            called(exact, batch)
    unbiased = _unbiased(exact, exacts, batches, seed)
    return [
        Shadow(
            wiring=wiring,
            low=_array(lows.high(index)),
            exact=_array(exacts.high(index)),
            local=_array(locals_.high(index)),
            unbiased=_array(unbiased[index]),
            activity=_array(activity[index]),
        )
        for index, wiring in enumerate(wirings)
    ]


def _unbiased(exact: nn.Module, highs: _Highs, batches: Sequence[Batch], seed: int) -> list[Tensor]:
    """Largest pre-activations without bias, of the units that are dead with it; nan for others.

    A bias far below the rest of the sum takes all its bits, so that it cannot be subtracted again:
    the sums are formed anew.
    """
    found = [torch.full_like(highs.high(index), torch.nan) for index in range(len(highs.wirings))]
    is_dead = [highs.high(index) <= 0 for index in range(len(highs.wirings))]
    if not any(each.any() for each in is_dead):
        return found
    bare = exact_copy(exact)
    named = dict(bare.named_parameters())
    with torch.no_grad():
        for name in {wiring.bias for wiring in highs.wirings} - {""}:
            named[name].zero_()
    without = _Highs(highs.wirings)
    for number, batch in enumerate(batches):
        task = _task(exact, seed + number)
        kept: list[Tensor] = []
        keep = Rectifiers(None, lambda index, a, kept=kept: kept.append(a.clone()))
        with world(task, EXACT, exact), torch.no_grad(), keep:
            called(exact, batch)
        forced = Rectifiers(without.see, lambda index, a, kept=kept: kept[index])
        with world(task, EXACT, bare), torch.no_grad(), forced:
            called(bare, batch)
    return [
        torch.where(dead, without.high(index), values)
        for index, (dead, values) in enumerate(zip(is_dead, found, strict=True))
    ]


def highs_of(
    model: nn.Module,
    executor: Executor,
    wirings: Sequence[Wiring],
    batches: Sequence[Batch],
    seed: int,
) -> Float64s:
    """Largest pre-activation of every unit of a copy that an executor runs, float64 [all units]."""
    highs = _Highs(wirings)
    for number, batch in enumerate(batches):
        task = _task(model, seed + number)
        with world(task, executor, model), torch.no_grad(), Rectifiers(highs.see):
            called(model, batch)
    return np.concatenate([_array(highs.high(index)) for index in range(len(wirings))])


def _array(values: Tensor) -> Float64s:
    return values.detach().double().cpu().numpy()
