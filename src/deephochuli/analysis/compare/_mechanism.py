"""Why a call errs: causes that can be read off, and roundings that explain the error or do not."""

# torch leaves much of its interface without types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

import math
from collections.abc import Container, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from deephochuli.analysis.compare._errors import error_of
from deephochuli.analysis.compare._execute import Task, replay
from deephochuli.analysis.compare._executors import Executor
from deephochuli.analysis.compare._floor import Floor
from deephochuli.analysis.compare._forced import Forced
from deephochuli.analysis.compare._trace import CallName, Trace, owner_of
from deephochuli.arithmetic import Arithmetic, Sums, round_to, run_as
from deephochuli.formats import (
    BFLOAT16,
    BINARY16,
    BINARY64,
    E4M3FN,
    E5M2,
    TF32,
    Format,
    Rounding,
    format_of_dtype,
)

Pairs = list[tuple[Tensor, Tensor]]

_STORED_AS = (E5M2, E4M3FN, BFLOAT16, BINARY16, TF32)
_OPERANDS = (
    (TF32, Rounding.NEAREST_EVEN),
    (TF32, Rounding.NEAREST_AWAY),
    (TF32, Rounding.TOWARD_ZERO),
    (BFLOAT16, Rounding.NEAREST_EVEN),
    (BINARY16, Rounding.NEAREST_EVEN),
)
_EXPLAINED = 4.0
"""A hypothesis explains an error if what it leaves is at most this many times the floor."""


@dataclass(frozen=True, slots=True)
class Mechanism:
    """What explains an error.

    Attributes:
        name: Short name, such as "result-rounded" or "parameter-differs".
        is_rounding: Whether it is rounding to a known format, and no difference of another kind.
        text: One or two sentences with the numbers that say so.
        advice: What to do.
    """

    name: str
    is_rounding: bool
    text: str
    advice: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where an error shows: a call, a direction, and the parameter if it is one's."""

    call: CallName
    direction: str
    parameter: str | None

    @property
    def key(self) -> tuple[CallName, str]:
        """Name under which errors are kept."""
        parameter = "" if self.parameter is None else f":{self.parameter}"
        return self.call, self.direction + parameter

    @property
    def parameter_path(self) -> str:
        """Full name of the parameter."""
        return ".".join(filter(None, (self.call[0], self.parameter)))


class _Keep(Forced):
    """Keeps what one call had and should have had."""

    def __init__(self, judged: Trace, free: Trace, place: Place) -> None:
        super().__init__(judged, free)
        self._wanted = (place.call, place.direction)
        self.pairs: Pairs = []

    def own(self, owner: CallName, what: str, judged: Tensor, computed: Tensor) -> None:
        """Keep the numbers of the call that is looked at."""
        if (owner, what) == self._wanted:
            self.pairs.append((judged.detach(), computed.detach()))


def explain(
    task: Task,
    executor: Executor,
    judged: Trace,
    free: Trace,
    truth: Executor,
    place: Place,
    floor: Floor,
) -> Mechanism | None:
    """Find what explains the own error of a call; a mechanism that says so where nothing does."""
    if executor.model is not None and place.direction != "update":
        found = _different_state(task.model, executor.model, place.call[0], free.calls)
        if found is not None:
            return found
    pairs = _pairs(task, judged, free, truth, place)
    limit = _EXPLAINED * floor.rms.get(place.key, 0.0)
    return (
        _nonfinite(pairs)
        or _stored_narrow(_results(task, judged, place, pairs), place.direction)
        or _one_factor(pairs, limit)
        or _operands_rounded(task, judged, free, truth, place, limit)
        or _unexplained(pairs, _other_class(task.model, executor.model, place.call[0]))
    )


def _pairs(task: Task, judged: Trace, free: Trace, truth: Executor, place: Place) -> Pairs:
    """What the call had and should have had, given what it was given."""
    keep = _Keep(judged, free, place)
    gradients, updates = replay(task, truth, keep, judged)
    if place.parameter is None:
        return keep.pairs
    is_gradient = place.direction == "gradient"
    had, should = (judged.gradients, gradients) if is_gradient else (judged.updates, updates)
    return [(had[place.parameter_path], should[place.parameter_path])]


