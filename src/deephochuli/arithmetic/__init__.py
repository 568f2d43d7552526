"""How results are computed: rounding of tensors, sums of products, a model run in an arithmetic."""

from __future__ import annotations

from deephochuli.arithmetic._arithmetic import Arithmetic, Confidence
from deephochuli.arithmetic._attention import attention
from deephochuli.arithmetic._block_formats import (
    BlockFormat,
    get_block_format,
    list_block_formats,
)
from deephochuli.arithmetic._blocks import round_blocks
from deephochuli.arithmetic._convolution import convolution
from deephochuli.arithmetic._descent import SUP_DENSITY, Law, NoisyDescent, is_bias, noisy
from deephochuli.arithmetic._gradient_noise import GradientNoise, measured_noise
from deephochuli.arithmetic._names import get_arithmetic, list_arithmetics
from deephochuli.arithmetic._noise import NoiseSource, perturbed
from deephochuli.arithmetic._products import linear, matmul, sum_as
from deephochuli.arithmetic._random import StochasticKey
from deephochuli.arithmetic._round_to import round_to
from deephochuli.arithmetic._run_as import Scope, run_as
from deephochuli.arithmetic._sums import Order, SumKind, Sums

__all__ = [
    "SUP_DENSITY",
    "Arithmetic",
    "BlockFormat",
    "Confidence",
    "GradientNoise",
    "Law",
    "NoiseSource",
    "NoisyDescent",
    "Order",
    "Scope",
    "StochasticKey",
    "SumKind",
    "Sums",
    "attention",
    "convolution",
    "get_arithmetic",
    "get_block_format",
    "is_bias",
    "linear",
    "list_arithmetics",
    "list_block_formats",
    "matmul",
    "measured_noise",
    "noisy",
    "perturbed",
    "round_blocks",
    "round_to",
    "run_as",
    "sum_as",
]
