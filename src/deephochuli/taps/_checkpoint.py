"""Activation checkpointing: the same forward run a second time, inside the backward pass."""

# The graph task and CheckpointFunction have no public interface in torch.
# pyright: reportPrivateUsage=false, reportUnknownMemberType=false
from __future__ import annotations

import sys
from types import CodeType, FrameType
from typing import Final

import torch
from torch.utils.checkpoint import CheckpointFunction

_FORWARD: Final[CodeType] = CheckpointFunction.forward.__code__
_BACKWARD: Final[CodeType] = CheckpointFunction.backward.__code__


def in_backward() -> bool:
    """Say whether autograd is running, so that a module called now is being recomputed."""
    return torch._C._current_graph_task_id() != -1


def region_being_run() -> object | None:
    """Return what stands for the reentrant checkpoint around the caller on its first run."""
    return _context(_FORWARD)


def region_being_recomputed() -> object | None:
    """Return what stands for the reentrant checkpoint around the caller on its second run.

    It is the same object as on the first run: the node in autograd's graph.
    """
    return _context(_BACKWARD)


def _context(code: CodeType) -> object | None:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code is code:
            return frame.f_locals["ctx"]
        frame = frame.f_back
    return None
