"""How much larger errors become where TF32 takes the place of FP32, by layer, depth and K.

From the root of the repository: python benchmarks/tf32.py [--write docs/tf32-table.md]

Ratios of the errors of an emulated TF32 execution to those of torch's FP32 on this machine, both
against binary64, own and total. The second table asks the same of single products of growing K, in
which the FP32 sum is torch's, or one FMA after the other.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.resnet import resnet18
from deephochuli.analysis.compare import Comparison, Error, compare, error_of
from deephochuli.arithmetic import get_arithmetic, matmul

KS = (64, 144, 288, 576, 1152, 2304, 4608)
ROWS, COLUMNS = 256, 64


def main() -> None:
    """Print or write both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path, default=None)
    options = parser.parse_args()
    torch.set_num_threads(1)
    text = "\n".join([*_models(), "", *_products()]) + "\n"
    if options.write:
        options.write.write_text(text, encoding="utf-8")
    print(text, end="")


def _models() -> Iterator[str]:
    """Ratios in three kinds of networks."""
    yield "| network, layer | K | rounding | own: rms | mean | max | total: rms | mean | max |"
    yield "| --- | --: | --- | --: | --: | --: | --: | --: | --: |"
    for name, make in _NETWORKS.items():
        model, batch = make()
        found = compare(
            model, batch, ["fp32", "tf32", "tf32-rz"], loss=lambda out: _first(out).sum()
        )
        yield from _rows(name, model, found)


def _rows(name: str, model: nn.Module, found: Comparison) -> Iterator[str]:
    layers = [row.call for row in found.of("fp32", "forward") if _k(model, row.call[0])]
    shown = layers if len(layers) <= 6 else [layers[i * (len(layers) - 1) // 5] for i in range(6)]
    plain = {row.call: row for row in found.of("fp32", "forward")}
    for executor in ("tf32", "tf32-rz"):
        own = {row.call: row for row in found.of(executor, "forward")}
        for call in shown:
            cells = [
                *_ratios(own[call].local, plain[call].local),
                *_ratios(own[call].total, plain[call].total),
            ]
            depth = layers.index(call) + 1
            yield (
                f"| {name}, {call[0]} ({depth} of {len(layers)}) | {_k(model, call[0])} | "
                f"{_ROUNDING[executor]} | {' | '.join(cells)} |"
            )


def _ratios(error: Error | None, plain: Error | None) -> list[str]:
    if error is None or plain is None:
        return [""] * 3
    pairs = (
        (error.rms, plain.rms),
        (error.mean_abs, plain.mean_abs),
        (error.max_abs, plain.max_abs),
    )
    return [f"{a / b:.0f}" if b else "" for a, b in pairs]


_ROUNDING = {"tf32": "nearest", "tf32-rz": "cut"}


def _k(model: nn.Module, path: str) -> int:
    """Products in one sum of a layer; 0 where it has none."""
    module = model.get_submodule(path)
    weight = getattr(module, "weight", None)
    if not isinstance(module, nn.Linear | nn.Conv2d) or not isinstance(weight, torch.Tensor):
        return 0
    return weight[0].numel()


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
    from deephochuli.arithmetic import round_to

    return round_to(x, "tf32", rounding="nearest-away")


def _first(output: Any) -> torch.Tensor:
    return output if isinstance(output, torch.Tensor) else output[0]


def _digits() -> tuple[nn.Module, Any]:
    from tests.reference.digits_net import digits, trained_digits_net

    return trained_digits_net(), digits()[2]


def _residual() -> tuple[nn.Module, Any]:
    torch.manual_seed(0)
    return resnet18(16), torch.randn(4, 3, 32, 32)


def _transformer() -> tuple[nn.Module, Any]:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(256, 4, 1024, dropout=0.0, batch_first=True)
    return nn.TransformerEncoder(layer, 4, enable_nested_tensor=False), torch.randn(2, 32, 256)


_NETWORKS: dict[str, Callable[[], tuple[nn.Module, Any]]] = {
    "plain CNN": _digits,
    "ResNet-18": _residual,
    "transformer": _transformer,
}

if __name__ == "__main__":
    main()
