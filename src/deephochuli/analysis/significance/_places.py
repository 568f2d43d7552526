"""What is followed over the samples: some elements of each tensor that the first run showed."""

from __future__ import annotations

import torch
from torch import Tensor

from deephochuli.analysis.significance._margins import ARGMAX, POOL
from deephochuli.analysis.significance._spread import Spread


class Followed:
    """Elements of one tensor, or margins of one operator's decisions, over the samples."""

    def __init__(self, quantity: str, first: Tensor, most: int, seed: int) -> None:
        """Choose at most `most` elements, at random where there are more, and keep the first run.

        For pooling and argmax an element is a window or a row, and what is followed is its largest
        number minus the runner-up, by the places that they have in the first run.
        """
        self.dtype = first.dtype
        self._shape = first.shape
        self._n_within = _n_within(quantity, first)
        n_dims = first.dim() - self._n_within
        self._outer = first.shape[:n_dims]
        self.n_elements = self._outer.numel()
        self._chosen = _choice(self.n_elements, most, seed, first.device)
        looked = self._look(first)
        self._two: Tensor | None = None
        if self._n_within:
            self._two = torch.topk(looked, 2, dim=-1).indices
            looked = self._margin(looked)
        self.spread = Spread(looked)
        self.is_lost = False

    @property
    def n_followed(self) -> int:
        """How many elements are followed."""
        return self.spread.first.numel()

    def add(self, sample: Tensor) -> None:
        """Take the tensor of one more run; of another shape it cannot be compared."""
        if sample.shape != self._shape:
            self.is_lost = True
            return
        looked = self._look(sample)
        self.spread.add(self._margin(looked) if self._n_within else looked)

    def _look(self, tensor: Tensor) -> Tensor:
        """The chosen elements in a row, those within a window behind each other."""
        if self._chosen is None:
            return tensor.reshape(*([-1] if not self._n_within else [self.n_elements, -1]))
        where = torch.unravel_index(self._chosen, self._outer)
        return tensor[where].reshape(len(self._chosen), *([-1] if self._n_within else []))

    def _margin(self, looked: Tensor) -> Tensor:
        assert self._two is not None
        pair = looked.gather(-1, self._two)
        return (pair[:, 0] - pair[:, 1]).nan_to_num(nan=0.0)  # padding against padding: no choice


def _n_within(quantity: str, first: Tensor) -> int:
    """How many of the last dimensions lie within one decision."""
    if quantity == ARGMAX:
        return 1
    return (first.dim() - 2) // 2 + (first.dim() % 2) if quantity == POOL else 0


def _choice(n_elements: int, most: int, seed: int, device: torch.device) -> Tensor | None:
    """Sorted places of the elements that are followed; None for all."""
    if n_elements <= most:
        return None
    generator = torch.Generator().manual_seed(seed)
    if n_elements > 64 * most:  # a few drawn twice do no harm, a permutation would cost memory
        return (
            torch.randint(n_elements, (most,), generator=generator, device="cpu")
            .sort()
            .values.to(device)
        )
    return (
        torch.randperm(n_elements, generator=generator, device="cpu")[:most]
        .sort()
        .values.to(device)
    )
