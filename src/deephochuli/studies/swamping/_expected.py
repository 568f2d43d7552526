"""Where claims come from, and the numbers of an earlier prototype, which are measured again.

Theirs is one trained network, with other initial weights than any of ours.
"""

from __future__ import annotations

from typing import Final

FOUNDING: Final = "founding project, section 1"
PROTOTYPE: Final = "an earlier prototype of this project"
OURS: Final = "derived (Format.absorption_threshold)"

ORDERS: Final = ("sequential", "blocked", "pairwise")

_SUMS = {
    ("conv2", "forward"): {
        "fp32": (3.7e-5, 0, 0),
        "fp16": (0.0090, 0.0036, 0.0014),
        "bf16": (0.053, 0.017, 0.0094),
    },
    ("conv3", "forward"): {
        "fp32": (0, 0, 0),
        "fp16": (0.025, 0.0042, 0.0015),
        "bf16": (0.119, 0.025, 0.011),
        "fp8_e4m3fn": (0.48, 0.17, 0.077),
    },
    ("fc1", "forward"): {
        "fp32": (0, 0, 0),
        "fp16": (0.027, 0.0054, 0.0023),
        "bf16": (0.126, 0.029, 0.013),
    },
    ("conv1", "weight gradient"): {
        "fp32": (0.276, 0.019, 0.0014),
        "fp16": (0.136, 0.012, 0.0052),
        "bf16": (0.852, 0.090, 0.028),
    },
    ("conv2", "weight gradient"): {
        "fp32": (0.256, 0.055, 0.0041),
        "fp16": (0.061, 0.014, 0.0058),
        "bf16": (0.837, 0.223, 0.074),
    },
    ("conv3", "weight gradient"): {
        "fp32": (0.238, 0.033, 0.0084),
        "fp16": (0.042, 0.0081, 0.0078),
        "bf16": (0.826, 0.303, 0.146),
    },
    ("fc2", "weight gradient"): {
        "fp32": (0.391, 0.293, 0.169),
        "fp16": (0.148, 0.066, 0.085),
        "bf16": (0.792, 0.709, 0.585),
    },
}
SUMS: Final[dict[tuple[str, str, str, str], float]] = {
    (layer, kind, fmt, order): float(value)
    for (layer, kind), formats in _SUMS.items()
    for fmt, values in formats.items()
    for order, value in zip(ORDERS, values, strict=True)
}
"""(layer, sum, format, order) -> absorbed share, in the trained network."""

_UPDATES = {
    "SGD 0.1": {
        "fp32": (0.0006, 0.0006, 0.0012),
        "fp16": (0.40, 0.40, 0.15),
        "bf16": (0.83, 0.84, 0.35),
    },
    "SGD 0.01": {
        "fp32": (0.0050, 0.0055, 0.0049),
        "fp16": (0.86, 0.87, 0.86),
        "bf16": (0.980, 0.983, 0.981),
    },
    "SGD 0.001": {
        "fp32": (0.033, 0.035, 0.031),
        "fp16": (0.984, 0.985, 0.985),
        "bf16": (0.998, 0.998, 0.998),
    },
    "SGD 0.00001": {
        "fp32": (0.44, 0.45, 0.43),
        "fp16": (1.0, 1.0, 1.0),
        "bf16": (1.0, 1.0, 1.0),
    },
    "SGD 0.05, momentum 0.9": {
        "fp32": (0.0004, 0.0003, 0.0059),
        "fp16": (0.37, 0.24, 0.21),
        "bf16": (0.80, 0.61, 0.48),
    },
    "Adam 0.001": {
        "fp32": (0.0, 0.0, 0.0),
        "fp16": (0.007, 0.008, 0.053),
        "bf16": (0.056, 0.063, 0.396),
    },
    "Adam 0.0001": {
        "fp32": (0.0, 0.0, 0.0),
        "fp16": (0.064, 0.110, 0.050),
        "bf16": (0.57, 0.67, 0.44),
    },
}
UPDATES: Final[dict[tuple[str, str, int], float]] = {
    (optimizer, fmt, step): value
    for optimizer, formats in _UPDATES.items()
    for fmt, values in formats.items()
    for step, value in zip((3, 22, 220), values, strict=True)
}
"""(optimizer, format, step) -> share of the weights with a gradient that did not move."""
