"""Tensor cores of this machine against the models of them, to the bit, tile by tile.

From the root of the repository, on a machine with a GPU of the Hopper generation:

    python -m benchmarks.tensor_cores                         # 100,000 tiles of each instruction
    python -m benchmarks.tensor_cores --tiles 2000 --only e4m3
    python -m benchmarks.tensor_cores --write docs/tensor-cores-table.md --save differences.npz

A tile is what one instruction makes: 16 x 8 outputs of `mma.sync`, 64 x 8 of `wgmma`, each the sum
of up to 32 products and an initial value. Operands are normal deviates, or such that are hard to
get right: all exponents, sums that cancel, ties, subnormal and large numbers. A second table
compares whole products of torch's libraries with the same models. Where something differs, `--save`
keeps operands and results.
"""

from __future__ import annotations

import argparse
import math
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.instructions import Instruction, instructions, run
from deephochuli.arithmetic import Arithmetic, get_arithmetic, matmul
from deephochuli.arithmetic._plans import plan_of
from deephochuli.formats import (
    BFLOAT16,
    BINARY16,
    BINARY32,
    BINARY64,
    E4M3FN,
    E5M2,
    TF32,
    round_array,
)
from deephochuli.kernels.products import multiply
from tests.reference.products import draws

_SHORT = {E4M3FN: "fp8", E5M2: "fp8-e5m2", BINARY16: "fp16", BFLOAT16: "bf16", TF32: "tf32"}
MOST_KEPT = 20_000
KS = (64, 256, 1024, 4096)


def model_of(it: Instruction) -> Arithmetic:
    """The arithmetic that should explain an instruction."""
    if it.inputs == BINARY64:
        return get_arithmetic("cuda-core-fp64")
    way = "-mma" if it.way == "mma" and it.inputs in (E4M3FN, E5M2) else ""
    out = "-accumulate-fp16" if it.result == BINARY16 else ""
    return get_arithmetic(f"h100-{_SHORT[it.inputs]}{way}{out}")


@dataclass(frozen=True, slots=True)
class Case:
    """Operands of many tiles, and how they were drawn; arrays of binary64."""

    kind: str
    a: np.ndarray
    b: np.ndarray
    c: np.ndarray


def cases(it: Instruction, n_tiles: int, seed: int) -> Iterator[Case]:
    """Every kind of operands, with initial values and without, about as many tiles of each."""
    kinds = [(kind, starts) for kind in draws.KINDS for starts in (True, False)]
    rows = math.ceil(math.sqrt(n_tiles / len(kinds) / it.rows * 8) + 1)
    columns = math.ceil(n_tiles / len(kinds) / rows)

    def draw(number: int) -> Case:
        kind, has_start = kinds[number]
        rng = np.random.default_rng([seed, number])
        shape = rows * it.rows, columns * 8
        # TF32 is read from binary32, of which the unit takes what it has bits for.
        fmt = BINARY32 if it.inputs == TF32 and not has_start else it.inputs
        a, b = draws.matrices(rng, kind, shape[0], it.k, shape[1], fmt)
        c = draws.starts(rng, kind, shape, it.result) if has_start else np.zeros(shape)
        return Case(kind if has_start else f"{kind}, from 0", a, b, c)

    with ThreadPoolExecutor() as pool:
        yield from pool.map(draw, range(len(kinds)))


def emulated(it: Instruction, case: Case) -> torch.Tensor:
    """What the model says, in the dtype of the results."""
    model = model_of(it)
    plan = plan_of(model)
    a, b = case.a, case.b
    if it.inputs == TF32:
        a, b = (round_array(x, TF32, str(model.input_rounding)) for x in (a, b))
    tensors = (torch.from_numpy(x).to(plan.dtype)[None] for x in (a, b, case.c))
    return multiply(plan, *tensors)[0].to(it.result_dtype)


def measured(it: Instruction, case: Case) -> torch.Tensor:
    """What the GPU says."""
    given = [torch.from_numpy(x) for x in (case.a, np.ascontiguousarray(case.b.T), case.c)]
    dtypes = it.dtype, it.dtype, it.result_dtype
    tensors = [x.cuda().to(dtype) for x, dtype in zip(given, dtypes, strict=True)]
    return run(it, *tensors).cpu()


