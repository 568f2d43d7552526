"""Run a model as if in another arithmetic: forward, backward and optimizer step."""

# How to keep recurrent layers and compiled code from being one opaque operator is not public.
# pyright: reportPrivateUsage=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import fnmatch
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from deephochuli.arithmetic._arithmetic import Arithmetic
from deephochuli.arithmetic._emulation import Emulation
from deephochuli.arithmetic._names import get_arithmetic
from deephochuli.arithmetic._storage import Storage
from deephochuli.errors import ArithmeticSpecError, check_kind, near_matches

Scope = Mapping[str, "Arithmetic | str | None"]


@contextmanager
def run_as(
    model: nn.Module,
    arithmetic: Arithmetic | str | None,
    scope: Scope | None = None,
    *,
    seed: int = 0,
) -> Generator[nn.Module]:
    """Compute whatever `model` computes inside the block as `arithmetic` would.

    Forward, backward and the steps of any optimizer that holds the model's parameters are emulated;
    keep all of them inside the block. What happens outside the model (the loss, the data) is left
    alone. The model's tensors keep their dtype, which carries the numbers of the emulated formats;
    its hooks, its code and its parameters stay as they are.

    Args:
        model: Any module, on any device. Under autocast its operators take autocast's dtypes as
            carriers.
        arithmetic: What to compute in: a value, or a name of `list_arithmetics`. None leaves alone
            all layers that `scope` does not name.
        scope: Other arithmetics for some layers: patterns of module paths (``"blocks.*.attn"``, as
            `fnmatch` reads them) to an arithmetic, a name, or None for a layer that is left alone.
            A pattern holds for what lies below the module it names, too; later patterns win.
        seed: Where the random bits of stochastic rounding come from. No global generator is
            touched.

    Yields:
        The model.

    Raises:
        ArithmeticSpecError: The arithmetic is unknown, or a pattern names no layer.
        FormatError: A tensor cannot carry the numbers of a format, such as FP16 in bfloat16.

    Numerics:
        Operands of products are rounded to the arithmetic's `inputs`, their sums formed by `sums`
        and rounded to `output`; a convolution's backward products are emulated like its forward.
        What other operators compute (normalisation, softmax, activation functions) is computed in
        the carrier's dtype, as hardware does in binary32, and rounded to `activations`; statistics
        that a normalisation keeps are not rounded. In the backward results are rounded to
        `gradients`. Attention is computed as two products and a softmax, not by a fused kernel,
        and recurrent layers one product a step. Products that are not emulated (complex and sparse
        ones, Fourier transforms, solvers) are torch's, and said once. In an optimizer step every
        operator's result is rounded to `optimizer`. What comes in from outside, the batch and the
        gradient of the loss, is rounded where it enters a product, and not before.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> _ = torch.nn.init.constant_(model.weight, 1 + 2**-9)
        >>> with run_as(model, "bf16"):
        ...     model(torch.ones(1, 2)).item()
        2.0
    """
    check_kind(model, nn.Module, "a torch.nn.Module", ArithmeticSpecError, "Cannot run")
    plan = _plan(model, arithmetic, scope or {})
    emulation = Emulation(model, plan, Storage(seed))
    with ExitStack() as entered:
        entered.enter_context(_opened_up(model))
        _follow_steps(entered, model, emulation)
        emulation.notice_weights()
        emulation.places.follow()
        entered.callback(emulation.places.forget)
        entered.enter_context(emulation)
        yield model


def _plan(
    model: nn.Module, arithmetic: Arithmetic | str | None, scope: Scope
) -> dict[str, Arithmetic | None]:
    """The arithmetic of every layer, by its path."""
    root = None if arithmetic is None else get_arithmetic(arithmetic)
    first: dict[nn.Module, str] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        first.setdefault(module, path)  # of a shared layer any name will do, and one is its own
    paths = {path: first[m] for path, m in model.named_modules(remove_duplicate=False)}
    plan: dict[str, Arithmetic | None] = dict.fromkeys(first.values(), root)
    for pattern, choice in scope.items():
        named = [own for path, own in paths.items() if is_under(path, pattern)]
        if not named:
            raise ArithmeticSpecError(
                f"scope={{{pattern!r}: ...}} names no layer of {type(model).__name__}. "
                f"{near_matches(pattern, filter(None, paths))}"
            )
        plan |= dict.fromkeys(named, None if choice is None else get_arithmetic(choice))
    return plan


def is_under(path: str, pattern: str) -> bool:
    """Whether a module is one that a pattern names, or lies below one.

    Example:
        >>> is_under("blocks.0.attn.out", "blocks.*.attn"), is_under("head", "blocks.*")
        (True, False)
    """
    parts = path.split(".")
    heads = (".".join(parts[:length]) for length in range(1, len(parts) + 1))
    return any(fnmatch.fnmatchcase(head, pattern) for head in heads)


def _follow_steps(entered: ExitStack, model: nn.Module, emulation: Emulation) -> None:
    """Tell the emulation when an optimizer that holds parameters of the model takes its step."""

    def holds_some(optimizer: torch.optim.Optimizer) -> bool:
        own = set(map(id, model.parameters()))
        return any(id(each) in own for group in optimizer.param_groups for each in group["params"])

    def begin(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        if holds_some(optimizer):
            emulation.stepping += 1

    def end(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        if holds_some(optimizer):
            emulation.stepping -= 1
            emulation.finish_step(optimizer)

    for handle in (register_optimizer_step_pre_hook(begin), register_optimizer_step_post_hook(end)):
        entered.callback(handle.remove)


@contextmanager
def _opened_up(model: nn.Module) -> Generator[None]:
    """Let torch take apart what it would otherwise compute in one piece."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    stance = torch.compiler.set_stance("force_eager")
    try:
        with sdpa_kernel(SDPBackend.MATH), stance, _recurrent_layers_opened(model):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


@contextmanager
def _recurrent_layers_opened(model: nn.Module) -> Generator[None]:
    """Keep recurrent layers, and them alone, from the kernels that compute all steps at once."""
    libraries: tuple[Any, ...] = (torch.backends.mkldnn, torch.backends.cudnn)
    kept: list[list[bool]] = []

    def enter(module: nn.Module, args: Any) -> None:
        kept.append([library.enabled for library in libraries])
        _enable([False, False])

    def leave(module: nn.Module, args: Any, output: Any) -> None:
        _enable(kept.pop())

    layers = [module for module in model.modules() if isinstance(module, nn.RNNBase)]
    handles = [module.register_forward_pre_hook(enter) for module in layers]
    handles += [module.register_forward_hook(leave, always_call=True) for module in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        if kept:
            _enable(kept[0])


def _enable(flags: list[bool]) -> None:
    mkldnn, cudnn = flags
    torch._C._set_mkldnn_enabled(mkldnn)
    torch._C._set_cudnn_enabled(cudnn)
