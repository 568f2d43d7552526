"""What arithmetic torch really uses here: its switches, and what was measured beside them."""

# torch has no public question for the instructions of a processor.
# pyright: reportPrivateUsage=false, reportUnknownMemberType=false
from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import torch

from deephochuli.analysis.doctor import _probes as probes

MIXED: Final = "unreadable: old and new settings are mixed"
ABSENT: Final = "absent"


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing about the arithmetic of this process.

    Attributes:
        topic: What it is about.
        setting: Name of the switch, or what was measured.
        value: How the switch stands, or the measured value.
        meaning: What that does.
        applies: Whether it has an effect on this machine.
    """

    topic: str
    setting: str
    value: str
    meaning: str
    applies: bool = True


# Topic, path below torch (a function is called), meaning, and the device that it concerns.
_FLAGS: Final = (
    ("FP32 products", "get_float32_matmul_precision", "highest, high (TF32) or medium", ""),
    ("FP32 products", "backends.fp32_precision", "for all back ends", ""),
    ("FP32 products", "backends.cuda.matmul.fp32_precision", "matrix products", "cuda"),
    ("FP32 products", "backends.cuda.matmul.allow_tf32", "the same, old style", "cuda"),
    ("FP32 products", "backends.cudnn.fp32_precision", "cuDNN", "cuda"),
    ("FP32 products", "backends.cudnn.conv.fp32_precision", "convolutions", "cuda"),
    ("FP32 products", "backends.cudnn.rnn.fp32_precision", "recurrent layers", "cuda"),
    ("FP32 products", "backends.cudnn.allow_tf32", "the same, old style", "cuda"),
    ("FP32 products", "backends.mkldnn.fp32_precision", "oneDNN", "cpu"),
    ("FP32 products", "backends.mkldnn.matmul.fp32_precision", "matrix products", "cpu"),
    ("FP32 products", "backends.mkldnn.conv.fp32_precision", "convolutions", "cpu"),
    ("FP32 products", "backends.mkldnn.rnn.fp32_precision", "recurrent layers", "cpu"),
    (
        "sums of narrow products",
        "backends.cuda.matmul.allow_fp16_reduced_precision_reduction",
        "parts of FP16 sums may be added in FP16",
        "cuda",
    ),
    (
        "sums of narrow products",
        "backends.cuda.matmul.allow_bf16_reduced_precision_reduction",
        "parts of BF16 sums may be added in BF16",
        "cuda",
    ),
    (
        "sums of narrow products",
        "backends.cuda.matmul.allow_fp16_accumulation",
        "whole FP16 sums in FP16",
        "cuda",
    ),
    (
        "sums of narrow products",
        "backends.cuda.fp16_bf16_reduction_math_sdp_allowed",
        "attention without a fused kernel may sum in its narrow format",
        "cuda",
    ),
    ("repeatability", "are_deterministic_algorithms_enabled", "deterministic algorithms", ""),
    ("repeatability", "backends.cudnn.deterministic", "deterministic convolutions", "cuda"),
    ("repeatability", "backends.cudnn.benchmark", "kernels chosen by their speed", "cuda"),
    ("repeatability", "backends.mkldnn.deterministic", "oneDNN", "cpu"),
    ("back ends", "backends.mkldnn.enabled", "oneDNN", "cpu"),
    ("back ends", "backends.cpu.get_cpu_capability", "vector instructions of torch's loops", "cpu"),
    ("defaults", "get_default_dtype", "dtype of new tensors", ""),
    ("threads", "get_num_threads", "within one operation; the order of sums depends on it", "cpu"),
    ("threads", "get_num_interop_threads", "between operations", "cpu"),
)

# Environment variables that change arithmetic, and what they do.
VARIABLES: Final = {
    "NVIDIA_TF32_OVERRIDE": ("cuda", "0 forbids TF32 in all of CUDA's libraries"),
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": ("cuda", "1 allows TF32 products whatever flags say"),
    "CUBLAS_WORKSPACE_CONFIG": ("cuda", "needed for repeatable products"),
    "CUBLASLT_WORKSPACE_SIZE": ("cuda", "influences which kernel sums a product"),
    "ONEDNN_DEFAULT_FPMATH_MODE": ("cpu", "lets oneDNN round FP32 inputs to a narrower format"),
    "DNNL_DEFAULT_FPMATH_MODE": ("cpu", "lets oneDNN round FP32 inputs to a narrower format"),
    "ONEDNN_MAX_CPU_ISA": ("cpu", "limits the instructions of oneDNN"),
    "DNNL_MAX_CPU_ISA": ("cpu", "limits the instructions of oneDNN"),
    "ATEN_CPU_CAPABILITY": ("cpu", "limits the instructions of torch's loops"),
    "MKL_CBWR": ("cpu", "fixes the order of sums in MKL"),
    "MKL_ENABLE_INSTRUCTIONS": ("cpu", "limits the instructions of MKL"),
    "OMP_NUM_THREADS": ("cpu", "threads; the order of sums depends on it"),
    "MKL_NUM_THREADS": ("cpu", "threads; the order of sums depends on it"),
}
_INSTRUCTIONS: Final = ("avx512_bf16", "avx512_fp16", "amx_bf16", "amx_fp16", "sve", "bf16")


def machine_facts() -> list[Fact]:
    """Read every switch and measure what can be measured; nothing is changed."""
    return [*_flags(), *_autocast(), *_environment(), *_processor(), *_measurements()]


def has_cuda() -> bool:
    """Whether there is a GPU that CUDA settings apply to."""
    return torch.cuda.is_available()


def read_flag(path: str) -> str:
    """Read one switch of torch by its name below ``torch``; a function is called.

    Returns:
        Its value as text, `ABSENT` where this version of torch has no such switch, or `MIXED`
        where torch refuses to tell because settings of the old and the new style contradict.
    """
    value: Any = torch
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that an old style is deprecated is no news here
            for name in path.split("."):
                value = getattr(value, name)
            value = value() if callable(value) else value
    except (AttributeError, AssertionError):
        return ABSENT
    except RuntimeError as error:
        return MIXED if "mix" in str(error) else f"unreadable: {type(error).__name__}"
    return str(value).removeprefix("torch.")


def _flags() -> Iterator[Fact]:
    for topic, path, meaning, device in _FLAGS:
        value = read_flag(path)
        if value != ABSENT:
            yield Fact(topic, f"torch.{path}", value, meaning, device != "cuda" or has_cuda())


def _autocast() -> Iterator[Fact]:
    for device in ("cpu", "cuda"):
        is_on = torch.is_autocast_enabled(device)
        dtype = str(torch.get_autocast_dtype(device)).removeprefix("torch.")
        value = f"{'on' if is_on else 'off'}, {dtype}"
        applies = device == "cpu" or has_cuda()
        yield Fact("autocast", f"torch.autocast({device!r})", value, "state and dtype", applies)


def _environment() -> Iterator[Fact]:
    for name, (device, meaning) in VARIABLES.items():
        if (value := os.environ.get(name)) is not None:
            yield Fact("environment", name, value, meaning, device != "cuda" or has_cuda())


def _processor() -> Iterator[Fact]:
    ask: Callable[[], Any] | None = getattr(torch.cpu, "get_capabilities", None)
    known: dict[str, Any] = {} if ask is None else dict(ask())
    has = [name for name in _INSTRUCTIONS if known.get(name) is True]
    yield Fact(
        "back ends",
        "narrow instructions",
        ", ".join(has) or "none",
        "what oneDNN needs to compute FP32 products in BF16 or FP16",
    )


def _measurements() -> Iterator[Fact]:
    yield from measured_products("cpu")
    if has_cuda():
        yield from measured_products("cuda")
    n_threads = torch.get_num_threads()
    found = probes.flushed(n_threads)
    yield Fact(
        "measured",
        "subnormal numbers on this thread",
        "become zero" if found.here else "survive",
        "half of the smallest normal number, computed",
    )
    yield Fact(
        "measured",
        f"subnormal numbers in {n_threads} threads",
        "survive" if found.share == 0 else f"{found.share:.0%} become zero",
        "the same in a large tensor",
    )


def measured_products(device: str) -> Iterator[Fact]:
    """Measure how products and sums are carried out on a device."""
    ways = {
        "matrix product": probes.by_matrix,
        "linear layer": probes.by_layer,
        "convolution": probes.by_convolution,
    }
    for name, multiply in ways.items():
        p = probes.precision_of(multiply, device)
        value = f"{probes.NAMES.get(p, 'inputs')}, p = {p}"
        yield Fact("measured", f"FP32 {name} on {device}", value, "bits of the inputs that count")
    for dtype in (torch.bfloat16, torch.float16):
        name = str(dtype).removeprefix("torch.")
        for what, measure in (("product", probes.keeps_small_addends), ("sum", probes.sums_wide)):
            value = "wider than its inputs" if measure(dtype, device) else f"in {name}"
            yield Fact("measured", f"{name} {what} on {device}", value, "where sums are kept")
