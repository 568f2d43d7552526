"""ReLU'(0) as a setting: a block in which the backward takes another slope at every kink."""

# Modules and how to keep compiled code from being one opaque operator have partial types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import get_args

import torch
from torch import nn

from deephochuli.analysis.kink._mode import KinkMode
from deephochuli.analysis.kink._pools import Choice
from deephochuli.arithmetic._run_as import is_under
from deephochuli.errors import CompareError, near_matches


@contextmanager
def kink_at(
    model: nn.Module,
    alpha: float | None,
    scope: Mapping[str, float | None] | None = None,
    *,
    pool: Choice = "first",
) -> Generator[KinkMode]:
    """Let the backward take another slope where the input of an activation lies exactly at a kink.

    Keep forward and backward of `model` inside the block. The model, its code and its forward stay
    as they are, and so does the gradient wherever the input is not exactly at the kink.

    Args:
        model: Any module.
        alpha: ReLU'(0), in [0, 1]. Where both sides have a slope (LeakyReLU, PReLU) it is the share
            of the steep one: flat + alpha (steep - flat). None for torch's own choice, which is
            0 for all activations and 1 for ``clamp``.
        scope: Other choices for some layers: patterns of module paths, as in `run_as`.
        pool: Which of several equally large elements of a pooling window is given the gradient:
            "first" (as torch does), "last", or "share" (all of them, in equal parts).

    Yields:
        The mode, whose `plan` may be changed between two backwards of one graph.

    Raises:
        CompareError: `alpha` is not in [0, 1]; a pattern names no layer; a graph is worked
            backwards again after a later forward.

    Numerics:
        The gradient at a kink is multiplied by the slope and rounded once in its dtype; everything
        else is what torch computes, to the bit. Kinks of ``nn.ReLU``, ``relu``, ``relu_``,
        LeakyReLU, PReLU, ReLU6, ``hardtanh``, ``clamp`` and ``clamp_min`` with numbers, and
        ``threshold`` where it is continuous. Ties of max pooling in 1 to 3 dimensions, not of
        adaptive pooling; ``maximum``, ``abs`` and RReLU keep torch's choice.

    Example:
        >>> layer, x = nn.ReLU(), torch.zeros(1, requires_grad=True)
        >>> with kink_at(layer, 0.5):
        ...     layer(x).backward()
        >>> x.grad
        tensor([0.5000])
    """
    if pool not in get_args(Choice):
        raise CompareError(f"Unknown pool={pool!r}. {near_matches(pool, get_args(Choice))}")
    mode = KinkMode(model, plan_of(model, alpha, scope or {}), pool)
    mode.places.follow()
    try:
        with torch.compiler.set_stance("force_eager"), mode:
            yield mode
    finally:
        mode.places.forget()


def plan_of(
    model: nn.Module, alpha: float | None, scope: Mapping[str, float | None]
) -> dict[str, float | None]:
    """The choice for every layer, by its path; later patterns win.

    Raises:
        CompareError: A choice is not in [0, 1], or a pattern names no layer.
    """
    for choice in (alpha, *scope.values()):
        if choice is not None and not 0 <= choice <= 1:
            raise CompareError(
                f"ReLU'(0) = {choice!r} is no slope between those on both sides of a kink: "
                "expected a number from 0 (the flat side) to 1 (the steep side), or None."
            )
    paths = [path for path, _ in model.named_modules()]
    plan = dict.fromkeys(paths, alpha)
    for pattern, choice in scope.items():
        named = [path for path in paths if is_under(path, pattern)]
        if not named:
            raise CompareError(
                f"scope={{{pattern!r}: ...}} names no layer of {type(model).__name__}. "
                f"{near_matches(pattern, filter(None, paths))}"
            )
        plan |= dict.fromkeys(named, choice)
    return plan
