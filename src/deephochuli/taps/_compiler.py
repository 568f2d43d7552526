"""Whether torch is compiling, and having it leave alone what it must not compile."""

# The compiler's hold on Python frames has no public interface in torch.
# pyright: reportPrivateUsage=false, reportUnknownMemberType=false
from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from types import CodeType
from typing import Any

import torch
from torch._C._dynamo.eval_frame import (
    _FrameAction,
    _FrameExecStrategy,
    get_eval_frame_callback,
    set_code_exec_strategy,
)


def is_compiler_on() -> bool:
    """Say whether torch compiles the functions that are called from here.

    It does so beside the graph as well: in what a graph break leaves to Python, and in the calls of
    a module that it does not trace itself, such as `nn.Sequential` compiled in place.
    """
    return get_eval_frame_callback() not in (None, False)


def is_exporting() -> bool:
    """Say whether torch exports the model, whose graph must not hold our operator.

    In whatever torch 2.11 compiles, `torch.compiler.is_exporting()` is True; the flag it should
    tell of is right there as well.
    """
    return torch.compiler._is_exporting_flag


def call_uncompiled(function: Any, *args: object) -> None:
    """Call a function of ours that torch must not compile."""
    torch.compiler.disable(function)(*args)  # pyright: ignore[reportArgumentType]


def never_compile_alone(code: CodeType) -> None:
    """Have torch trace a function where it is called in a graph, and otherwise leave it alone."""
    strategy = _FrameExecStrategy(_FrameAction.SKIP, _FrameAction.DEFAULT)
    set_code_exec_strategy(code, strategy)


for _function in (is_compiler_on, call_uncompiled):
    never_compile_alone(_function.__code__)


def compile_anew() -> None:
    """Have torch compile again what it has compiled, with the hooks that there are now.

    Where it has compiled nothing it is left alone: with a GPU a reset imports its whole compiler,
    which takes seconds.
    """
    frames = sys.modules.get("torch._dynamo.convert_frame")
    if frames is not None and (frames.input_codes.seen or frames.output_codes.seen):
        torch.compiler.reset()


def allow_global_hooks() -> Callable[[], None]:
    """Silence torch's warning that a compiled module calls global hooks once more; return the undo.

    Ours take no notice of that call.
    """
    warnings.filterwarnings(
        "ignore", message=r"Using `torch.compile\(module\)` when there are glob"
    )
    added = warnings.filters[0]

    def undo() -> None:
        # Leaving a `with warnings.catch_warnings()` may have taken the filter away before us.
        if added in warnings.filters:
            warnings.filters.remove(added)  # pyright: ignore[reportAttributeAccessIssue]

    return undo
