"""What is being done with a stream of a GPU."""

from __future__ import annotations

import torch


def is_capturing(device: torch.device) -> bool:
    """Whether the current stream of a device records a graph instead of executing."""
    if device.type != "cuda" or not torch.cuda.is_initialized():
        return False
    if device.index in (None, torch.cuda.current_device()):
        return torch.cuda.is_current_stream_capturing()
    with torch.cuda.device(device):
        return torch.cuda.is_current_stream_capturing()
