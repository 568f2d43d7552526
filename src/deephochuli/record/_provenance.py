"""Where a run comes from: whatever decides its arithmetic and its repeatability."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from pydantic import JsonValue
from torch import nn
from torch.optim import Optimizer

from deephochuli._version import VERSION
from deephochuli.store import Manifest, ModelSummary, OptimizerSummary

Flag = bool | int | float | str | None


def describe_run(
    model: nn.Module, optimizers: Sequence[Optimizer], *, schedule: str, selection: str
) -> Manifest:
    """Collect the provenance of a run that is about to be recorded; reads, changes nothing."""
    first = next((p for p in model.parameters()), None)
    return Manifest(
        versions={
            "deephochuli": VERSION,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        platform=f"{platform.system()} {platform.machine()}",
        device=str(first.device) if first is not None else "cpu",
        n_threads=torch.get_num_threads(),
        flags=arithmetic_flags(),
        dtypes={name: str(p.dtype).removeprefix("torch.") for name, p in model.named_parameters()},
        seed=torch.initial_seed(),
        command=[Path(word).name for word in sys.argv[:1]] + sys.argv[1:],
        model=ModelSummary(
            class_name=type(model).__name__,
            n_parameters=sum(p.numel() for p in model.parameters()),
            n_modules=sum(1 for _ in model.modules()),
        ),
        optimizer=_describe_optimizer(optimizers[0]) if optimizers else None,
        schedule=schedule,
        selection=selection,
    )


def arithmetic_flags() -> dict[str, Flag]:
    """Switches of torch that change results, as they stand now; None where torch refuses to tell.

    It does so when TF32 has been set in the old and in the new style, which is no reason to record
    nothing.
    """
    return {name: _read(flag) for name, flag in _FLAGS.items()}


def _read(flag: Callable[[], Flag]) -> Flag:
    try:
        return flag()
    except (AttributeError, RuntimeError):
        return None


def is_flushing_subnormals() -> bool:
    """Whether arithmetic on this thread turns subnormal results into zero, found by doing some."""
    tiny = torch.tensor([2.0**-126], dtype=torch.float32, device="cpu")
    return bool((tiny * 0.5).item() == 0.0)


_FLAGS: Final[dict[str, Callable[[], Flag]]] = {
    "tf32_matmul": lambda: torch.backends.cuda.matmul.allow_tf32,
    "tf32_cudnn": lambda: torch.backends.cudnn.allow_tf32,
    "float32_matmul_precision": torch.get_float32_matmul_precision,
    "fp32_precision_matmul": lambda: torch.backends.cuda.matmul.fp32_precision,
    "fp32_precision_onednn": lambda: torch.backends.mkldnn.fp32_precision,
    "fp16_reduced_precision_reduction": lambda: (
        torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction
    ),
    "bf16_reduced_precision_reduction": lambda: (
        torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction
    ),
    "flush_subnormals": is_flushing_subnormals,
    "deterministic_algorithms": torch.are_deterministic_algorithms_enabled,
    "cudnn_benchmark": lambda: torch.backends.cudnn.benchmark,
    "mkldnn": torch.backends.mkldnn.is_available,
    "autocast_cpu": lambda: torch.is_autocast_enabled("cpu"),
    "default_dtype": lambda: str(torch.get_default_dtype()).removeprefix("torch."),
}


def _describe_optimizer(optimizer: Optimizer) -> OptimizerSummary:
    groups: list[dict[str, JsonValue]] = [
        {
            name: value if isinstance(value, bool | int | float | str | None) else str(value)
            for name, value in group.items()
            if name != "params"
        }
        for group in optimizer.param_groups
    ]
    return OptimizerSummary(class_name=type(optimizer).__name__, groups=groups)
