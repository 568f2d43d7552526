"""The exact backward pass, and the rows that other ones make beside it."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import accumulate

import torch
from torch import Tensor, nn

from deephochuli.analysis.backward._fate import Fate, fate_of, would_move
from deephochuli.analysis.backward._formats import GradientFormats, arithmetic_of, formats_of
from deephochuli.analysis.backward._likeness import Likeness, group_sums, likeness
from deephochuli.analysis.backward._result import GradientRow, Range
from deephochuli.analysis.backward._scale import TensorScale, tensor_scale
from deephochuli.analysis.compare import Call, Executor, Trace, executor_of, label
from deephochuli.arithmetic import Arithmetic, round_to
from deephochuli.formats import Format, format_of_dtype
from deephochuli.sketch import Sketch, merge_sketches

INPUT = "input"
Spec = Executor | Arithmetic | nn.Module | str


@dataclass(frozen=True, slots=True)
class Way:
    """One way to run the backward.

    Attributes:
        executor: How the model is executed.
        arithmetic: What it emulates; None for what torch computes itself.
        formats: What gradients pass through.
    """

    executor: Executor
    arithmetic: Arithmetic | None
    formats: GradientFormats

    @classmethod
    def of(cls, spec: Spec) -> Way:
        """Understand what was asked for; weights that an arithmetic keeps are rounded at first."""
        arithmetic = arithmetic_of(spec)
        executor = executor_of(spec)
        if arithmetic is not None and arithmetic.weights is not None:
            executor = replace(executor, prepare=_rounds(arithmetic.weights))
        return cls(executor, arithmetic, formats_of(arithmetic))

    def weights(self, dtype: torch.dtype) -> Format:
        """Format that a weight is kept in, which this execution carries in a dtype."""
        if self.arithmetic is not None and self.arithmetic.weights is not None:
            return self.arithmetic.weights
        return format_of_dtype(str(dtype))


def _rounds(fmt: Format) -> Callable[[nn.Module], None]:
    def prepare(model: nn.Module) -> None:
        with torch.no_grad():
            for parameter in model.parameters():
                round_to(parameter, fmt, out=parameter)

    return prepare


@dataclass(frozen=True, slots=True)
class View:
    """One execution, and what exact arithmetic makes of its numbers.

    Attributes:
        judged: What it kept.
        fates: What became of the gradients by the inputs, call by call.
        computed: Gradients of the parameters in binary64, of what each layer was given.
        course: Gradients of the parameters in binary64, after the forward of this execution.
    """

    judged: Trace
    fates: Mapping[tuple[str, int], Fate]
    computed: Mapping[str, Tensor]
    course: Mapping[str, Tensor]


@dataclass(slots=True)
class Exact:
    """The backward pass in binary64, and what the rows of all executions share.

    Attributes:
        weights: The model's parameters by name.
        trace: The run in binary64.
        scale: Loss scale that it ran with.
        learning_rate: Of the step that a gradient is measured by; None where the trace has updates.
        sketches: Exact gradients without the loss scale, by layer and tensor.
    """

    weights: Mapping[str, Tensor]
    trace: Trace
    scale: float
    learning_rate: float | None
    sketches: dict[tuple[str, str], Sketch] = field(default_factory=dict[tuple[str, str], Sketch])
    _decay: dict[tuple[str, str], float] = field(default_factory=dict[tuple[str, str], float])

    def __post_init__(self) -> None:
        """Sketch every gradient once."""
        for call in self.trace.calls.values():
            for tensor, parts in self._gradients(call, self.trace):
                self.sketches[label(call.name), tensor] = self._sketch(parts)
        last: dict[str, float] = {}
        for (layer, tensor), sketch in reversed(self.sketches.items()):
            rms = sketch.rms
            near = last.setdefault(tensor, rms) if rms > 0 else last.get(tensor, 0.0)
            is_known = rms > 0 and near > 0
            self._decay[layer, tensor] = math.log2(rms / near) if is_known else math.nan

    def rows(self, way: Way, view: View, confidence: float) -> Iterator[GradientRow]:
        """The rows of one execution.

        Args:
            way: How it was executed.
            view: What it kept, and what exact arithmetic makes of that.
            confidence: Of all intervals.
        """
        judged = view.judged
        for order, call in enumerate(self.trace.calls.values()):
            if call.name not in judged.calls:
                continue
            theirs = dict(self._gradients(judged.calls[call.name], judged))
            for tensor, parts in self._gradients(call, self.trace):
                other = theirs.get(tensor, [])
                if [each.shape for each in other] != [each.shape for each in parts]:
                    continue
                if tensor == INPUT:
                    fate = view.fates.get(call.name, Fate())
                else:
                    stored = way.formats.of_parameter(other[0].dtype)
                    name = _name(call.path, tensor)
                    known, course = view.computed[name], view.course.get(name)
                    fate = fate_of(other[0], known, parts[0], course, stored)
                pairs = zip(other, parts, strict=True)
                like = likeness([group_sums(q, r) for q, r in pairs], confidence)
                yield self._row(way, view, (order, call, tensor), other, fate, like)

    def _row(
        self,
        way: Way,
        view: View,
        place: tuple[int, Call, str],
        parts: list[Tensor],
        fate: Fate,
        like: Likeness,
    ) -> GradientRow:
        order, call, tensor = place
        key = label(call.name), tensor
        name = None if tensor == INPUT else _name(call.path, tensor)
        return GradientRow(
            arithmetic=way.executor.name,
            layer=key[0],
            kind=call.kind,
            order=order,
            tensor=tensor,
            format=self._format(way, tensor, parts[0].dtype).name,
            exact=range_of(self.sketches[key]),
            judged=range_of(self._sketch(parts)),
            decay=self._decay[key],
            fate=fate,
            effective=None if name is None else self._effective(way, name, view),
            unmoved=None if name is None else self._unmoved(name, view.judged),
            likeness=like,
        )

    def _format(self, way: Way, tensor: str, dtype: torch.dtype) -> Format:
        """The format that a gradient has to fit into."""
        formats = way.formats
        return formats.of_chain(dtype) if tensor == INPUT else formats.of_parameter(dtype)

    def needs(self, way: Way, judged: Trace, removed: float) -> Iterator[TensorScale | None]:
        """What every exact gradient asks of the loss scale of an execution."""
        for call in self.trace.calls.values():
            theirs = judged.calls.get(call.name)
            for tensor, parts in () if theirs is None else self._gradients(theirs, judged):
                key = label(call.name), tensor
                if key not in self.sketches:
                    continue
                fmt = self._format(way, tensor, parts[0].dtype)
                yield tensor_scale(*key, self.sketches[key], fmt, removed)

    def _gradients(self, call: Call, trace: Trace) -> Iterator[tuple[str, list[Tensor]]]:
        """The gradient that a call hands down, and those of the parameters that its module has."""
        handed = [each for each in call.grad_inputs if each is not None]
        if call.is_leaf and handed:
            yield INPUT, handed
        if call.index == 0:
            for name, gradient in trace.gradients.items():
                path, _, own = name.rpartition(".")
                if path == call.path:
                    yield own, [gradient]

    def _sketch(self, parts: list[Tensor]) -> Sketch:
        return merge_sketches(Sketch.of(each.detach().double() / self.scale) for each in parts)

    def _effective(self, way: Way, name: str, view: View) -> int:
        """Vanished elements whose exact step would have moved the stored weight."""
        judged, course = view.judged.gradients[name], view.course.get(name)
        gradient = self.trace.gradients[name].double() / self.scale
        if self.learning_rate is None:
            step = self.trace.updates[name]
        else:
            step = -self.learning_rate * gradient
        lost = (judged.double().cpu() == 0) & (gradient.cpu() != 0)
        if course is not None:
            lost &= course.cpu() != 0
        return int((lost & would_move(self.weights[name], step, way.weights(judged.dtype))).sum())

    def _unmoved(self, name: str, judged: Trace) -> int | None:
        """Elements that have a gradient, and an update that only exact arithmetic sees."""
        if name not in judged.updates or name not in self.trace.updates:
            return None
        known = self.trace.gradients[name] != 0
        is_live = known & (judged.gradients[name].double() != 0)
        is_lost = (judged.updates[name] == 0) & (self.trace.updates[name] != 0)
        return int((is_live & is_lost).sum())


def _name(path: str, tensor: str) -> str:
    return f"{path}.{tensor}" if path else tensor


def range_of(sketch: Sketch) -> Range:
    """Root mean square and quantiles of the magnitudes of a sketch."""
    binades = sketch.binades()
    if not binades:
        return Range(sketch.rms, None, None, None)
    exponents = sorted(binades)
    below = list(accumulate(binades[exponent] for exponent in exponents))
    low, median, high = (
        exponents[bisect_left(below, share * below[-1])] for share in (0.01, 0.5, 0.99)
    )
    return Range(sketch.rms, low, median, high)
