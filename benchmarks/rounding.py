"""What rounding a tensor costs beside copying it, and beside other packages.

Everything is measured in turn, round by round, in one run: CPU time of the calling thread, lower
quartile over the rounds; an entry is the ratio to the `clone` of the same run. Usage:

    python benchmarks/rounding.py [--elements 1048576] [--rounds 25] [--peers] [--json]

Packages that are not installed are left out and named.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from deephochuli.arithmetic import list_block_formats, round_blocks, round_to
from deephochuli.errors import FormatError
from deephochuli.formats import Rounding, list_formats
from deephochuli.kernels.rounding import plan_for

Call = Callable[[], object]
TARGET = 3.0
PEER_FORMATS = {"fp16": (5, 10), "bf16": (8, 7), "fp8_e4m3fn": (4, 3), "fp8_e5m2": (5, 2)}
TORCH_TYPES = {
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "fp8_e4m3fn": torch.float8_e4m3fn,
    "fp8_e5m2": torch.float8_e5m2,
}


@dataclass(frozen=True)
class Row:
    """One line of the table: time over that of `clone`, and of `copy_`; lower is faster."""

    what: str
    mode: str
    ns: float
    of_clone: float
    of_copy: float


def quartiles(calls: dict[str, Call], rounds: int, repeats: int) -> dict[str, float]:
    """Lower quartile of the CPU time of each call, all timed in turn after one turn to warm up."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            start = time.thread_time()
            for _ in range(repeats):
                call()
            if number:
                times[name].append((time.thread_time() - start) / repeats)
    return {name: statistics.quantiles(taken, n=4)[0] for name, taken in times.items()}


