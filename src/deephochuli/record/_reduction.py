"""Gradients before and after they are averaged over ranks, at some elements.

DDP offers one place from which both can be seen: its communication hook. Ours takes a copy of some
elements, does what DDP would have done without it, and takes a copy again. Each rank writes its own
copies; that they belong together is found by whoever reads them, so that no rank waits for another.
"""

# torch leaves what comes of buckets, futures and groups untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false
# pyright: reportPrivateImportUsage=false
from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from inspect import Parameter, Signature
from itertools import accumulate
from pathlib import Path
from typing import Any, Final, Self, TypeVar, cast

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor
from torch.futures import Future
from torch.nn.parallel import DistributedDataParallel

from deephochuli.errors import TapError
from deephochuli.taps import Faults, parse_schedule

Schedule = int | str | Iterable[int] | Callable[[int], bool]
Hook = Callable[[Any, dist.GradBucket], Future[Tensor]]
Result = TypeVar("Result")
REDUCTION_FOLDER: Final = "reduction"
_WHAT: Final = "gradients before and after their reduction"
_SEED: Final = 0x5EED


@dataclass(slots=True)
class _Seen:
    """Some elements of one bucket of gradients.

    Attributes:
        owners: Name of the parameter of each.
        before: What this rank contributes.
        dtype: Type of the bucket.
        n_elements: Elements of the bucket.
        after: What has become of them; None as long as the reduction goes on.
    """

    owners: list[str]
    before: Tensor
    dtype: str
    n_elements: int
    after: Tensor | None = None


class ReductionWatch:
    """Gradients being looked at around their reduction; made by `watch_reduction`.

    Attributes:
        path: Folder of what was seen.
    """

    # DDP compares annotations with its types, and they are texts here.
    __signature__ = Signature(
        [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in ("state", "bucket")]
    )

    def __init__(
        self,
        model: DistributedDataParallel,
        path: Path,
        schedule: Callable[[int], bool],
        n_sampled: int,
        hook: Hook,
    ) -> None:
        """Use `watch_reduction`."""
        self.path = path
        self.__name__ = self.__qualname__ = "watch_reduction"  # DDP expects a function, to log it
        self._names = {id(p): name for name, p in model.module.named_parameters()}
        group: Any = model.process_group
        self._rank, self._n_ranks = group.rank(), group.size()
        self._schedule = schedule
        self._n_sampled = n_sampled
        self._hook = hook
        self._faults = Faults()
        self._step = -1
        self._seen: list[_Seen] = []
        self._is_open = True

    def close(self) -> None:
        """Write what waits, and look no more. The hook stays and only reduces from now on."""
        if self._is_open:
            self._attempt(self._write)
        self._is_open = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Callable[[Hook], Hook], tuple[Hook]]:
        """Copies and checkpoints of the model get the hook that only reduces."""
        return _itself, (self._hook,)

    def __call__(self, state: Any, bucket: dist.GradBucket) -> Future[Tensor]:
        """Look at a bucket, reduce it as without us, and look again."""
        found = self._attempt(lambda: self._look(bucket)) if self._is_open else None
        future = self._hook(state, bucket)
        if found is None:
            return future
        places, seen = found

        def look_again(done: Future[Any]) -> Any:
            reduced = done.value()
            self._attempt(lambda: _look_again(reduced, places, seen))
            return reduced

        return cast("Future[Tensor]", future.then(look_again))

    def _attempt(self, look: Callable[[], Result]) -> Result | None:
        """Look, unless that has failed before."""
        if _WHAT in self._faults:
            return None
        try:
            with torch.no_grad():
                return look()
        except Exception as error:  # an instrument never stops the training
            self._faults.report(_WHAT, error)
            return None

    def _look(self, bucket: dist.GradBucket) -> tuple[Tensor, _Seen] | None:
        """Copy some elements of a bucket, if its step is looked at; buckets come in order."""
        if bucket.index() == 0:
            self._write()
            self._step += 1
        if not self._schedule(self._step):
            return None
        buffer = bucket.buffer()
        places = self._places(bucket.index(), buffer.numel())
        ends = list(accumulate(parameter.numel() for parameter in bucket.parameters()))
        names = [self._names.get(id(parameter), "?") for parameter in bucket.parameters()]
        owners = [names[bisect_right(ends, place)] for place in places.tolist()]
        places = places.to(buffer.device)
        dtype = str(buffer.dtype).removeprefix("torch.")
        seen = _Seen(owners, buffer.flatten()[places], dtype, buffer.numel())
        self._seen.append(seen)
        return places, seen

    def _places(self, index: int, n: int) -> Tensor:
        """Elements of a bucket that are looked at: at random, and the same on every rank."""
        generator = torch.Generator().manual_seed(_SEED + (self._step << 16) + index)
        if n <= self._n_sampled:
            return torch.arange(n, device="cpu")
        return torch.randint(n, (self._n_sampled,), generator=generator, device="cpu")

    def _write(self) -> None:
        """Write what was seen of a step."""
        whole, self._seen = [seen for seen in self._seen if seen.after is not None], []
        if not whole:
            return
        self.path.mkdir(parents=True, exist_ok=True)
        final = self.path / f"step-{self._step:08d}.rank-{self._rank}.npz"
        draft = final.with_suffix(".tmp")
        with draft.open("wb") as file:
            np.savez(
                file,
                owner=np.array([name for seen in whole for name in seen.owners]),
                before=np.concatenate([_float64(seen.before) for seen in whole]),
                after=np.concatenate([_float64(seen.after) for seen in whole]),
                dtype=np.array([seen.dtype for seen in whole for _ in seen.owners]),
                n_elements=np.array(sum(seen.n_elements for seen in whole)),
                ranks=np.array([self._rank, self._n_ranks]),
            )
        draft.replace(final)


