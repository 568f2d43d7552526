"""A standing alarm: rounding errors of weights and outputs, followed while a model is trained."""

# Hooks and optimizers of torch have partial types, and modes no public interface.
# pyright: reportPrivateUsage=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

import math
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.utils._python_dispatch import _disable_current_modes

from deephochuli.analysis.rounding_bias._errors import errors_of, overshoot_of
from deephochuli.analysis.rounding_bias._evidence import Evidence, Floats
from deephochuli.analysis.rounding_bias._findings import find
from deephochuli.analysis.rounding_bias._outputs import LAYERS, exact_output
from deephochuli.analysis.rounding_bias._result import Bias, BiasRow, Direction
from deephochuli.analysis.rounding_bias._shadow_step import shadow_step
from deephochuli.analysis.rounding_bias._summary import summary_of
from deephochuli.errors import CompareError, FormatError, describe, say
from deephochuli.formats import Format, format_of_dtype, get_format

DIRECTIONS: dict[str, tuple[Direction, ...]] = {
    "w": ("up", "outward", "drift"),
    "z": ("up", "outward"),
}

MOST_MARGIN = 0.5
"""An error that goes farther beyond a neighbour than half a gap is not one of this rounding."""


@dataclass(slots=True)
class _Track:
    """One tensor that is followed."""

    layer: str
    quantity: str
    format: Format
    index: Tensor
    evidence: dict[Direction, Evidence]
    drift: Floats
    alarms: dict[Direction, int] = field(default_factory=dict[Direction, int])
    pushed: dict[Direction, float] = field(default_factory=dict[Direction, float])
    moved: float = 0.0
    margin: float = 0.0