def differing(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """Where two results are other numbers; which NaN, and the sign of zero, count as equal."""
    return ~((ours == theirs) | (ours.isnan() & theirs.isnan()))


def other_zeros(ours: torch.Tensor, theirs: torch.Tensor) -> int:
    """How many zeros have the other sign."""
    return int(((ours == 0) & (theirs == 0) & (ours.signbit() != theirs.signbit())).sum())


def compare(it: Instruction, n_tiles: int, kept: dict[str, np.ndarray]) -> str:
    """One line of the first table."""
    tiles = outputs = wrong = zeros = bad_tiles = 0
    where: list[str] = []
    for case in cases(it, n_tiles, seed=11):
        theirs, ours = measured(it, case), emulated(it, case)
        found = differing(ours, theirs)
        outputs += found.numel()
        tiles += found.numel() // (it.rows * 8)
        zeros += other_zeros(ours, theirs)
        n = int(found.sum())
        if n:
            wrong += n
            bad_tiles += int(_by_tile(found, it).sum())
            where.append(f"{case.kind} {n / found.numel():.2g}")
            _keep(kept, f"{it.name}|{case.kind}", case, found, ours, theirs)
    cells = [f"`{it.name}`", f"`{model_of(it).name}`", f"{tiles:,}", f"{outputs:,}"]
    cells += [f"{wrong:,}", f"{bad_tiles:,}", f"{zeros:,}", "; ".join(where)]
    return f"| {' | '.join(cells)} |"


def _by_tile(found: torch.Tensor, it: Instruction) -> torch.Tensor:
    m, n = found.shape
    return found.reshape(m // it.rows, it.rows, n // 8, 8).any(3).any(1)


def _keep(
    kept: dict[str, np.ndarray],
    name: str,
    case: Case,
    found: torch.Tensor,
    ours: torch.Tensor,
    theirs: torch.Tensor,
) -> None:
    rows, columns = (x[: MOST_KEPT // 10].numpy() for x in found.nonzero(as_tuple=True))
    kept[f"{name}|a"], kept[f"{name}|b"] = case.a[rows].astype("f4"), case.b.T[columns].astype("f4")
    kept[f"{name}|c"] = case.c[rows, columns].astype("f4")
    for label, x in (("model", ours), ("unit", theirs)):
        kept[f"{name}|{label}"] = x.numpy()[rows, columns]


@dataclass(frozen=True, slots=True)
class Library:
    """A product of torch's library on the GPU, and the model that should explain it."""

    name: str
    model: str
    dtype: torch.dtype
    product: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def _mm(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return a @ b


def _with_tf32(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    before = torch.backends.cuda.matmul.fp32_precision
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    try:
        return a @ b
    finally:
        torch.backends.cuda.matmul.fp32_precision = before


def _scaled(is_fast: bool, out: torch.dtype) -> Callable[[torch.Tensor, torch.Tensor], Any]:
    def product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        one = torch.ones((), device=a.device)
        columns = b.t().contiguous().t()
        return torch._scaled_mm(a, columns, one, one, out_dtype=out, use_fast_accum=is_fast)

    return product


def libraries() -> tuple[Library, ...]:
    """What torch offers."""
    e4m3 = torch.float8_e4m3fn
    return (
        Library("FP16", "h100-fp16", torch.float16, _mm),
        Library("BF16", "h100-bf16", torch.bfloat16, _mm),
        Library("TF32", "h100-tf32", torch.float32, _with_tf32),
        Library("TF32 (rounded to nearest)", "tf32>h100-tf32", torch.float32, _with_tf32),
        Library("FP32", "cuda-core-fp32", torch.float32, _mm),
        Library("FP64", "cuda-core-fp64", torch.float64, _mm),
        Library("FP8, fast", "h100-fp8", e4m3, _scaled(True, torch.float32)),
        Library("FP8, fast, BF16 results", "h100-fp8", e4m3, _scaled(True, torch.bfloat16)),
        Library("FP8", "h100-fp8-promoted", e4m3, _scaled(False, torch.float32)),
        Library("FP8, BF16 results", "h100-fp8-promoted", e4m3, _scaled(False, torch.bfloat16)),
    )


def _explained(it: Library, k: int, side: int) -> str:
    """Share of the outputs that are the model's, to the bit, and by how much others differ."""
    generator = torch.Generator().manual_seed(k)
    a = torch.randn(side, k, generator=generator).to(it.dtype)
    b = (torch.randn(k, side, generator=generator) / math.sqrt(k)).to(it.dtype)
    theirs = it.product(a.cuda(), b.cuda()).cpu()
    first, _, name = it.model.rpartition(">")
    model = get_arithmetic(name)
    x, y = ((v if v.dtype == torch.float64 else v.float()) for v in (a, b))
    if first:
        model = replace(model, input_rounding=get_arithmetic(first).input_rounding)
    ours = matmul(x, y, model).to(theirs.dtype)
    same = ours == theirs
    gap = (ours.double() - theirs.double()).abs().max() / theirs.double().abs().max()
    return f"{float(same.float().mean()):.4f}" + ("" if same.all() else f" ({float(gap):.1e})")


def products(side: int = 256) -> Iterator[str]:
    """The second table: whole products, whose cut of K the libraries keep to themselves."""
    yield f"| product, {side} x {side} | model | {' | '.join(f'K = {k}' for k in KS)} |"
    yield "| --- | --- |" + " --: |" * len(KS)
    for it in libraries():
        cells: list[str] = []
        for k in KS:
            try:
                cells.append(_explained(it, k, side))
            except Exception as error:  # a product that this GPU or torch does not have
                cells.append(type(error).__name__)
                traceback.print_exc(limit=2)
        yield f"| {it.name} | `{it.model}` | {' | '.join(cells)} |"


def table(options: argparse.Namespace, kept: dict[str, np.ndarray]) -> Iterator[str]:
    """The first table, line by line."""
    yield (
        "| instruction | model | tiles | outputs | other | tiles with these | "
        "zeros of the other sign | where |"
    )
    yield "| --- | --- | --: | --: | --: | --: | --: | --- |"
    for it in instructions():
        if options.only in it.name:
            start = time.monotonic()
            try:
                yield compare(it, options.tiles, kept)
            except Exception:  # an instruction that this GPU does not have
                traceback.print_exc(limit=4)
                yield f"| `{it.name}` | not here |  |  |  |  |  |  |"
            print(f"  {it.name}: {time.monotonic() - start:.1f} s", flush=True)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tiles", type=int, default=100_000, help="of each instruction, at least")
    parser.add_argument("--only", default="", help="instructions whose name has this in it")
    parser.add_argument("--write", type=Path, help="write the tables to this file")
    parser.add_argument("--save", type=Path, help="keep what differs in this .npz file")
    options = parser.parse_args()
    lines: list[str] = [f"{torch.cuda.get_device_name()}, torch {torch.__version__}", ""]
    kept: dict[str, np.ndarray] = {}
    for part in (table(options, kept), iter([""]), products()):
        for line in part:
            lines.append(line)
            print(line, flush=True)
    if options.write:
        options.write.write_text("\n".join(lines) + "\n", encoding="utf-8")
    if options.save:
        np.savez_compressed(options.save, **kept)


if __name__ == "__main__":
    main()
