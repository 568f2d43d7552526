"""TF32 as a GPU's libraries compute it, beside TF32 emulated: errors, rounding, order of addition.

Called by `python -m benchmarks.tf32 --device cuda`.
"""

from __future__ import annotations

import math
import statistics
import time
import traceback
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.orders import Found, find, one_chain, summed
from benchmarks.tf32_networks import NETWORKS, loss, products_in, ratios
from deephochuli.analysis.compare import Comparison, compare, error_of
from deephochuli.arithmetic import Arithmetic, get_arithmetic, matmul, round_to

KS = (64, 144, 256, 288, 576, 1024, 1152, 2304, 4608)
SIDES = (256, 1024, 4096)
"""Rows and columns of the products whose order is asked for."""
N_SAMPLED = 32
"""Rows, and columns, of them that are looked at, evenly spaced."""
ROUNDINGS = {"nearest-even": "nearest-even", "nearest-away": "nearest-away", "cut": "toward-zero"}
N_THREADS = 8
"""Searches for an order at a time."""
TENSOR_CORE = replace(get_arithmetic("h100-tf32"), name="tensor core")
CORE = get_arithmetic("cuda-core-fp32")
REAL = {"FP32": "cuda-ieee", "TF32": "cuda-tf32"}
"""The executors that are measured."""


# ---- products of the GPU's libraries


def _by_convolution(x: Tensor, w: Tensor) -> Tensor:
    """The same product as a convolution with kernels of one pixel."""
    image = x.t().reshape(1, x.shape[1], -1, 16).contiguous()
    return F.conv2d(image, w.t().contiguous()[:, :, None, None]).flatten(2)[0].t()


def _by_layer(x: Tensor, w: Tensor) -> Tensor:
    return F.linear(x, w.t().contiguous())


WAYS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mm": torch.mm,
    "linear": _by_layer,
    "conv 1x1": _by_convolution,
}


@contextmanager
def precision(name: str) -> Generator[None]:
    """Allow TF32 in products and convolutions, or not."""
    libraries: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn.conv)
    before = [library.fp32_precision for library in libraries]
    for library in libraries:
        library.fp32_precision = "tf32" if name == "TF32" else "ieee"
    try:
        yield
    finally:
        for library, value in zip(libraries, before, strict=True):
            library.fp32_precision = value


def multiplied(way: str, name: str, x: Tensor, w: Tensor) -> Tensor:
    """What the library makes of two operands."""
    with precision(name):
        return WAYS[way](x, w)


# ---- the tables


def tables(
    device: str = "cuda",
    save: Path | None = None,
    ks: tuple[int, ...] = KS,
    sides: tuple[int, ...] = SIDES,
) -> Iterator[str]:
    """Yield all tables, line by line; a part that fails is told and the next one goes on."""
    kept: dict[str, np.ndarray] = {}
    given: dict[tuple[str, int], Products] = {}
    where = torch.cuda.get_device_name() if device == "cuda" else device
    yield f"{where}, torch {torch.__version__}"
    yield ""
    parts = {
        "multiplying": lambda: multiply(device, ks, sides, given, kept),
        "ties": lambda: ties(device, kept),
        "orders": lambda: order_table(given),
        "products": lambda: product_table(device, ks),
        "networks": networks,
    }
    for name, part in parts.items():
        start = time.monotonic()
        try:
            yield from part()
        except Exception:  # what the other parts tell is not to be lost
            traceback.print_exc()
            yield f"({name} failed)"
        print(f"  {name}: {time.monotonic() - start:.1f} s", flush=True)
        if save and name in ("multiplying", "ties"):
            np.savez_compressed(save, **kept)