def _results(task: Task, judged: Trace, place: Place, pairs: Pairs) -> list[Tensor]:
    """Numbers that the call left in memory: for an update the weights after it."""
    if place.direction != "update":
        return [had for had, _ in pairs]
    weight = dict(task.model.named_parameters())[place.parameter_path]
    update = judged.updates[place.parameter_path]
    return [(weight.detach().cpu().double() + update.cpu()).to(weight.dtype)]


def _different_state(
    right: nn.Module, wrong: nn.Module, path: str, calls: Container[CallName]
) -> Mechanism | None:
    """Parameters, buffers or settings of the layer that differ between two models."""
    try:
        a, b = right.get_submodule(path), wrong.get_submodule(path)
    except AttributeError:
        return None
    for what, left, other in (
        ("parameter", dict(a.named_parameters()), b.named_parameters()),
        ("buffer", dict(a.named_buffers()), b.named_buffers()),
    ):
        for name, tensor in other:
            if owner_of(f"{path}.{name}".removeprefix("."), calls)[0][0] != path:
                continue
            found = _different_tensor(what, name, left.get(name), tensor)
            if found is not None:
                return found
    return _different_settings(a, b)


def _different_tensor(what: str, name: str, a: Tensor | None, b: Tensor) -> Mechanism | None:
    if a is None or a.shape != b.shape:
        return None
    right, wrong = (each.detach().to("cpu", torch.float64) for each in (a, b))
    differ = int((right != wrong).sum())
    if not differ:
        return None
    sorts = [each.flatten().sort().values for each in (right, wrong)]
    is_permuted = differ > 1 and torch.equal(*sorts)
    how = "the same numbers in another order" if is_permuted else _stored(wrong, a.dtype)
    return Mechanism(
        f"{what}-differs",
        is_rounding=False,
        text=f"Its {what} {name!r} differs from the reference's in {differ} of {a.numel()} elements"
        f"{', ' + how if how else ''}.",
        advice=f"Load or update {name!r} as the reference does.",
    )


def _stored(values: Tensor, dtype: torch.dtype) -> str:
    fmt = _narrowest([values.to(dtype)])
    return "" if fmt is None else f"and holds {fmt.name} numbers only"


def _different_settings(a: nn.Module, b: nn.Module) -> Mechanism | None:
    """Numbers and words among a module's attributes: eps, momentum, stride, a kind of padding."""
    if type(a) is not type(b):
        return None
    for name, value in vars(a).items():
        other = vars(b).get(name)
        is_setting = isinstance(value, int | float | tuple | str) and not name.startswith("_")
        if is_setting and other != value:
            return Mechanism(
                "setting-differs",
                is_rounding=False,
                text=f"Its setting {name} is {other!r}; the reference has {value!r}.",
                advice=f"Set {name}={value!r}.",
            )
    return None


def _nonfinite(pairs: Pairs) -> Mechanism | None:
    count = sum(error_of(had, should).nonfinite for had, should in pairs)
    if not count:
        return None
    return Mechanism(
        "not-finite",
        is_rounding=False,
        text=f"{count} of its numbers are NaN or infinite where the reference is finite.",
        advice="Look for an overflow, a division by zero or a logarithm of zero in this layer.",
    )


def _stored_narrow(results: list[Tensor], direction: str) -> Mechanism | None:
    """All results are numbers of a format narrower than the dtype they are stored in."""
    fmt = _narrowest(results)
    if fmt is None:
        return None
    n = sum(each.numel() for each in results)
    what = {"forward": "outputs", "backward": "gradients", "gradient": "gradients"}
    return Mechanism(
        "result-rounded",
        is_rounding=True,
        text=f"All {n} of its {what.get(direction, 'weights after the step')} are {fmt.name} "
        f"numbers (significand {fmt.precision} bits) though stored in {results[0].dtype}: its "
        f"result was rounded to {fmt.name}.",
        advice="Look for a cast, an autocast region or a kernel with this output type around it.",
    )


def _narrowest(results: list[Tensor]) -> Format | None:
    """The narrowest format that holds all elements; None where only their own dtype does."""
    tensors = [each for each in results if each.numel()]
    significant = sum(int((each != 0).sum()) for each in tensors)
    if significant < MIN_ELEMENTS:
        return None
    for fmt in _STORED_AS:
        if all(_is_in(each, fmt) for each in tensors):
            return fmt
    return None


