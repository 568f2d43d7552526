"""How wrong computed gradients are: each against the gradient in binary64."""

# torch's types for pytrees and parameters are partial.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from deephochuli.arithmetic._arithmetic import Arithmetic
from deephochuli.arithmetic._descent import is_bias
from deephochuli.arithmetic._run_as import run_as
from deephochuli.errors import ArithmeticSpecError

Loss = Callable[[nn.Module, Any], Tensor]
"""Computes the loss of a model on a batch."""


@dataclass(frozen=True, slots=True)
class GradientNoise:
    """Relative errors of the gradients of some parameters.

    Attributes:
        names: Names of the parameters, in the order of the model.
        exact: Their gradients in binary64, each flat, float64.
        computed: Their gradients as computed, likewise.
    """

    names: tuple[str, ...]
    exact: tuple[NDArray[np.float64], ...]
    computed: tuple[NDArray[np.float64], ...]

    def relative(self, name: str | None = None) -> NDArray[np.float64]:
        """|computed - exact| / |exact| where the exact gradient is not zero; of one, or of all.

        Numerics:
            The difference and the ratio are formed in binary64. Infinite where the computed
            gradient is not finite.
        """
        exact, computed = self._joined(name)
        used = exact != 0
        with np.errstate(invalid="ignore", over="ignore"):
            errors = np.abs(computed[used] - exact[used]) / np.abs(exact[used])
        return np.where(np.isnan(errors), np.inf, errors)

    @property
    def level(self) -> float:
        """Median relative error: the noise level that stands for this arithmetic; nan for none."""
        errors = self.relative()
        return float(np.median(errors)) if errors.size else float("nan")

    @property
    def n_lost(self) -> int:
        """Gradients that are not zero, and were computed as zero."""
        exact, computed = self._joined(None)
        return int(((exact != 0) & (computed == 0)).sum())

    @property
    def n_made(self) -> int:
        """Gradients that are zero, and were not computed as zero: a dead neuron that moves."""
        exact, computed = self._joined(None)
        return int(((exact == 0) & (computed != 0)).sum())

    def _joined(self, name: str | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if name is not None:
            index = self.names.index(name)
            return self.exact[index], self.computed[index]
        return np.concatenate(self.exact), np.concatenate(self.computed)


def measured_noise(
    model: nn.Module,
    batch: Any,
    loss: Loss,
    arithmetic: Arithmetic | str | Callable[[nn.Module], AbstractContextManager[Any]],
    *,
    chosen: Callable[[str], bool] = is_bias,
    seed: int = 0,
) -> GradientNoise:
    """Measure the noise that an arithmetic puts on gradients: |g - g_exact| / |g_exact|.

    The noise of a format is not its unit roundoff: where the residual of the loss cancels, the
    relative error of a gradient tends to one. So it is measured.

    Args:
        model: Any module; it is copied, and its own gradients are not touched.
        batch: What `loss` takes besides the model; tensors of floating-point numbers in it are
            converted to float64 for the exact gradient.
        loss: Computes the loss of a model on a batch, ``lambda model, batch: ...``.
        arithmetic: What `run_as` takes, or a function of the model that opens a context in which
            forward and backward are computed, such as
            ``lambda model: perturbed(model, 8, key=1)``.
        chosen: Which parameters, by name; the biases unless told otherwise.
        seed: Of stochastic rounding.

    Raises:
        ArithmeticSpecError: No parameter is chosen, or the model has no gradient.

    Numerics:
        "Exact" is binary64, of the same weights and data, so errors below about 2^-50 times the
        condition of the gradient are not resolved. The computed gradient keeps the dtype of the
        model, which carries the numbers of the arithmetic.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> model = torch.nn.Linear(4, 1)
        >>> batch = torch.ones(8, 4), torch.zeros(8, 1)
        >>> loss = lambda model, batch: (model(batch[0]) - batch[1]).square().mean()
        >>> noise = measured_noise(model, batch, loss, "bf16")
        >>> noise.names, bool(noise.level < 2**-6)
        (('bias',), True)
    """
    names = tuple(name for name, w in model.named_parameters() if w.requires_grad and chosen(name))
    if not names:
        raise ArithmeticSpecError(
            f"No parameter of {type(model).__name__} is chosen, so there is no gradient to "
            "measure. Pass chosen=lambda name: True for all of them."
        )
    wide = copy.deepcopy(model).double()
    exact = gradients_of(wide, tree_map(_widened, batch), loss, names)
    narrow = copy.deepcopy(model)
    opened = arithmetic(narrow) if callable(arithmetic) else run_as(narrow, arithmetic, seed=seed)
    with opened:
        computed = gradients_of(narrow, batch, loss, names)
    return GradientNoise(names, exact, computed)


def gradients_of(
    model: nn.Module, batch: Any, loss: Loss, names: tuple[str, ...]
) -> tuple[NDArray[np.float64], ...]:
    """Gradients of some parameters, flat; zero where the loss does not depend on one."""
    weights = dict(model.named_parameters())
    devices = {weight.device for weight in weights.values() if weight.device.type == "cuda"}
    with torch.random.fork_rng(devices=sorted(devices, key=str)):
        grads = torch.autograd.grad(
            loss(model, batch),
            [weights[name] for name in names],
            allow_unused=True,
            materialize_grads=True,
        )
    return tuple(g.detach().double().cpu().numpy().ravel() for g in grads)


def _widened(x: Any) -> Any:
    return x.double() if isinstance(x, Tensor) and x.is_floating_point() else x
