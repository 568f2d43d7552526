"""Counting what lies at a kink while a model runs, layer by layer and batch by batch."""

# torch leaves much of its interface without types.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import Tensor

from deephochuli.analysis.kink._causes import NUMERICAL, Cause, causes_of, smallest_kept
from deephochuli.analysis.kink._execution import Execution, stored_format
from deephochuli.analysis.kink._pools import POOLS, pooling_of, ties_of
from deephochuli.analysis.kink._shadow import Producers
from deephochuli.analysis.kink._terms import exact_sum
from deephochuli.arithmetic import get_arithmetic


@dataclass(slots=True)
class Tally:
    """What one layer met, batch by batch.

    Attributes:
        seen: Elements of pre-activations.
        met: Of these, exactly at a kink.
        causes: How often each cause, over all batches.
        numerical: Elements at a kink for another cause than a structural one.
    """

    seen: list[int] = field(default_factory=list[int])
    met: list[int] = field(default_factory=list[int])
    causes: Counter[Cause] = field(default_factory=Counter["Cause"])
    numerical: list[int] = field(default_factory=list[int])


@dataclass(slots=True)
class PoolTally:
    """Windows of one pooling layer, and those with more than one largest element, by batch too."""

    windows: int = 0
    tied: int = 0
    tied_in: Counter[int] = field(default_factory=Counter[int])


class Counting:
    """Counts the kinks of one execution; an onlooker of `KinkMode`."""

    def __init__(self, execution: Execution, *, causes: bool, pools: bool) -> None:
        """Ask for causes, which computes some products again, and look at pooling, or not."""
        arithmetic = execution.arithmetic
        self._execution = execution
        self._producers = (
            Producers(None if arithmetic is None else get_arithmetic(arithmetic))
            if causes
            else None
        )
        self._pools = pools
        self.layers: dict[str, Tally] = {}
        self.pools: dict[str, PoolTally] = {}
        self._batch = -1

    def begin(self) -> None:
        """A new batch begins."""
        self._batch += 1
        if self._producers is not None:
            self._producers.clear()

    def met_now(self) -> int:
        """Elements at a kink in this batch."""
        return sum(_last(tally.met, self._batch) for tally in self.layers.values())

    def numerical_now(self) -> int:
        """Elements of this batch at a kink for another cause than a structural one."""
        return sum(_last(tally.numerical, self._batch) for tally in self.layers.values())

    def ties_now(self) -> int:
        """Windows of this batch with more than one largest element."""
        return sum(tally.tied_in[self._batch] for tally in self.pools.values())

    def meet(self, layer: str, packet: Any, z: Tensor, found: Tensor) -> None:
        """Count the elements of one pre-activation."""
        tally = self.layers.setdefault(layer, Tally())
        n_missing = self._batch + 1 - len(tally.seen)
        for counts in (tally.seen, tally.met, tally.numerical):
            counts += [0] * n_missing
        tally.seen[self._batch] += z.numel()
        tally.met[self._batch] += found.numel()
        if found.numel() and self._producers is not None:
            smallest = smallest_kept(stored_format(self._execution, z.dtype), z.dtype)
            shadow = self._producers.shadow_of(z)
            exact = partial(exact_sum, self._producers, z)
            causes = causes_of(z, found, shadow, smallest, exact)
            tally.causes.update(causes)
            tally.numerical[self._batch] += sum(causes[cause] for cause in NUMERICAL)

    def before(self, func: Any, args: tuple[Any, ...]) -> Any:
        """Keep what an operator in place is about to overwrite."""
        return None if self._producers is None else self._producers.before(func, args)

    def made(
        self, layer: str, func: Any, args: Any, kwargs: dict[str, Any], out: Any, before: Any
    ) -> None:
        """Remember how a tensor was made, and count the ties of a pooling."""
        if self._producers is not None:
            self._producers.made(func, args, kwargs, out, before)
        n_dims = POOLS.get(func.overloadpacket)
        if n_dims is not None and self._pools and args[0].is_floating_point():
            largest, _ = ties_of(args[0], pooling_of(n_dims, args[1:5]), out[0].shape)
            tally = self.pools.setdefault(layer, PoolTally())
            tally.windows += out[0].numel()
            tally.tied += len(largest)
            tally.tied_in[self._batch] += len(largest)


def _last(counts: list[int], batch: int) -> int:
    return counts[batch] if len(counts) > batch else 0
