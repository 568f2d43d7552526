"""Noisy gradient descent: the updates of any optimizer, with random errors of a known law.

Karner, Kazeev and Petersen ("Limitations of neural network training due to numerical instability of
backpropagation", 2024, Definition 2.3) describe gradient descent in floating-point arithmetic as
exact gradient descent whose updates carry random relative errors. Here such errors are added to
what an optimizer step really did to the weights, whatever optimizer it was.
"""

# torch's types for the hooks and the groups of optimizers are partial.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from numbers import Real
from types import TracebackType
from typing import Any, Final, Literal, Self

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from deephochuli.errors import ArithmeticSpecError, check_kind, near_matches

Law = Literal["uniform", "normal", "rademacher"]
On = Literal["bias", "all"] | Callable[[str, Tensor], bool]

SUP_DENSITY: Final[dict[str, float]] = {
    "uniform": 0.5,
    "normal": 1 / math.sqrt(2 * math.pi),
    "rademacher": math.inf,
}
"""Largest value of the density of each law; infinite for a law without a density.

The paper's bound needs the density of the noise to be bounded: uniform on [-1, 1] has 1/2.
"""


def draw(law: Law, shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Independent numbers theta of a law, float64, on the device of the generator.

    Args:
        law: "uniform" on [-1, 1], "normal" with variance 1, "rademacher" (1 or -1, half each).
        shape: Shape of the result.
        generator: Where the random bits come from.

    Example:
        >>> draw("rademacher", torch.Size([3]), torch.Generator().manual_seed(1)).abs().tolist()
        [1.0, 1.0, 1.0]
    """
    where: dict[str, Any] = {
        "generator": generator,
        "device": generator.device,
        "dtype": torch.float64,
    }
    if law == "normal":
        return torch.randn(shape, **where)
    uniform = torch.rand(shape, **where).mul_(2).sub_(1)
    return uniform if law == "uniform" else torch.where(uniform < 0, -1.0, 1.0).double()


def is_bias(name: str) -> bool:
    """Whether a parameter is a bias, by the last part of its name.

    Example:
        >>> [is_bias(name) for name in ("0.bias", "bias_ih_l0", "in_proj_bias", "0.weight")]
        [True, True, True, False]
    """
    last = name.rpartition(".")[2]
    return last.startswith("bias") or last.endswith("bias")


class NoisyDescent:
    """An optimizer whose updates carry random errors; made by `noisy`.

    The optimizer stays the object that it was, so schedulers, gradient scalers and closures work
    as before. Use it as a context, or call `remove` to end the noise.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        chosen: Callable[[Tensor], bool],
        law: Law,
        level: float,
        relative: bool,
        spare_still: bool,
        seed: int,
    ) -> None:
        """Hook into the steps of an optimizer; see `noisy` for the arguments."""
        self.optimizer = optimizer
        self.law: Law = law
        self.level = level
        self.relative = relative
        self.spare_still = spare_still
        self.n_steps = 0
        self._seed = seed
        self._chosen = chosen
        self._generators: dict[torch.device, torch.Generator] = {}
        self._before: list[tuple[Tensor, Tensor]] = []
        self._handles = (
            optimizer.register_step_pre_hook(self._begin),
            optimizer.register_step_post_hook(self._end),
        )

    def remove(self) -> None:
        """End the noise; the optimizer steps as it did before."""
        for handle in self._handles:
            handle.remove()

    def state_dict(self) -> dict[str, Any]:
        """State of the random numbers, so that a resumed training repeats."""
        states = {str(device): each.get_state() for device, each in self._generators.items()}
        return {"n_steps": self.n_steps, "generators": states}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state that `state_dict` gave."""
        self.n_steps = int(state["n_steps"])
        self._generators.clear()  # one from before the first step has none
        for name, each in state["generators"].items():
            self._generator(torch.device(name)).set_state(each)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.remove()

    def _begin(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        chosen = [weight for _, weight in parameters_of(optimizer) if self._chosen(weight)]
        self._before = [(weight, weight.detach().clone()) for weight in chosen]

    @torch.no_grad()
    def _end(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        for weight, before in self._before:
            theta = draw(self.law, weight.shape, self._generator(weight.device))
            weight.copy_(self._moved(weight.double(), before.double(), theta))
        self._before = []
        self.n_steps += 1

    def _moved(self, after: Tensor, before: Tensor, theta: Tensor) -> Tensor:
        """Weights after a step with noise, float64."""
        is_still = after == before  # infinite ones, too, whose difference is no number
        update = (after - before).masked_fill(is_still, 0)
        size = update.abs() if self.relative else torch.ones_like(update)
        moved = after + self.level * size * theta
        is_spared = is_still if self.spare_still or self.relative else torch.zeros_like(is_still)
        return torch.where(is_spared, after, moved)

    def _generator(self, device: torch.device) -> torch.Generator:
        found = self._generators.get(device)
        if found is None:
            found = self._generators[device] = torch.Generator(device).manual_seed(self._seed)
        return found


def noisy(
    optimizer: Optimizer,
    law: Law = "uniform",
    level: float = 2.0**-8,
    *,
    on: On = "bias",
    model: nn.Module | None = None,
    relative: bool = True,
    spare_still: bool = True,
    seed: int = 0,
) -> NoisyDescent:
    """Let the updates of an optimizer carry random errors, from now on.

    A step that would move a weight b by D moves it by D + level |D| theta, with a fresh theta for
    each weight and step. D is what the optimizer really added, so momentum, Adam's scaling, weight
    decay and clipping are all in it. With `relative=False` the error is level theta, as the
    paper's lemma on random biases has it.

    Args:
        optimizer: Any torch optimizer; it is not replaced, its step is followed by hooks.
        law: Of theta: "uniform" on [-1, 1] (as here Definition 2.3 is read), "normal",
            "rademacher".
        level: Size of the errors, such as 2**-8.
        on: Which weights: "bias", "all", or a predicate on name and tensor. Weights that the
            optimizer gets later have noise with "all" only.
        model: Where the names of the parameters come from; not needed with ``on="all"``, or when
            the optimizer was made from ``named_parameters()``.
        relative: Whether errors are proportional to the updates.
        spare_still: Whether a weight that the step did not move gets no error: a dead neuron stays
            as it is. With relative errors it never does.
        seed: Decides the errors. Generators of torch that belong to others are not touched.

    Returns:
        A handle; the noise ends with ``remove()``, or with the ``with`` block that it opens.

    Raises:
        ArithmeticSpecError: The law is unknown, the level is negative or not finite, the names of
            the parameters are not known, no parameter is chosen, or a chosen one is complex.

    Numerics:
        D is formed in float64 from the stored weights. The sum is rounded to the dtype of the
        weight: noise below its last bit is lost there. Equal seeds and steps give equal bits.

    Example:
        >>> bias = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))
        >>> optimizer = torch.optim.SGD([("bias", bias)], lr=0.5)
        >>> bias.grad = torch.tensor([-1.0, 0.0], dtype=torch.float64)
        >>> with noisy(optimizer, "rademacher", 2**-4):
        ...     optimizer.step()
        >>> bias.tolist() in ([0.53125, 0.0], [0.46875, 0.0])
        True

    References:
        Karner, Kazeev, Petersen, "Limitations of neural network training due to numerical
        instability of backpropagation" (2024), Definition 2.3 as the project reads it.
    """
    if law not in SUP_DENSITY:
        raise ArithmeticSpecError(
            f"There is no law of noise {law!r}. {near_matches(law, SUP_DENSITY)}"
        )
    check_kind(level, Real, "a number", ArithmeticSpecError, "Cannot take as a level of noise")
    if not (level >= 0 and math.isfinite(level)):
        raise ArithmeticSpecError(
            f"Noise of level {level!r}: expected a finite number from 0, such as 2**-8."
        )
    chosen = _chooser(optimizer, on, model)
    n_complex = sum(each.is_complex() and chosen(each) for _, each in parameters_of(optimizer))
    if n_complex:
        raise ArithmeticSpecError(
            f"{n_complex} of the chosen parameters are complex, and the laws of noise are those of "
            "real numbers. Choose others with on=, or train torch.view_as_real of them."
        )
    return NoisyDescent(optimizer, chosen, law, level, relative, spare_still, seed)


def parameters_of(optimizer: Optimizer) -> Iterator[tuple[str | None, Tensor]]:
    """The weights of an optimizer, with their names where it knows them."""
    for group in optimizer.param_groups:
        weights: list[Tensor] = group["params"]
        names: list[str] | list[None] = group.get("param_names") or [None] * len(weights)
        yield from zip(names, weights, strict=True)


def _chooser(optimizer: Optimizer, on: On, model: nn.Module | None) -> Callable[[Tensor], bool]:
    """What tells whether a weight of an optimizer gets noise."""
    if not callable(on) and on not in ("bias", "all"):
        raise ArithmeticSpecError(
            f"Noise on {on!r}: expected 'bias', 'all', or a predicate on name and tensor."
        )
    if on == "all":
        return lambda weight: weight.requires_grad
    names = _names(optimizer, model)
    wanted: Callable[[str, Tensor], bool] = (
        on if callable(on) else lambda name, weight: is_bias(name)
    )
    ids = {id(weight) for name, weight in names if wanted(name, weight)}
    if not ids:
        raise ArithmeticSpecError(
            f"None of the {len(names)} parameters of the optimizer is chosen by on={on!r}: "
            f"they are {', '.join(name for name, _ in names[:6])}. Use on='all', or a predicate."
        )
    return lambda weight: id(weight) in ids


def _names(optimizer: Optimizer, model: nn.Module | None) -> list[tuple[str, Tensor]]:
    """Weights of an optimizer by name."""
    known = {id(weight): name for name, weight in model.named_parameters()} if model else {}
    found: list[tuple[str, Tensor]] = []
    for name, weight in parameters_of(optimizer):
        name = known.get(id(weight), name)
        if name is None:
            raise ArithmeticSpecError(
                f"The optimizer does not know the name of a parameter of shape "
                f"{tuple(weight.shape)}, so biases cannot be told from others: pass model=, make "
                "the optimizer from model.named_parameters(), or use on='all'."
            )
        found.append((name, weight))
    return found