def _look_again(reduced: Any, places: Tensor, seen: _Seen) -> None:
    tensor = cast(Tensor, reduced[0] if isinstance(reduced, list | tuple) else reduced)
    seen.after = tensor.flatten()[places]


def _float64(tensor: Tensor | None) -> NDArray[np.float64]:
    """All values of a tensor; binary64 holds those of every narrower type."""
    return np.empty(0) if tensor is None else tensor.double().cpu().numpy()


def _itself(hook: Hook) -> Hook:
    return hook


def average(state: Any, bucket: dist.GradBucket) -> Future[Tensor]:
    """Reduce a bucket as DDP does where no hook is registered, to the bit.

    Args:
        state: Process group, or None for all ranks.
        bucket: Its gradients are multiplied by 1 / n, rounded in their own type, and added.
    """
    group = cast("dist.ProcessGroup", dist.group.WORLD if state is None else state)
    # torch's own allreduce_hook divides by n instead, which rounds otherwise unless n is a power
    # of two.
    buffer = bucket.buffer().mul_(1.0 / group.size())
    work: Any = dist.all_reduce(buffer, group=group, async_op=True)
    return cast("Future[Tensor]", work.get_future().then(lambda done: done.value()[0]))


def watch_reduction(
    model: DistributedDataParallel,
    *,
    to: str | os.PathLike[str],
    every: Schedule = 20,
    n_sampled: int = 256,
    hook: Hook | None = None,
    state: Any = None,
) -> ReductionWatch:
    """Look at gradients before and after DDP averages them over the ranks.

    Call it on every rank, before the first backward; DDP takes one communication hook and keeps
    it. The training is the same to the bit as without it, or as with the hook that is given. Ask
    for the answer with :func:`~deephochuli.reduction`, once all ranks have written.

    Args:
        model: The model in its DDP wrapper.
        to: Folder, such as that of the recording; what is seen goes into ``reduction`` in it.
        every: Which reductions to look at, as for `record`; steps of gradient accumulation, which
            reduce nothing, do not count.
        n_sampled: Elements of each bucket that are looked at, drawn anew in each step.
        hook: What reduces instead of DDP itself, such as torch's ``bf16_compress_hook``.
        state: First argument of the hook.

    Returns:
        The watch, to be used in a ``with`` statement or closed at the end.

    Raises:
        TapError: The model is not wrapped in DDP, or has a hook already.
    """
    if not isinstance(cast(object, model), DistributedDataParallel):
        raise TapError(
            f"Reductions of a {type(model).__name__} cannot be looked at: expected a model in "
            "torch.nn.parallel.DistributedDataParallel, which is what offers a look."
        )
    if getattr(model, "_comm_hooks", None):
        raise TapError(
            "This model has a communication hook already, and DDP takes one. Hand it over instead "
            "of registering it: watch_reduction(model, hook=..., state=...)."
        )
    path, schedule = Path(to).absolute() / REDUCTION_FOLDER, parse_schedule(every)
    watch = ReductionWatch(model, path, schedule, n_sampled, hook or average)
    model.register_comm_hook(model.process_group if hook is None else state, watch)
    return watch