def ties(device: str, kept: dict[str, np.ndarray]) -> Iterator[str]:
    """How operands are rounded: products of numbers that all lie between two of TF32."""
    yield f"| 256 x 256, K = 64, operands that are ties | {' | '.join(ROUNDINGS)} | FP32 |"
    yield "| --- |" + " --: |" * (len(ROUNDINGS) + 1)
    generator = torch.Generator().manual_seed(3)
    x, w = (_as_ties(torch.randn(*shape, generator=generator)) for shape in ((256, 64), (64, 256)))
    models = [matmul(*_rounded(x, w, mode), TENSOR_CORE) for mode in ROUNDINGS.values()]
    models.append(matmul(x, w, CORE))
    for way in WAYS:
        real = multiplied(way, "TF32", x.to(device), w.to(device)).cpu()
        kept[f"ties|{way}"] = real[::8, ::8].numpy()
        yield f"| {way} | {' | '.join(_share(real, model) for model in models)} |"
    kept["ties|a"], kept["ties|b"] = x[::8].numpy(), w[:, ::8].numpy()
    yield ""


def _as_ties(x: Tensor) -> Tensor:
    return ((x.view(torch.int32) & ~0x1FFF) | 0x1000).view(torch.float32)


def _rounded(x: Tensor, w: Tensor, mode: str) -> tuple[Tensor, Tensor]:
    return round_to(x, "tf32", rounding=mode), round_to(w, "tf32", rounding=mode)


def _share(ours: Tensor, theirs: Tensor) -> str:
    """Share of outputs that are equal to the bit; 1 only where all are."""
    same = ours == theirs
    return "1" if same.all() else f"{float(same.double().mean()):.4f}"


# ---- order of addition


@dataclass(slots=True)
class Products:
    """Sampled operands of one K, and what each library made of them in matrices of each size."""

    x: Tensor
    w: Tensor
    results: dict[str, Tensor] = field(default_factory=dict)


def _sampled(device: str, k: int, name: str, sides: tuple[int, ...]) -> Products:
    """The same rows and columns, spread over matrices of each size."""
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(N_SAMPLED, k, generator=generator)
    w = torch.randn(k, N_SAMPLED, generator=generator) / math.sqrt(k)
    found = Products(x, w)
    for side in sides:
        places = torch.linspace(0, side - 1, N_SAMPLED).long()
        left, right = torch.ones(side, k), torch.ones(k, side)
        left[places], right[:, places] = x, w
        left, right, there = (each.to(device) for each in (left, right, places))
        for way in WAYS:
            real = multiplied(way, name, left, right)
            found.results[f"{way} {side}"] = real[there][:, there].contiguous().cpu()
    return found


def multiply(
    device: str,
    ks: tuple[int, ...],
    sides: tuple[int, ...],
    given: dict[tuple[str, int], Products],
    kept: dict[str, np.ndarray],
) -> Iterator[str]:
    """Have the libraries multiply whatever `order_table` is about."""
    for name in REAL:
        for k in ks:
            products = given[name, k] = _sampled(device, k, name, sides)
            kept[f"{k}|a"], kept[f"{k}|b"] = products.x.numpy(), products.w.numpy()
            for key, result in products.results.items():
                kept[f"{k}|{name}|{key}"] = result.numpy()
    size = f"{N_SAMPLED} x {N_SAMPLED}"
    yield f"Orders are those of {size} outputs, evenly spaced in square matrices of {sides} rows."
    yield ""


def order_table(given: dict[tuple[str, int], Products]) -> Iterator[str]:
    """Shares that models explain to the bit: in one chain, and in the best order found."""
    yield f"| | K | product | {' | '.join(ROUNDINGS)} | best order: operands | added | share |"
    yield "| --- | --: | --- |" + " --: |" * len(ROUNDINGS) + " --- | --- | --: |"

    def told(name: str, k: int) -> dict[str, tuple[str, ...]]:
        tell = _orders_tf32 if name == "TF32" else _orders_fp32
        return tell(given[name, k])

    with ThreadPoolExecutor(N_THREADS) as pool:
        for (name, k), cells_of in zip(
            given, pool.map(told, *zip(*given, strict=True)), strict=True
        ):
            for cells, keys in _grouped(cells_of).items():
                yield f"| {name} | {k} | {', '.join(keys)} | {' | '.join(cells)} |"
    yield ""


