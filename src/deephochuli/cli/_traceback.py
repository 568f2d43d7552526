"""Tracebacks of a script, as Python would print them without us.

Three kinds of frames are taken out when an exception ends the script: those that led to it, those
of functions that we have wrapped, and the detour that torch makes where modules have hooks. What a
script prints by itself, and what threads print, is left alone.
"""

# torch has no public name for its tables of hooks; there is none either for what a code holds.
# pyright: reportPrivateUsage=false, reportUnknownMemberType=false, reportUnknownVariableType=false
from __future__ import annotations

import dis
import linecache
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, TracebackType
from typing import Any, Final, cast

PACKAGE: Final = str(Path(__file__).resolve().parents[1])
_IMPORT_SYSTEM: Final = "<frozen importlib"
_MODULE_CALL: Final = "torch.nn.modules.module"


def hide_own_frames(launcher: CodeType, then: Callable[[], None]) -> None:
    """Have the traceback that is about to be printed begin with the script.

    The hook is wrapped now, not before the script ran: it may have set one of its own.

    Args:
        launcher: The function that runs the script.
        then: Called when the traceback has been printed.
    """
    hook = sys.excepthook

    def hook_without_own_frames(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        begin = _below(launcher, trace)
        for each in _chain(error):
            each.__traceback__ = _cleaned(begin if each is error else each.__traceback__)
        hook(kind, error, error.__traceback__)
        then()

    sys.excepthook = hook_without_own_frames


def _below(launcher: CodeType, trace: TracebackType | None) -> TracebackType | None:
    """The part of a traceback that begins in the script."""
    entry = trace
    while entry is not None and entry.tb_frame.f_code is not launcher:
        entry = entry.tb_next
    if entry is None:
        return trace
    entry = entry.tb_next
    while entry is not None and _file_name(entry).startswith((_IMPORT_SYSTEM, PACKAGE)):
        entry = entry.tb_next
    return entry


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An exception and all that are printed with it, each once."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        waiting += [each.__cause__, each.__context__]
        if isinstance(each, BaseExceptionGroup):
            waiting += cast("BaseExceptionGroup[BaseException]", each).exceptions


def _cleaned(trace: TracebackType | None) -> TracebackType | None:
    """A traceback without the frames of this package, and without the detour."""
    entries: list[TracebackType] = []
    while trace is not None:
        if not _file_name(trace).startswith(PACKAGE):
            entries.append(trace)
        trace = trace.tb_next
    cleaned: TracebackType | None = None
    inner: TracebackType | None = None
    for entry in reversed(entries):
        if _is(entry, "inner"):
            inner = entry
            continue
        straight = _straight(entry) if inner is not None and _is(entry, "_call_impl") else None
        if inner is not None and straight is None:
            cleaned = TracebackType(cleaned, inner.tb_frame, inner.tb_lasti, inner.tb_lineno)
        inner = None
        lasti, line = straight or (entry.tb_lasti, entry.tb_lineno)
        cleaned = TracebackType(cleaned, entry.tb_frame, lasti, line)
    return cleaned


def _is(entry: TracebackType, name: str) -> bool:
    """Whether an entry is one of torch's two functions that call a module."""
    module = entry.tb_frame.f_globals.get("__name__")
    return module == _MODULE_CALL and entry.tb_frame.f_code.co_name == name


def _straight(entry: TracebackType) -> tuple[int, int] | None:
    """Where torch would have called a module had we not been there; None if others have hooks."""
    code = entry.tb_frame.f_code
    if _has_other_hooks(entry.tb_frame.f_locals.get("self")):
        return None
    for instruction in dis.get_instructions(code):
        line = instruction.positions.lineno if instruction.positions else None
        if line is not None and instruction.opname.startswith("CALL"):
            text = linecache.getline(code.co_filename, line).strip()
            if text == "return forward_call(*args, **kwargs)":
                return instruction.offset, line
    return None


def _has_other_hooks(module: Any) -> bool:
    """Whether torch would have made its detour without us too."""
    torch_module = sys.modules[_MODULE_CALL]
    tables = (
        "backward_pre_hooks",
        "backward_hooks",
        "forward_hooks",
        "forward_pre_hooks",
    )
    own = (getattr(module, f"_{table}", {}) for table in tables)
    everywhere = (getattr(torch_module, f"_global_{table}", {}) for table in tables)
    return any(own) or any(
        not getattr(hook, "__module__", "").startswith("deephochuli.")
        for table in everywhere
        for hook in table.values()
    )


def _file_name(entry: TracebackType) -> str:
    return entry.tb_frame.f_code.co_filename
