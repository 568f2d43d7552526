"""The parts of benchmarks/gpu.py that time loops over tensors: counting and rounding."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from gpu_work import TRAINED, Budget, Call, Clock, Table

from deephochuli.arithmetic import round_blocks, round_to
from deephochuli.kernels import TensorJob, UpdateJob, backend_for

TYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float8_e4m3fn)
WORDS = {1: torch.int8, 2: torch.int16, 4: torch.int32}
EXPONENTS = {
    torch.float32: 0x7F800000,
    torch.bfloat16: 0x7F80,
    torch.float16: 0x7C00,
    torch.float8_e4m3fn: 0x7F,
}
"""What all infinities and NaNs of a type have set, as a pattern of that type."""


@dataclass(frozen=True)
class Speed:
    """What a device does at most: bytes read per second by a sum, and read and written by a copy.

    Both passes see the same bytes as the loop they are compared with.
    """

    read: float
    copied: float

    def cells(self, n_bytes: int, seconds: float) -> tuple[str, ...]:
        """Speed of a loop that reads so many bytes, alone and as shares."""
        rate = n_bytes / seconds
        return (
            f"{seconds * 1e3:.3f}",
            f"{rate / 1e9:.0f}",
            f"{rate / self.copied:.0%}",
            f"{rate / self.read:.0%}",
        )


def speed_of(x: torch.Tensor, clock: Clock, repeats: int) -> Speed:
    """Time a copy and a sum of the bytes of a tensor, taken as binary32."""
    flat = x.view(-1).view(torch.int8).view(torch.float32)
    n_bytes = flat.numel() * 4
    target = torch.empty_like(flat)
    copied = clock.median(lambda: target.copy_(flat), repeats)
    return Speed(n_bytes / clock.median(flat.sum, repeats), 2 * n_bytes / copied)


def sample(kind: str, dtype: torch.dtype, n_bytes: int, device: torch.device) -> torch.Tensor:
    """Ordinary numbers, the output of a ReLU, or every binade there is; made on the device."""
    n = n_bytes // dtype.itemsize
    if kind == "all binades":
        words = WORDS[dtype.itemsize]
        bounds = torch.iinfo(words)
        bits = torch.randint(bounds.min, bounds.max, (n,), dtype=words, device=device)
        exponent = EXPONENTS[dtype]
        return bits.masked_fill_((bits & exponent) == exponent, 0).view(dtype)
    made = torch.randn(n, device=device, dtype=torch.float16 if dtype.itemsize == 1 else dtype)
    return (made.relu_() if kind == "relu" else made).to(dtype)


def composition(x: torch.Tensor) -> Call:
    """The same statistics by eager torch operations: histogram of 13 leading bits and moments."""

    def run() -> object:
        wide = x.float()
        bits = wide.view(torch.int32)
        sticky = ((bits & 0xFFFFF) != 0).to(torch.int32)
        magnitude = wide.abs()
        total = wide.sum(dtype=torch.float64)
        return (
            torch.bincount((((bits >> 20) & 0xFFF) << 1) | sticky, minlength=8192),
            total,
            wide.square().sum(dtype=torch.float64),
            magnitude.max(),
            torch.where(magnitude > 0, magnitude, torch.inf).min(),
        )

    return run


def views(x: torch.Tensor) -> dict[str, TensorJob]:
    """One run of memory, without channels, and with channels as images and as tokens have them."""
    n_channels = 256 if x.numel() % (256 * 64) == 0 else 4
    planes = x.view(-1, n_channels, math.gcd(x.numel() // n_channels, 1 << 10))
    return {
        "": TensorJob(x),
        ", channels apart": TensorJob(planes, 1),
        ", channels last": TensorJob(x.view(-1, n_channels), 1),
    }


def kernel_part(device: torch.device, quick: bool, budget: Budget) -> Iterator[Table]:
    """Bandwidth of counting, and one call for all parameters of a model."""
    yield from bandwidth(device, quick, budget)
    yield from many_tensors(device, quick, budget)


def bandwidth(device: torch.device, quick: bool, budget: Budget) -> Iterator[Table]:
    """Counting one large tensor into a row, beside a copy, a sum and torch operations."""
    clock, repeats = Clock(device), 3 if quick else 10
    size = 1 << 18 if quick else 1 << 28
    table = Table(
        f"Counting {size >> 20 or 0.25} MiB into a row: `rows().add`",
        ("what", "ms", "GB/s read", "of a copy (bytes both ways)", "of a sum"),
    ).begin()
    yield table
    speed: Speed | None = None
    for dtype in TYPES:
        for kind in ("randn", "relu", "all binades"):
            x = sample(kind, dtype, size, device)
            speed = speed or speed_of(x, clock, repeats)
            jobs = views(x) if kind == "randn" else {"": TensorJob(x)}
            add_rows(table, f"{name_of(dtype)}, {kind}", jobs, speed, clock, repeats)
            if kind == "randn" and dtype in (torch.float32, torch.bfloat16):
                taken = clock.median(composition(x), 3)
                table.add(f"{name_of(dtype)}, {kind}: torch operations", *speed.cells(size, taken))
            if budget.is_spent:
                table.note("out of time: the rest is left out")
                return
    for dtype in (torch.float32, torch.bfloat16):
        x = sample("randn", dtype, 8 * size, device)
        add_rows(table, f"{name_of(dtype)}, randn, 8 times as large", {"": TensorJob(x)},
                 speed_of(x, clock, repeats), clock, repeats)  # fmt: skip
    if speed:
        table.note(
            f"A copy moves {speed.copied / 1e9:.0f} GB/s both ways together, a sum reads "
            f"{speed.read / 1e9:.0f} GB/s."
        )


def add_rows(
    table: Table, name: str, jobs: dict[str, TensorJob], speed: Speed, clock: Clock, repeats: int
) -> None:
    """Time the counting of the same elements in several layouts."""
    for layout, job in jobs.items():
        rows = backend_for(job.tensor.device).rows()
        taken = clock.median(lambda rows=rows, job=job: rows.add(0, job), repeats)
        n_bytes = job.tensor.numel() * job.tensor.element_size()
        table.add(name + layout, *speed.cells(n_bytes, taken))


def many_tensors(device: torch.device, quick: bool, budget: Budget) -> Iterator[Table]:
    """All parameters of GPT-2 in one call, many small tensors, and a small one at a time."""
    if budget.is_spent:
        print("out of time: many tensors in one call are left out", flush=True)
        return
    clock, repeats = Clock(device), 3 if quick else 5
    model = TRAINED["gpt2"](device, quick).model
    tensors = [parameter.detach() for parameter in model.parameters()]
    total = sum(x.numel() for x in tensors)
    table = Table(
        f"All {len(tensors)} parameters of a GPT-2 ({total / 1e6:.1f} M elements) in one call",
        ("call", "wall ms", "device ms", "launches", "copies and fills", "bytes read, GB/s"),
    ).begin()
    yield table
    backend = backend_for(device)
    updates = [UpdateJob(x, x * 1.001, x * 0.5) for x in tensors]
    small = [torch.randn(64, device=device) for _ in range(250)]
    calls: dict[str, tuple[Call, int]] = {
        "summarise": (lambda: backend.summarise([TensorJob(x) for x in tensors]), 4 * total),
        "summarise_updates": (lambda: backend.summarise_updates(updates), 12 * total),
        "summarise, 250 of 64 elements": (
            lambda: backend.summarise([TensorJob(x) for x in small]),
            250 * 256,
        ),
    }
    for name, (call, n_bytes) in calls.items():
        taken = clock.median_wall(call, repeats)
        launches, others, busy = device_work(call, clock)
        table.add(name, f"{taken * 1e3:.2f}", f"{busy * 1e3:.3f}", launches, others,
                  f"{n_bytes / taken / 1e9:.1f}")  # fmt: skip
    rows, x = backend.rows(), small[0]
    taken = clock.median_wall(lambda: [rows.add(0, TensorJob(x)) for _ in range(200)], repeats)
    table.add("rows.add of 64 elements, each", f"{taken / 200 * 1e3:.4f}", "", "", "", "")


def device_work(call: Call, clock: Clock) -> tuple[int, int, float]:
    """Kernels, copies with fills, and busy seconds of a device during one call."""
    from torch.profiler import ProfilerActivity, profile

    if not clock.is_cuda:
        return 0, 0, math.nan
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        call()
        clock.wait()
    events = [e for e in profiler.key_averages() if e.self_device_time_total > 0]
    others = sum(e.count for e in events if e.key.startswith(("Memcpy", "Memset")))
    busy = sum(e.self_device_time_total for e in events) / 1e6
    return sum(e.count for e in events) - others, others, busy


ROUNDED: Sequence[tuple[str, str]] = (
    ("bf16", "nearest-even"),
    ("bf16", "stochastic"),
    ("fp8_e4m3fn", "nearest-even"),
    ("fp8_e4m3fn", "stochastic"),
    ("fp4_e2m1", "nearest-even"),
    ("fp4_e2m1", "stochastic"),
    ("mxfp8_e4m3", "nearest-even"),
    ("mxfp8_e4m3", "stochastic"),
    ("mxfp4", "nearest-even"),
    ("nvfp4", "nearest-even"),
    ("nvfp4", "stochastic"),
)


def rounding_part(device: torch.device, quick: bool, budget: Budget) -> Iterator[Table]:
    """Rounding binary32 numbers to narrow formats, beside a copy."""
    clock, repeats = Clock(device), 3 if quick else 7
    n = 1 << 14 if quick else 1 << 26
    x = torch.randn(n // 1024, 1024, device=device)
    clone = clock.median(x.clone, repeats)
    table = Table(
        f"Rounding {4 * n / 2**20:g} MiB of binary32",
        ("format", "mode", "ms", "times a clone", "GB/s both ways"),
    ).begin()
    yield table
    table.add("clone", "", f"{clone * 1e3:.3f}", "1.00", f"{8 * n / clone / 1e9:.0f}")
    for name, mode in ROUNDED:
        if budget.is_spent:
            table.note("out of time: the rest is left out")
            return
        function = round_blocks if name.startswith(("mx", "nv")) else round_to
        key = 1 if mode == "stochastic" else None
        call = partial(function, x, name, rounding=mode, key=key)
        try:
            taken = clock.median(call, repeats)
        except Exception as error:  # the other formats may do
            table.add(name, mode, f"failed: {type(error).__name__}: {error}"[:200], "", "")
            continue
        speed = f"{8 * n / taken / 1e9:.0f}"
        table.add(name, mode, f"{taken * 1e3:.3f}", f"{taken / clone:.2f}", speed)


def name_of(dtype: torch.dtype) -> str:
    """A type as the tables name it."""
    return str(dtype).removeprefix("torch.")