def _orders_fp32(given: Products) -> dict[str, tuple[str, ...]]:
    """Cells of each product; what one chain explains stands under the first rounding."""
    chain = _chain(given.x, given.w, CORE)
    found = find(given.x, given.w, given.results, {"FMA": CORE})
    blank = [""] * (len(ROUNDINGS) - 1)
    return {
        key: (_share(result, chain), *blank, "as they are", *_told(found[key]))
        for key, result in given.results.items()
    }


def _orders_tf32(given: Products) -> dict[str, tuple[str, ...]]:
    rounded = {name: _rounded(given.x, given.w, mode) for name, mode in ROUNDINGS.items()}
    chains = {name: _chain(*operands, TENSOR_CORE) for name, operands in rounded.items()}
    nearest = {key: _nearest(result, given, rounded) for key, result in given.results.items()}
    sums = TENSOR_CORE.sums
    arithmetics = {
        "blocks of 8": TENSOR_CORE,
        "blocks of 4": replace(TENSOR_CORE, sums=replace(sums, block=4)),
    }
    found: dict[str, Found] = {}
    for name in set(nearest.values()) & set(rounded):
        results = {key: given.results[key] for key in nearest if nearest[key] == name}
        found |= find(*rounded[name], results, arithmetics)
    as_fp32 = {key: given.results[key] for key in nearest if nearest[key] not in rounded}
    if as_fp32:
        found |= find(given.x, given.w, as_fp32, {"FMA": CORE})
    return {
        key: (
            *(_share(result, chain) for chain in chains.values()),
            nearest[key],
            *_told(found[key]),
        )
        for key, result in given.results.items()
    }


def _chain(x: Tensor, w: Tensor, arithmetic: Arithmetic) -> Tensor:
    return next(iter(summed(one_chain(x.shape[1]), x, w, arithmetic)))[1]


def _nearest(result: Tensor, given: Products, rounded: dict[str, tuple[Tensor, Tensor]]) -> str:
    """The rounding of operands whose exact product is nearest, whatever the order of addition."""
    tried = {**rounded, "as they are": (given.x, given.w)}
    gaps = {
        name: float((result.double() - x.double() @ w.double()).square().sum())
        for name, (x, w) in tried.items()
    }
    return min(gaps, key=lambda name: gaps[name])


def _told(found: Found) -> tuple[str, str]:
    return found.name, "1" if found.share == 1 else f"{found.share:.4f}"


def _grouped(cells: dict[str, tuple[str, ...]]) -> dict[tuple[str, ...], list[str]]:
    """The products that have the same cells, in one row."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for key, row in cells.items():
        groups.setdefault(row, []).append(key)
    return groups


# ---- errors of single products


def product_table(device: str, ks: tuple[int, ...]) -> Iterator[str]:
    """Ratios of the GPU's TF32 errors to its FP32 errors, and to emulated TF32 errors, by K."""
    heads = [f"{way}: TF32 / FP32, rms | max | / nearest | / cut" for way in WAYS]
    yield f"| K | operands | 2^14/sqrt(K) | {' | '.join(heads)} |"
    yield "| --: | --- | --: |" + " --: |" * (4 * len(WAYS))
    for k in ks:
        generator = torch.Generator().manual_seed(5)
        w = torch.randn(k, 64, generator=generator) / math.sqrt(k)
        x = torch.randn(256, k, generator=generator)
        for name, given in (("normal", x), ("rectified", x.relu())):
            cells = [cell for way in WAYS for cell in _errors(device, way, given, w)]
            yield f"| {k} | {name} | {2**14 / math.sqrt(k):.0f} | {' | '.join(cells)} |"
    yield ""