def table(calls: dict[tuple[str, str], Call], x: torch.Tensor, rounds: int) -> list[Row]:
    """Time calls beside `clone` and `copy_` of a tensor."""
    target = torch.empty_like(x)
    named: dict[str, Call] = {"clone": x.clone, "copy": lambda: target.copy_(x)}
    named |= {"|".join(key): call for key, call in calls.items()}
    taken = quartiles(named, rounds, max(1, (1 << 18) // x.numel()))
    clone, copy = taken.pop("clone"), taken.pop("copy")
    return [
        Row(*name.split("|"), seconds / x.numel() * 1e9, seconds / clone, seconds / copy)
        for name, seconds in taken.items()
    ]


def our_calls(x: torch.Tensor) -> dict[tuple[str, str], Call]:
    """Rounding to each format that the type of x holds, in each mode; nearest-even in place too."""
    calls: dict[tuple[str, str], Call] = {}
    dtype = str(x.dtype).removeprefix("torch.")
    for fmt in list_formats():
        try:
            plan_for(fmt, Rounding.UP, None, dtype)
        except FormatError:
            continue
        for mode in Rounding:
            key = 1 if mode is Rounding.STOCHASTIC else None
            calls[fmt.name, mode.value] = lambda fmt=fmt, mode=mode, key=key: round_to(
                x, fmt, rounding=mode, key=key
            )
    target = torch.empty_like(x)
    calls["fp16", "nearest-even, out="] = lambda: round_to(x, "fp16", out=target)
    calls["fp16", "stochastic, out="] = lambda: round_to(
        x, "fp16", rounding="stochastic", key=1, out=target
    )
    return calls


def block_calls(x: torch.Tensor) -> dict[tuple[str, str], Call]:
    """Rounding to each block format, in the modes that have a quick way."""
    rows = x.reshape(-1, 1024)
    calls: dict[tuple[str, str], Call] = {}
    for fmt in list_block_formats():
        for mode in ("nearest-even", "nearest-away", "toward-zero", "stochastic"):
            key = 1 if mode == "stochastic" else None
            calls[fmt.name, mode] = lambda fmt=fmt, mode=mode, key=key: round_blocks(
                rows, fmt, rounding=mode, key=key
            )
    return calls


def peer_calls(x: torch.Tensor) -> tuple[dict[tuple[str, str], Call], list[str]]:
    """The same roundings by other packages, and the names of those that are not installed."""
    calls: dict[tuple[str, str], Call] = {}
    missing: list[str] = []
    for name, dtype in TORCH_TYPES.items():
        calls["torch casts", name] = lambda dtype=dtype: x.to(dtype).to(x.dtype)
    for package, make in (
        ("ml_dtypes", ml_dtypes_calls),
        ("gfloat", gfloat_calls),
        ("qtorch", qtorch_calls),
        ("pychop", pychop_calls),
    ):
        try:
            calls |= make(x)
        except ImportError as error:
            missing.append(f"{package} ({error})")
    return calls, missing


def ml_dtypes_calls(x: torch.Tensor) -> dict[tuple[str, str], Call]:
    """Casts of numpy arrays."""
    types = importlib.import_module("ml_dtypes")
    numpy = importlib.import_module("numpy")
    array = x.numpy()
    kinds = {
        "fp16": numpy.float16,
        "bf16": types.bfloat16,
        "fp8_e4m3fn": types.float8_e4m3fn,
        "fp8_e5m2": types.float8_e5m2,
    }
    return {
        ("numpy, ml_dtypes", name): lambda kind=kind: array.astype(kind).astype(array.dtype)
        for name, kind in kinds.items()
    }


def gfloat_calls(x: torch.Tensor) -> dict[tuple[str, str], Call]:
    """`round_ndarray` on torch tensors."""
    gfloat: Any = importlib.import_module("gfloat")
    formats: Any = importlib.import_module("gfloat.formats")
    infos = {
        "fp16": formats.format_info_binary16,
        "bf16": formats.format_info_bfloat16,
        "fp8_e4m3fn": formats.format_info_ocp_e4m3,
        "fp8_e5m2": formats.format_info_ocp_e5m2,
    }
    return {
        ("gfloat", name): lambda info=info: gfloat.round_ndarray(info, x)
        for name, info in infos.items()
    }


def qtorch_calls(x: torch.Tensor) -> dict[tuple[str, str], Call]:
    """`float_quantize` of QPyTorch, which compiles C++ at first use."""
    quant: Any = importlib.import_module("qtorch.quant")
    calls: dict[tuple[str, str], Call] = {}
    for name, (exponent, stored) in PEER_FORMATS.items():
        for rounding in ("nearest", "stochastic"):
            calls["qtorch", f"{name}, {rounding}"] = lambda e=exponent, m=stored, r=rounding: (
                quant.float_quantize(x, exp=e, man=m, rounding=r)
            )
    return calls


def pychop_calls(x: torch.Tensor) -> dict[tuple[str, str], Call]:
    """`Chop` of pychop on torch tensors."""
    pychop: Any = importlib.import_module("pychop")
    pychop.backend("torch")
    calls: dict[tuple[str, str], Call] = {}
    for name, (exponent, stored) in PEER_FORMATS.items():
        chop = pychop.Chop(exp_bits=exponent, sig_bits=stored, rmode=1)
        calls["pychop", name] = lambda chop=chop: chop(x)
    return calls


def show(title: str, rows: list[Row]) -> None:
    """Print one table."""
    print(f"\n{title}")
    print(f"{'what':22} {'mode or format':26} {'ns/elem':>8} {'x clone':>8} {'x copy_':>8}")
    for row in rows:
        numbers = f"{row.ns:8.3f} {row.of_clone:8.2f} {row.of_copy:8.2f}"
        print(f"{row.what:22} {row.mode:26} {numbers}")


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--elements", type=int, default=1 << 20)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--peers", action="store_true", help="other packages too")
    parser.add_argument("--blocks", action="store_true", help="block formats too")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    x = torch.randn(arguments.elements)
    ours = table(our_calls(x), x, arguments.rounds)
    blocks = table(block_calls(x), x, max(3, arguments.rounds // 5)) if arguments.blocks else []
    calls, missing = peer_calls(x) if arguments.peers else ({}, [])
    peers = table(calls, x, max(3, arguments.rounds // 5)) if calls else []
    if arguments.json:
        print(json.dumps([vars(row) for row in [*ours, *blocks, *peers]]))
        return
    size = f"{arguments.elements * x.element_size() / 2**20:g} MiB of float32, one thread"
    show(f"deephochuli, {size}", ours)
    worst = max(ours, key=lambda row: row.of_clone)
    print(f"worst: {worst.what}, {worst.mode}: {worst.of_clone:.2f} x clone (target {TARGET})")
    for title, rows in (("block formats", blocks), ("other packages", peers)):
        if rows:
            show(f"{title}, {size}", rows)
    for package in missing:
        print(f"not installed: {package}")


if __name__ == "__main__":
    main()
