"""Absorbed additions inside the digits network: python -m tests.reference.swamping.table.

Prints, for the trained network and for the same one at its start, the share of absorbed additions
in three orders and the lost mass, for accumulators of several formats, on the first 64 images.
"""

import sys
import time

import torch
from torch import nn

from deephochuli.analysis.swamping import swamping
from tests.reference.digits_net import BATCH, accuracy, digits, trained_digits_net

NAMES = {"0": "conv1", "2": "conv2", "5": "conv3", "8": "fc1", "10": "fc2"}
ROWS = (
    *((layer, "forward") for layer in ("2", "5", "8")),
    *((layer, "weight gradient") for layer in ("0", "2", "5", "8", "10")),
    ("10", "bias add"),
)
FORMATS = ("fp32", "fp16", "bf16", "fp8_e4m3fn")
ORDERS = ("sequential", "blocked", "pairwise")
SEED = 3


def shares(model, formats=FORMATS, n_outputs=512):
    """Rows of `swamping` by layer, sum, format and order."""
    images, labels, _, _ = digits()
    x, y = images[:BATCH], labels[:BATCH]
    found = {}
    for name in formats:
        result = swamping(
            model,
            x,
            loss=lambda out: nn.functional.cross_entropy(out, y),
            format=name,
            orders=ORDERS,
            n_outputs=n_outputs,
            seed=SEED,
        )
        found |= {(row.layer, row.sum, name, row.order): row for row in result.rows}
    return found


def print_table(title, found, formats=FORMATS):
    """One table in Markdown: absorbed share sequential / blocked / pairwise, then lost mass."""
    print(f"\n{title}\n")
    print("| sum (K) | " + " | ".join(formats) + " | lost mass, sequential |")
    print("| --- " * (len(formats) + 2) + "|")
    for layer, kind in ROWS:
        first = found[layer, kind, formats[0], "sequential"]
        cells = [
            " / ".join(f"{found[layer, kind, name, order].absorbed.value:.2g}" for order in ORDERS)
            for name in formats
        ]
        mass = [f"{found[layer, kind, name, ORDERS[0]].lost_mass.value:.2g}" for name in formats]
        label = f"{NAMES[layer]} {kind} ({first.n_addends})"
        print(f"| {label} | " + " | ".join(cells) + f" | {', '.join(mass)} |")


def print_details(found, name):
    """Intervals, bits lost and the predicted share for one format, sequential."""
    print(f"\n{name}, sequential: 95 % interval, prediction, bits lost, products underflowed\n")
    print("| sum (K) | absorbed | interval | predicted | for 4 K | bits lost | underflowed |")
    print("| --- " * 7 + "|")
    for layer, kind in ROWS[:-1]:
        row = found[layer, kind, name, "sequential"]
        growth = [share for _, share in row.growth]
        print(
            f"| {NAMES[layer]} {kind} ({row.n_addends}) | {row.absorbed.value:.3g} | "
            f"{row.absorbed.low:.2g} to {row.absorbed.high:.2g} | {growth[0]:.2g} | "
            f"{growth[1]:.2g} | {row.bits_lost:.1f} | {row.n_underflowed} |"
        )


def main():
    """Train, replay, print."""
    torch.set_num_threads(1)
    start = time.perf_counter()
    model = trained_digits_net()
    print(f"accuracy {accuracy(model):.4f}")
    trained = shares(model)
    print_table("Trained (20 epochs)", trained)
    for name in ("fp32", "bf16"):
        print_details(trained, name)
    print_table("At the start", shares(trained_digits_net(n_epochs=0)))
    print(f"\n{time.perf_counter() - start:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
