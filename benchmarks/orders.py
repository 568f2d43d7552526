"""In which order a library added the products of one output, found by trying.

A library cuts K into parts, adds up each for itself, and joins the sums in FP32; how it cuts is its
secret. An order is an array of indices along K, of shape (groups, chains, length): every row is a
chain, the chains of one group are joined first, then the groups.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from deephochuli.arithmetic import Arithmetic, matmul

JOINS = ("ascending", "descending", "pairwise", "exact")
MOST_SIZES = 150
"""Sizes of contiguous parts that are tried at most."""


@dataclass(frozen=True, slots=True)
class Order:
    """A way to cut K; `index` is -1 where a chain has nothing more to add."""

    name: str
    index: np.ndarray


@dataclass(frozen=True, slots=True)
class Found:
    """The order that explains most outputs, to the bit, and the share that it does."""

    name: str
    share: float


def one_chain(k: int) -> Order:
    """All products, one after the other."""
    return Order("one chain", np.arange(k).reshape(1, 1, k))


def orders(k: int) -> Iterator[Order]:
    """Yield the ways to cut K that are tried, each once, the plainest first."""
    seen: set[tuple[tuple[int, ...], bytes]] = set()
    for order in (one_chain(k), *_contiguous(k), *_balanced(k), *_dealt(k), *_strided(k)):
        key = order.index.shape, order.index.tobytes()
        if key not in seen:
            seen.add(key)
            yield order


def _contiguous(k: int) -> Iterator[Order]:
    """Neighbours; the last part may be shorter. Two levels: parts of `size` dealt to chains."""
    step = 16 * math.ceil(k / 16 / MOST_SIZES)
    for size in sorted({*range(step, k, step), *range(8, min(k, 129), 8)}):
        starts = range(0, k, size)
        rows = [range(start, min(start + size, k)) for start in starts]
        yield Order(f"parts of {size}", _padded(rows)[:, None])


def _balanced(k: int) -> Iterator[Order]:
    """Parts whose numbers of tiles differ by one at most, the larger ones first or last."""
    for unit in (16, 32, 64, 128):
        n_tiles = math.ceil(k / unit)
        for n in range(2, min(n_tiles, 33)):
            small, more = divmod(n_tiles, n)
            if not more:
                continue
            for name, tiles in (
                ("first", [small + (i < more) for i in range(n)]),
                ("last", [small + (i >= n - more) for i in range(n)]),
            ):
                ends = np.minimum(np.cumsum(tiles) * unit, k)
                rows = [range(a, b) for a, b in zip([0, *ends[:-1]], ends, strict=True)]
                text = f"{n} parts of whole tiles of {unit}, longer {name}"
                yield Order(text, _padded(rows)[:, None])


def _dealt(k: int) -> Iterator[Order]:
    """Slices of K dealt to a few chains in turn, in the whole or in each of some parts."""
    for unit in (1, 2, 4, 8, 16, 32, 64):
        for n_chains in (2, 4, 8):
            for n_groups in (1, 2, 3, 4, 6, 8, 9, 12, 16):
                size = math.ceil(k / n_groups / unit / n_chains) * unit * n_chains
                if size > k / n_groups + 64 or unit * n_chains > size:
                    continue
                groups = [range(start, min(start + size, k)) for start in range(0, k, size)]
                whole = _padded(groups, size).reshape(len(groups), -1, n_chains, unit)
                index = whole.transpose(0, 2, 1, 3).reshape(len(groups), n_chains, -1)
                within = f" in each of {len(groups)} parts" if len(groups) > 1 else ""
                yield Order(f"slices of {unit} dealt to {n_chains}{within}", index)


def _strided(k: int) -> Iterator[Order]:
    """One chain in which the columns of small blocks come first: what a thread reads at once."""
    for block in (8, 16, 32, 64):
        for rows in (2, 4, 8, 16):
            if rows < block and k % block == 0:
                index = np.arange(k).reshape(-1, rows, block // rows).transpose(0, 2, 1)
                yield Order(
                    f"one chain, every {block // rows}. of {block} first", index.reshape(1, 1, k)
                )


def _padded(rows: list[range], length: int = 0) -> np.ndarray:
    index = np.full((len(rows), length or max(map(len, rows))), -1)
    for row, numbers in zip(index, rows, strict=True):
        row[: len(numbers)] = numbers
    return index


def summed(
    order: Order, a: Tensor, b: Tensor, arithmetic: Arithmetic
) -> Iterator[tuple[str, Tensor]]:
    """Yield the product of a (m, k) and b (k, n), FP32, for each way to join the chains.

    Numerics:
        Missing products are zeros at the end of a chain, which change no sum but the sign of a
        zero. Joins are additions in binary32; "exact" is one rounding of the exact sum (of the
        sum in binary64, to which few terms of similar size are added without an error that shows).
    """
    n_groups, n_chains, length = order.index.shape
    left = torch.cat([a, a.new_zeros(len(a), 1)], 1)[:, order.index]
    right = torch.cat([b, b.new_zeros(1, b.shape[1])])[order.index]
    left = left.permute(1, 2, 0, 3).reshape(-1, len(a), length)
    chains = matmul(left, right.reshape(-1, length, b.shape[1]), arithmetic)
    chains = chains.reshape(n_groups, n_chains, len(a), -1)
    if n_groups == 1 or n_chains == 1:
        parts = list(chains.flatten(0, 1))
        for join in JOINS if len(parts) > 2 else JOINS[:1]:
            yield join, joined(parts, join)
        return
    for inner in ("ascending", "pairwise"):
        parts = [joined(list(group), inner) for group in chains]
        for outer in JOINS:
            yield f"{inner}, then {outer}", joined(parts, outer)


def joined(parts: list[Tensor], join: str) -> Tensor:
    """Add up partial sums in binary32."""
    if join == "exact":
        return torch.stack(parts).double().sum(0).float()
    if join == "pairwise":
        while len(parts) > 1:
            pairs = [sum(parts[i + 1 : i + 2], parts[i]) for i in range(0, len(parts), 2)]
            parts = pairs
        return parts[0]
    first, *others = parts if join == "ascending" else parts[::-1]
    return sum(others, first)


def find(
    a: Tensor, b: Tensor, results: Mapping[str, Tensor], arithmetics: Mapping[str, Arithmetic]
) -> dict[str, Found]:
    """Name for each result the order that explains most of it.

    Args:
        a: Operands as the products take them, rounded; FP32, of shape (m, k).
        b: Likewise, of shape (k, n).
        results: What libraries made of them, FP32, of shape (m, n).
        arithmetics: How a chain may add up, by name; the first is the one to expect.
    """
    best = dict.fromkeys(results, Found("none", 0.0))
    usual = next(iter(arithmetics))
    for order in orders(a.shape[1]):
        for label, arithmetic in arithmetics.items():
            for join, ours in summed(order, a, b, arithmetic):
                name = order.name + ("" if order.index[..., 0].size == 1 else f", {join}")
                name += "" if label == usual else f" ({label})"
                for key, theirs in results.items():
                    share = float((ours == theirs).double().mean())
                    if share > best[key].share:
                        best[key] = Found(name, share)
        if all(found.share == 1 for found in best.values()):
            break
    return best
