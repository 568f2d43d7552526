"""Pre-activations whose smallest magnitudes are limited by what is known beforehand.

Nothing here comes from the analysis: the additions are torch's own, in the dtype of the case.
"""

from dataclasses import dataclass

import numpy as np
import torch

from deephochuli.formats import BFLOAT16, BINARY16, BINARY32, BINARY64, Format

KINDS = ("rarity", "bias", "lattice", "range")

_DTYPES = {
    BINARY64: torch.float64,
    BINARY32: torch.float32,
    BINARY16: torch.float16,
    BFLOAT16: torch.bfloat16,
}


@dataclass(frozen=True)
class Case:
    """Pre-activations (examples, channels, 1), their format, their bias, and the truth."""

    z: torch.Tensor
    format: Format
    bias: np.ndarray | None
    limit: str


def planted(kind: str, seed: int, fmt: Format | None = None) -> Case:
    """One case of a kind."""
    rng = np.random.default_rng([KINDS.index(kind), seed])
    return {"rarity": _rarity, "bias": _bias, "lattice": _lattice, "range": _range}[kind](rng, fmt)


def _smooth(rng: np.random.Generator, n: int, channels: int) -> np.ndarray:
    """Continuous values with a density that is positive and smooth at zero, another a channel."""
    shape = rng.integers(3)
    draws = [rng.normal, rng.logistic, lambda size: rng.uniform(-2, 2, size)][shape]
    scale = rng.uniform(0.7, 1.4, channels)
    shift = rng.uniform(-0.4, 0.4, channels)
    return draws(size=(n, channels)) * scale + shift


def _rarity(rng: np.random.Generator, fmt: Format | None) -> Case:
    """A continuous number, rounded once."""
    fmt = fmt or (BINARY64, BINARY32, BFLOAT16)[rng.integers(3)]
    channels = int(rng.integers(1, 9))
    values = _smooth(rng, (1 << int(rng.integers(14, 18))) // channels, channels)
    bias = rng.normal(size=channels) if rng.integers(2) else None
    return Case(torch.from_numpy(values).to(_DTYPES[fmt])[:, :, None], fmt, bias, "rarity")


def _bias(rng: np.random.Generator, fmt: Format | None) -> Case:
    """A sum that was rounded to the format, and the bias added to it and rounded again."""
    fmt = fmt or (BINARY16, BFLOAT16)[rng.integers(2)]
    dtype = _DTYPES[fmt]
    channels = int(rng.integers(1, 9))
    values = _smooth(rng, (1 << 17) // channels, channels)
    signs = rng.choice([-1.0, 1.0], channels)
    bias = torch.from_numpy(rng.uniform(0.1, 0.9, channels) * signs).to(dtype)
    z = (torch.from_numpy(values).to(dtype) + bias)[:, :, None]
    return Case(z, fmt, bias.double().numpy(), "bias")


def _lattice(rng: np.random.Generator, fmt: Format | None) -> Case:
    """A partial sum and the last product, which is of another magnitude each time."""
    fmt = fmt or (BINARY16, BFLOAT16)[rng.integers(2)]
    dtype = _DTYPES[fmt]
    channels = int(rng.integers(1, 9))
    values = torch.from_numpy(_smooth(rng, (1 << 18) // channels, channels)).to(dtype)
    last = torch.from_numpy(rng.uniform(0.5, 2, values.shape) * rng.choice([-1, 1], values.shape))
    bias = rng.normal(size=channels) * 2.0**-12 if rng.integers(2) else None
    return Case((values + last.to(dtype))[:, :, None], fmt, bias, "lattice")


def _range(rng: np.random.Generator, fmt: Format | None) -> Case:
    """Numbers so small that the smallest ones of the format are few steps away."""
    fmt = fmt or BINARY16
    channels = int(rng.integers(1, 9))
    scale = 2.0 ** rng.uniform(-18, -11)
    values = _smooth(rng, (1 << 17) // channels, channels) * scale
    bias = rng.normal(size=channels) * scale if rng.integers(2) else None
    return Case(torch.from_numpy(values).to(_DTYPES[fmt])[:, :, None], fmt, bias, "range")
