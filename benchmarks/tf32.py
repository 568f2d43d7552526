"""How much larger errors become where TF32 takes the place of FP32, by layer, depth and K.

From the root of the repository:

    python -m benchmarks.tf32 [--write docs/tf32-table.md]
    python -m benchmarks.tf32 --device cuda [--write FILE] [--save products.npz]

Ratios of the errors of an emulated TF32 execution to those of torch's FP32 on this machine, both
against binary64, own and total. The second table asks the same of single products of growing K, in
which the FP32 sum is torch's, or one FMA after the other. With `--device cuda` both executions are
those of the GPU, the emulated ones stand beside them, and two further tables say how the libraries
round operands and in which order they add; `--save` keeps operands and results of these products.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from benchmarks import tf32_gpu
from benchmarks.tf32_networks import NETWORKS, loss, products_in, ratios
from deephochuli.analysis.compare import Comparison, compare, error_of
from deephochuli.arithmetic import get_arithmetic, matmul, round_to

KS = (64, 144, 288, 576, 1152, 2304, 4608)
ROWS, COLUMNS = 256, 64


def main() -> None:
    """Print the tables line by line, and write them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--write", type=Path, help="write the tables to this file")
    parser.add_argument("--save", type=Path, help="keep the products of a GPU in this .npz file")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda needs a GPU, and torch sees none here")
    torch.set_num_threads(1)
    lines: list[str] = []
    try:
        for line in _tables(options):
            lines.append(line)
            print(line, flush=True)
    finally:
        if options.write:
            options.write.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _tables(options: argparse.Namespace) -> Iterator[str]:
    if options.device == "cuda":
        yield from tf32_gpu.tables(save=options.save)
    else:
        yield from (*_models(), "", *_products())


def _models() -> Iterator[str]:
    """Ratios in three kinds of networks."""
    yield "| network, layer | K | rounding | own: rms | mean | max | total: rms | mean | max |"
    yield "| --- | --: | --- | --: | --: | --: | --: | --: | --: |"
    for name, make in NETWORKS.items():
        model, batch = make()
        found = compare(model, batch, ["fp32", "tf32", "tf32-rz"], loss=loss)
        yield from _rows(name, model, found)


def _rows(name: str, model: nn.Module, found: Comparison) -> Iterator[str]:
    layers = [row.call for row in found.of("fp32", "forward") if products_in(model, row.call[0])]
    shown = layers if len(layers) <= 6 else [layers[i * (len(layers) - 1) // 5] for i in range(6)]
    plain = {row.call: row for row in found.of("fp32", "forward")}
    for executor in ("tf32", "tf32-rz"):
        own = {row.call: row for row in found.of(executor, "forward")}
        for call in shown:
            cells = [
                *ratios(own[call].local, plain[call].local),
                *ratios(own[call].total, plain[call].total),
            ]
            depth = layers.index(call) + 1
            yield (
                f"| {name}, {call[0]} ({depth} of {len(layers)}) | {products_in(model, call[0])} | "
                f"{_ROUNDING[executor]} | {' | '.join(cells)} |"
            )


_ROUNDING = {"tf32": "nearest", "tf32-rz": "cut"}


def _products() -> Iterator[str]:
    """Ratios of single products, by K."""
    yield "| K | operands | 2^14/sqrt(K) | sequential FP32: rms | max | torch's FP32: rms | max |"
    yield "| --: | --- | --: | --: | --: | --: | --: |"
    for k in KS:
        generator = torch.Generator().manual_seed(5)
        weight = torch.randn(k, COLUMNS, generator=generator) / math.sqrt(k)
        x = torch.randn(ROWS, k, generator=generator)
        for name, given in (("normal", x), ("rectified", x.relu())):
            cells = [
                f"{r:.0f}"
                for order in ("fp32-sequential", "fp32")
                for r in _ratio(given, weight, order)
            ]
            yield f"| {k} | {name} | {2**14 / math.sqrt(k):.0f} | {' | '.join(cells)} |"


def _ratio(x: torch.Tensor, weight: torch.Tensor, order: str) -> tuple[float, float]:
    """Ratio of rms and of largest errors, with the TF32 product summed in the same order."""
    right = x.double() @ weight.double()
    plain = error_of(matmul(x, weight, get_arithmetic(order)), right)
    operands = [_tf32(each) for each in (x, weight)]
    rounded = error_of(matmul(*operands, get_arithmetic(order)), right)
    return rounded.rms / plain.rms, rounded.max_abs / plain.max_abs


def _tf32(x: torch.Tensor) -> torch.Tensor:
    return round_to(x, "tf32", rounding="nearest-away")


if __name__ == "__main__":
    main()
