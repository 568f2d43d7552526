"""DeepHochuli: what floating-point arithmetic does to a neural network."""

from __future__ import annotations

__version__ = "0.1.0"