MIN_ELEMENTS = 4
"""Fewer numbers than this may be short by chance."""


def _is_in(tensor: Tensor, fmt: Format) -> bool:
    if format_of_dtype(str(tensor.dtype)).precision <= fmt.precision:
        return False
    return torch.equal(round_to(tensor, fmt, overflow="saturate"), tensor)


def _one_factor(pairs: Pairs, limit: float) -> Mechanism | None:
    """Everything is the right result times one factor."""
    product = sum(float((a.cpu().double() * r.cpu()).sum()) for a, r in pairs)
    square = sum(float(r.cpu().double().square().sum()) for _, r in pairs)
    if not square:
        return None
    factor = product / square
    left = _rms(a.cpu().double() - factor * r.cpu() for a, r in pairs)
    if left > max(limit, 2.0**-20 * abs(factor - 1) * _rms(r for _, r in pairs)):
        return None
    return Mechanism(
        "one-factor",
        is_rounding=False,
        text=f"Its results are the right ones times {factor:.9g} (1 {factor - 1:+.4g}); what is "
        f"left then is {left:.3g} rms, within the floor.",
        advice="Look for a scale that is applied twice, left out or slightly wrong.",
    )


def _operands_rounded(
    task: Task,
    judged: Trace,
    free: Trace,
    truth: Executor,
    place: Place,
    limit: float,
) -> Mechanism | None:
    """The error vanishes when the reference rounds the operands of the layer's products, too."""
    for fmt, rounding in _OPERANDS:
        arithmetic = Arithmetic(
            name=f"operands in {fmt.name}",
            inputs=fmt,
            input_rounding=rounding,
            sums=Sums(format=BINARY64),
        )
        emulating = _emulating(truth, arithmetic, place.call)
        left = _left(_pairs(task, judged, free, emulating, place))
        if left <= limit:
            return Mechanism(
                "operands-rounded",
                is_rounding=True,
                text=f"Rounding the operands of its products to {fmt.name} ({rounding}) explains "
                f"it: {left:.3g} rms are left, within the floor.",
                advice=_OPERAND_ADVICE.get(fmt.name, "Look for an autocast region around it."),
            )
    return None


_OPERAND_ADVICE = {
    "tf32": "TF32 is on for this operator: torch.backends.cuda.matmul.fp32_precision and "
    'torch.backends.cudnn.conv.fp32_precision = "ieee" switch it off.',
    "bf16": "Its operands pass through BF16: an autocast region, or float32_matmul_precision "
    '"medium" on a CPU with AMX.',
}


def _emulating(truth: Executor, arithmetic: Arithmetic, call: CallName) -> Executor:
    """The reference with one layer in another arithmetic."""

    def context(model: nn.Module) -> AbstractContextManager[nn.Module]:
        return run_as(model, None, {call[0]: arithmetic})

    return replace(truth, context=context)


def _left(pairs: Pairs) -> float:
    """What of an error is left, as rms."""
    return _rms(a.cpu().double() - r.cpu() for a, r in pairs)


def _rms(tensors: Iterable[Tensor]) -> float:
    total, n = 0.0, 0
    for each in tensors:
        total += float(each.double().square().sum())
        n += each.numel()
    return math.sqrt(total / n) if n else 0.0


def _other_class(right: nn.Module, wrong: nn.Module | None, path: str) -> str:
    """What to say of a layer that is of another class than the reference's."""
    if wrong is None:
        return ""
    try:
        kinds = [type(each.get_submodule(path)).__name__ for each in (right, wrong)]
    except AttributeError:
        return ""
    return "" if kinds[0] == kinds[1] else f" It is a {kinds[1]}; the reference has a {kinds[0]}."


def _unexplained(pairs: Pairs, remark: str) -> Mechanism:
    size = _left(pairs)
    whole = _rms(r for _, r in pairs)
    share = size / whole if whole else math.inf
    bits = -math.log2(share) if 0 < share < math.inf else 0.0
    return Mechanism(
        "unexplained",
        is_rounding=False,
        text=f"No rounding of its operands or results to TF32, BF16, FP16 or FP8 explains it; it "
        f"agrees with the reference in {bits:.1f} bits.{remark}",
        advice="Compare the code of this layer with the reference's: constants, order of "
        "operations, stale buffers, the axis of a reduction.",
    )
