"""The spread of a few samples of a tensor, one sample at a time."""

from __future__ import annotations

import torch
from torch import Tensor


class Spread:
    """Mean, deviation and extremes of each element over samples, around a first computation.

    What is kept are differences from the first computation: samples agree in most of their bits, so
    that the differences are exact, or nearly so, in the dtype of the samples (Sterbenz), while
    means of the samples themselves would need a wider one. Five numbers an element are kept.
    """

    def __init__(self, first: Tensor) -> None:
        """Begin with the computation that the samples are compared with."""
        self.first = first.detach().clone()
        wide = torch.float64 if first.dtype == torch.float64 else torch.float32
        self._mean = torch.zeros_like(self.first, dtype=wide)
        self._squares = torch.zeros_like(self._mean)
        self._lowest = torch.full_like(self._mean, torch.inf)
        self._highest = torch.full_like(self._mean, -torch.inf)
        self.n_samples = 0

    def add(self, sample: Tensor) -> None:
        """Take one sample (Welford, 1962)."""
        self.n_samples += 1
        wide = self._mean.dtype
        shift = sample.detach().to(wide) - self.first.to(wide)
        difference = shift - self._mean
        self._mean += difference / self.n_samples
        self._squares += difference * (shift - self._mean)
        torch.minimum(self._lowest, shift, out=self._lowest)
        torch.maximum(self._highest, shift, out=self._highest)

    @property
    def mean(self) -> Tensor:
        """Mean of the samples, in binary64."""
        return self.first.double() + self._mean.double()

    @property
    def deviation(self) -> Tensor:
        """Standard deviation of the samples, with n - 1; exactly 0 where all of them are equal."""
        squares = self._squares.double().clamp(min=0) / max(1, self.n_samples - 1)
        return squares.sqrt()

    @property
    def largest(self) -> Tensor:
        """Largest distance of a sample from the mean."""
        mean = self._mean.double()
        return torch.maximum(self._highest.double() - mean, mean - self._lowest.double())

    @property
    def shift(self) -> Tensor:
        """Mean of the samples minus the first computation, in binary64."""
        return self._mean.double()

    @property
    def keeps_sign(self) -> Tensor:
        """Whether every sample lies on the side of zero on which the first computation lies."""
        first = self.first.double()
        low, high = first + self._lowest.double(), first + self._highest.double()
        return ((low > 0) & (first > 0)) | ((high < 0) & (first < 0))

    @property
    def is_zero(self) -> Tensor:
        """Whether the first computation and every sample are zero."""
        return (self.first == 0) & (self._lowest == 0) & (self._highest == 0)
