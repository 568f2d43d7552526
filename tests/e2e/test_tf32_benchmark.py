"""The tables about TF32 find what a library does with operands and sums, where that is known."""

import numpy as np
import pytest
import torch

from benchmarks import orders, tf32_gpu
from deephochuli.arithmetic import get_arithmetic, matmul, round_to

CORE, TENSOR_CORE = get_arithmetic("cuda-core-fp32"), get_arithmetic("h100-tf32")


def operands(k, m=8):
    generator = torch.Generator().manual_seed(k)
    shapes = (m, k), (k, m)
    return [round_to(torch.randn(*shape, generator=generator), "tf32") for shape in shapes]


def in_parts(x, w, size, arithmetic):
    """Neighbours along K, each part for itself, added from the last to the first."""
    starts = range(0, x.shape[1], size)
    parts = [
        matmul(x[:, i : i + size].contiguous(), w[i : i + size].contiguous(), arithmetic)
        for i in starts
    ]
    total = parts[-1]
    for part in parts[-2::-1]:
        total = part + total
    return total


@pytest.mark.parametrize("k", [64, 144, 200, 1024])
def test_every_order_adds_every_product_once(k):
    found = list(orders.orders(k))
    assert len({order.name for order in found}) == len(found)
    for order in found:
        index = order.index[order.index >= 0]
        assert np.array_equal(np.sort(index), np.arange(k)), order.name


def test_sums_are_those_of_the_order():
    x, w = operands(24, 2)
    a, b = x.double().numpy(), w.double().numpy()
    dealt = next(each for each in orders.orders(24) if each.name == "slices of 1 dealt to 4")
    # Products of TF32 numbers, and such a sum of two, are exact in binary64: one rounding each.
    chains = [np.zeros((2, 2), np.float32) for _ in range(4)]
    for k in range(24):
        chains[k % 4] = np.float32(chains[k % 4] + np.outer(a[:, k], b[k]))
    expected = {
        "ascending": ((chains[0] + chains[1]) + chains[2]) + chains[3],
        "descending": chains[0] + (chains[1] + (chains[2] + chains[3])),
        "pairwise": (chains[0] + chains[1]) + (chains[2] + chains[3]),
        "exact": np.float32(np.float64(chains).sum(0)),
    }
    found = dict(orders.summed(dealt, x, w, CORE))
    assert found.keys() == expected.keys()
    for join, ours in found.items():
        assert np.array_equal(ours.numpy(), expected[join]), join


def test_a_hidden_order_is_found():
    x, w = operands(208)
    hidden = {
        "in parts": in_parts(x, w, 48, TENSOR_CORE),
        "in one": in_parts(x, w, 208, TENSOR_CORE),
        "by chance": torch.randn(8, 8),
    }
    found = orders.find(x, w, hidden, {"blocks of 8": TENSOR_CORE})
    assert found["in parts"] == orders.Found("parts of 48, descending", 1.0)
    assert found["in one"] == orders.Found("one chain", 1.0)
    assert found["by chance"].share < 0.1


@pytest.fixture
def library(monkeypatch):
    """A library that rounds in another way for each kind of product, and cuts K at 512."""
    modes = {"mm": "nearest-even", "linear": "nearest-away", "conv 1x1": "toward-zero"}

    def multiplied(way, name, x, w):
        if name == "FP32":
            return in_parts(x, w, x.shape[1], CORE)
        return in_parts(*tf32_gpu._rounded(x, w, modes[way]), 512, TENSOR_CORE)

    monkeypatch.setattr(tf32_gpu, "multiplied", multiplied)


def cells(lines):
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in list(lines)[2:] if line
    ]


@pytest.mark.usefixtures("library")
def test_the_rounding_of_operands_is_told():
    rows = cells(tf32_gpu.ties("cpu", {}))
    ones = [[cell == "1" for cell in row[1:]] for row in rows]
    assert ones == [[i == j for j in range(4)] for i in range(3)]


@pytest.mark.usefixtures("library")
def test_the_order_of_addition_is_told():
    given, kept = {}, {}
    list(tf32_gpu.multiply("cpu", (1024,), (32,), given, kept))
    assert kept["1024|TF32|mm 32"].shape == (32, 32)
    assert kept["1024|a"].shape == (32, 1024)
    rows = cells(tf32_gpu.order_table(given))
    assert [row[-3:] for row in rows] == [
        ["as they are", "one chain", "1"],
        ["nearest-even", "parts of 512, ascending", "1"],
        ["nearest-away", "parts of 512, ascending", "1"],
        ["cut", "parts of 512, ascending", "1"],
    ]


@pytest.mark.usefixtures("library")
def test_errors_of_products_are_compared():
    ((k, _, law, *found), _) = cells(tf32_gpu.product_table("cpu", (64,)))
    assert (k, law) == ("64", "2048")
    mm, linear, cut = (list(map(float, found[i : i + 4])) for i in (0, 4, 8))
    assert mm[0] == pytest.approx(2048, rel=0.05)
    assert mm[2] == linear[2] == cut[3] == 1
    assert cut[0] == pytest.approx(mm[0] * cut[2], rel=0.01)


def test_ways_are_the_same_product():
    x, w = operands(40, 16)
    for way in tf32_gpu.WAYS:
        torch.testing.assert_close(tf32_gpu.multiplied(way, "FP32", x, w), x @ w)