class RoundingBias:
    """Follows rounding errors during a training, and gives an alarm when they take one side.

    Use it as a context around the training loop. The training is the same to the bit as without.

        with RoundingBias(model, optimizer, every=10) as bias:
            train()
        print(bias.result())

    Every observed step of the optimizer is computed again in binary64 from the same weights,
    gradients and states; the difference is the rounding error of this step.

    Numerics:
        See `Evidence`: an alarm needs 20 observed steps or so, and in a run in which no rounding
        has a bias there is any alarm at all with probability at most `alpha` (Bonferroni over
        tensors and directions), whenever one looks.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        every: int = 1,
        alpha: float = 0.05,
        outputs: bool = False,
        format: Format | str | None = None,
        n_elements: int = 4096,
        seed: int = 0,
    ) -> None:
        """Follow the parameters of a model.

        Args:
            model: The model that is trained.
            optimizer: Its optimizer.
            every: Look at each so many-th step.
            alpha: Probability of any false alarm during the whole run.
            outputs: Whether to follow the outputs of linear layers and convolutions too; computes
                those of the first sample again in binary64.
            format: What weights and outputs are kept in, where that is not their dtype: inside
                `run_as`.
            n_elements: Elements of each tensor that are followed, drawn at random.
            seed: Of that draw.

        Raises:
            CompareError: An argument is out of range, or the optimizer holds no parameter of the
                model.
            FormatError: The format is unknown.
        """
        if every < 1 or n_elements < 1 or not 0 < alpha < 1:
            raise CompareError(
                f"RoundingBias(every={every!r}, n_elements={n_elements!r}, alpha={alpha!r}): "
                "expected 1 or more, 1 or more, and a probability in (0, 1)."
            )
        self._model, self._optimizer = model, optimizer
        self._every, self._alpha = every, alpha
        self._format = None if format is None else get_format(format)
        self._n_elements = n_elements
        self._dice = torch.Generator().manual_seed(seed)
        self._unseen: dict[str, str] = {}
        self._weights = self._weight_tracks()
        self._outputs = self._output_tracks() if outputs else {}
        self._layers: dict[nn.Module, str] = {}
        self._exact: list[Tensor | None] = []
        self._before: list[Tensor] = []
        self._n_steps = 0
        self._is_off = False
        self._handles: list[Any] = []

    def _weight_tracks(self) -> dict[str, tuple[nn.Parameter, _Track]]:
        held = {id(p) for group in self._optimizer.param_groups for p in group["params"]}
        own = {name: p for name, p in self._model.named_parameters() if id(p) in held}
        if not own:
            raise CompareError(
                f"The optimizer holds no parameter of {type(self._model).__name__}: give the "
                "optimizer that trains this model."
            )
        found: dict[str, tuple[nn.Parameter, _Track]] = {}
        for name, parameter in own.items():
            track = self._track(name, "w", parameter)
            if track is not None:
                found[name] = (parameter, track)
        return found

    def _output_tracks(self) -> dict[str, _Track | None]:
        """Layers whose outputs are followed; the sample is drawn when the first output is there."""
        return {
            path: None for path, module in self._model.named_modules() if isinstance(module, LAYERS)
        }

    def _track(self, name: str, quantity: str, tensor: Tensor) -> _Track | None:
        try:
            fmt = self._format or format_of_dtype(str(tensor.dtype))
        except FormatError:
            self._unseen[name] = f"its dtype {tensor.dtype} holds no floating-point numbers"
            return None
        if fmt.precision >= 53:
            self._unseen[name] = f"{fmt.name} has no wider format to be compared with"
            return None
        index = torch.randperm(tensor.numel(), generator=self._dice, device="cpu")[
            : self._n_elements
        ]
        directions = DIRECTIONS[quantity]
        evidence: dict[Direction, Evidence] = {each: Evidence() for each in directions}
        drift = np.zeros(len(index))
        return _Track(name, quantity, fmt, index, evidence, drift)

    @property
    def n_wagers(self) -> int:
        """Tensors times directions among which `alpha` is shared."""
        weights = len(self._weights) * len(DIRECTIONS["w"])
        return weights + len(self._outputs) * len(DIRECTIONS["z"])

    def __enter__(self) -> Self:
        """Begin to follow."""
        for path, module in self._model.named_modules():
            self._layers.setdefault(module, path)
        self._handles = [
            register_optimizer_step_pre_hook(self._before_step),
            register_optimizer_step_post_hook(self._after_step),
        ]
        if self._outputs:
            self._handles.append(register_module_forward_hook(self._after_layer))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Follow no more."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    @property
    def _is_watched(self) -> bool:
        return not self._is_off and self._n_steps % self._every == 0

    def _fail(self, error: Exception) -> None:
        """Whatever fails while looking must not reach the training."""
        self._is_off = True
        say(f"Rounding bias is not followed any more, the training goes on: {describe(error)}")

    def _before_step(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        if optimizer is not self._optimizer or not self._is_watched:
            return
        try:
            with torch.no_grad(), _disable_current_modes():
                parameters = [parameter for parameter, _ in self._weights.values()]
                self._before = [p.detach().double().cpu() for p in parameters]
                with torch.enable_grad():
                    self._exact = shadow_step(optimizer, parameters)
        except Exception as error:
            self._fail(error)

    def _after_step(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        if optimizer is not self._optimizer:
            return
        try:
            if self._is_watched and self._exact:
                with torch.no_grad(), _disable_current_modes():
                    self._compare_weights()
        except Exception as error:
            self._fail(error)
        self._exact = []
        self._n_steps += 1

    def _compare_weights(self) -> None:
        pairs = zip(self._weights.values(), self._exact, self._before, strict=True)
        for (parameter, track), exact, before in pairs:
            if exact is not None:
                after = parameter.detach().double().cpu()
                picked = [each.flatten()[track.index] for each in (exact.cpu(), after, before)]
                self._weigh(track, *picked)

    def _after_layer(self, module: nn.Module, args: Any, output: Any) -> None:
        path = self._layers.get(module)
        if path not in self._outputs or not self._is_watched or not module.training:
            return
        try:
            with torch.no_grad(), _disable_current_modes():
                self._compare_output(path, module, args, output)
        except Exception as error:
            self._fail(error)

    def _compare_output(self, path: str, module: nn.Module, args: Any, output: Tensor) -> None:
        exact, magnitude = exact_output(module, args[0])
        made = output.detach()[:1].double().cpu().flatten()
        track = self._outputs[path] or self._track(path, "z", output.detach()[:1])
        self._outputs[path] = track
        if track is not None and exact.numel() > int(track.index.max()):
            picked = [each.cpu().flatten()[track.index] for each in (exact, made, magnitude)]
            self._weigh(track, *picked)

    def _weigh(self, track: _Track, exact: Tensor, rounded: Tensor, largest: Tensor) -> None:
        """Take in one step of one tensor."""
        found = errors_of(exact, rounded, largest, track.format, track.margin)
        overshoot = overshoot_of(exact, rounded, largest, track.format)
        track.margin = min(MOST_MARGIN, max(track.margin, overshoot))
        directions: dict[Direction, Floats] = {
            "up": np.ones_like(found.sign),
            "outward": found.sign,
            "drift": np.sign(track.drift),
        }
        limit = math.log(self.n_wagers / self._alpha)
        errors = (rounded - exact).numpy()
        track.moved += float((exact - largest).abs().sum()) if track.quantity == "w" else 0.0
        for name, evidence in track.evidence.items():
            along = directions[name]
            now = evidence.add(*found.along(along))
            if now >= limit:
                track.alarms.setdefault(name, self._n_steps)
            pushed = float(np.nansum(errors * along))
            track.pushed[name] = track.pushed.get(name, 0.0) + pushed
        track.drift += found.errors

    def result(self, confidence: float = 0.95) -> Bias:
        """What has been seen so far.

        Args:
            confidence: Of the intervals of mean errors, each for itself.
        """
        tracks = [track for _, track in self._weights.values()]
        tracks += [track for track in self._outputs.values() if track is not None]
        rows = [
            _row(track, direction, confidence)
            for track in tracks
            for direction, evidence in track.evidence.items()
            if len(evidence.means) > 1
        ]
        rows.sort(key=lambda row: (-row.evidence, row.layer, row.direction))
        return Bias(
            model=type(self._model).__name__,
            alpha=self._alpha,
            n_wagers=self.n_wagers,
            rows=tuple(rows),
            unseen=tuple(self._unseen.items()),
            findings=find(rows, self._alpha),
        )


def _row(track: _Track, direction: Direction, confidence: float) -> BiasRow:
    evidence = track.evidence[direction]
    mean, p_value = summary_of(np.array(evidence.means), confidence)
    part = track.pushed[direction] / track.moved if track.moved else None
    return BiasRow(
        layer=track.layer,
        quantity=track.quantity,
        direction=direction,
        format=track.format.name,
        n_steps=len(evidence.means),
        n_elements=len(track.index),
        mean=mean,
        p_value=p_value,
        evidence=evidence.peak / math.log(10),
        alarm=track.alarms.get(direction),
        part=part,
    )