def _errors(device: str, way: str, x: Tensor, w: Tensor) -> list[str]:
    right = x.double() @ w.double()
    plain, narrow = (
        error_of(multiplied(way, name, x.to(device), w.to(device)).cpu(), right) for name in REAL
    )
    emulated = [
        error_of(matmul(*_rounded(x, w, ROUNDINGS[mode]), TENSOR_CORE), right).rms
        for mode in ("nearest-even", "cut")
    ]
    return [
        *(f"{narrow.rms / plain.rms:.0f}", f"{narrow.max_abs / plain.max_abs:.0f}"),
        *(f"{narrow.rms / rms:.3f}" for rms in emulated),
    ]


# ---- networks

EMULATED = ("tf32", "tf32-rz")
"""Operands rounded to nearest, and cut."""


def networks() -> Iterator[str]:
    """Every layer of three networks, and a line about each network in the end."""
    yield (
        "| network, layer | K | TF32 / FP32, own: rms | mean | max | total: rms | mean | max | "
        "TF32, own rms / nearest | / cut | total rms / nearest | / cut | operands |"
    )
    yield "| --- | --: |" + " --: |" * 10 + " --- |"
    summary: list[str] = []
    for name, make in NETWORKS.items():
        model, batch = make()
        found = compare(model, batch, [*REAL.values(), *EMULATED], loss=loss)
        layers = list(_layers(model, found))
        for depth, layer in enumerate(layers, 1):
            place = f"{name}, {layer.path} ({depth} of {len(layers)})"
            yield f"| {place} | {layer.k} | {' | '.join(layer.cells())} |"
        summary.append(_line(name, layers))
    yield ""
    yield "| network | layers | that use TF32 | own rms of these / nearest: median | least | most |"
    yield "| --- | --: | --: | --: | --: | --: |"
    yield from summary


@dataclass(frozen=True, slots=True)
class Layer:
    """The errors of one layer in the four executions, by name."""

    path: str
    k: int
    rows: dict[str, Any]

    def own(self, executor: str) -> float:
        """Its own rms error."""
        return self.rows[executor].local.rms

    def against(self, executor: str) -> float:
        """The GPU's own TF32 error, in units of an emulated one."""
        other = self.own(executor)
        return self.own(REAL["TF32"]) / other if other else math.inf

    def operands(self) -> str:
        """How the GPU took the operands, as its own error tells; by the nearest in ratio.

        Where it computed in FP32 the error is that of FP32, hundreds of times smaller.
        """
        gaps = {
            name: abs(math.log(max(self.against(executor), 1e-300)))
            for name, executor in (
                *(("nearest", "tf32"), ("cut", "tf32-rz"), ("FP32", REAL["FP32"])),
            )
        }
        return min(gaps, key=lambda name: gaps[name])

    def cells(self) -> list[str]:
        """The cells of its row, from the ratios to FP32 on."""
        plain, narrow = (self.rows[name] for name in REAL.values())
        totals = [narrow.total.rms / self.rows[name].total.rms for name in EMULATED]
        return [
            *ratios(narrow.local, plain.local),
            *ratios(narrow.total, plain.total),
            *(f"{self.against(name):.3f}" for name in EMULATED),
            *(f"{total:.3f}" for total in totals),
            self.operands(),
        ]


def _layers(model: nn.Module, found: Comparison) -> Iterator[Layer]:
    rows = {
        name: {row.call: row for row in found.of(name, "forward")}
        for name in (*REAL.values(), *EMULATED)
    }
    for call in rows[REAL["FP32"]]:
        k = products_in(model, call[0])
        if k:
            yield Layer(call[0], k, {name: each[call] for name, each in rows.items()})


def _line(name: str, layers: list[Layer]) -> str:
    shares = [layer.against("tf32") for layer in layers if layer.operands() != "FP32"]
    found = (statistics.median(shares), min(shares), max(shares)) if shares else ()
    cells = [f"{share:.3f}" for share in found] or [""] * 3
    return f"| {name} | {len(layers)} | {len(shares)} | {' | '.join(cells)} |"
