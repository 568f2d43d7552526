"""How far numbers lie from what they should be."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import (
    _disable_current_modes,  # pyright: ignore[reportPrivateUsage, reportUnknownVariableType]
)

from deephochuli.formats import format_of_dtype


@dataclass(frozen=True, slots=True)
class Error:
    """The error of some numbers against a reference in binary64.

    e is judged minus reference, over the elements where both are finite.

    Attributes:
        n: Elements compared.
        max_abs: Largest abs(e).
        mean_abs: Mean of abs(e).
        rms: Root of the mean of e^2.
        median_abs: Median of abs(e), of the largest tensor where there are several.
        reference_rms: Root of the mean of the reference's squares.
        cosine: Cosine of the angle between judged and reference; nan where one of them is zero.
        rms_ulps: Root of the mean of (e / ulp)^2 over the nonzero reference elements, in ulps of
            the dtype that the judged numbers are stored in; ulp(x) is the gap in the binade of x.
        max_ulps: Largest abs(e) in ulps.
        zeros: Elements that are zero though the reference is not.
        sign_flips: Elements with the other sign than the reference, both nonzero.
        nonfinite: Elements of which one or both are not finite, and which are not the same: finite
            and not, or infinities and NaN of other kinds.
    """

    n: int = 0
    max_abs: float = 0.0
    mean_abs: float = 0.0
    rms: float = 0.0
    median_abs: float = 0.0
    reference_rms: float = 0.0
    cosine: float = math.nan
    rms_ulps: float = 0.0
    max_ulps: float = 0.0
    zeros: int = 0
    sign_flips: int = 0
    nonfinite: int = 0

    @property
    def rel_l2(self) -> float:
        """Norm of the error over norm of the reference; nan where both are zero."""
        if self.reference_rms == 0:
            return math.nan if self.rms == 0 else math.inf
        return self.rms / self.reference_rms

    @property
    def is_exact(self) -> bool:
        """Whether there is no difference at all."""
        return self.max_abs == 0 and self.nonfinite == 0


@dataclass(slots=True)
class _Sums:
    """Sums from which an `Error` follows; the largest tensor's median goes with them."""

    n: int = 0
    abs_e: float = 0.0
    sq_e: float = 0.0
    sq_reference: float = 0.0
    sq_judged: float = 0.0
    product: float = 0.0
    max_abs: float = 0.0
    median: float = 0.0
    n_of_median: int = 0
    n_ulps: int = 0
    sq_ulps: float = 0.0
    max_ulps: float = 0.0
    zeros: int = 0
    sign_flips: int = 0
    nonfinite: int = 0

    def add(self, judged: Tensor, reference: Tensor, stored: torch.dtype | None = None) -> None:
        """Add the elements of one tensor, which a tensor of another dtype may stand for."""
        precision = format_of_dtype(str(stored or judged.dtype)).precision
        a = judged.detach().to("cpu", torch.float64).flatten()
        r = reference.detach().to("cpu", torch.float64).flatten()
        both = a.isfinite() & r.isfinite()
        if not bool(both.all()):
            self.nonfinite += int((~both & (a != r) & ~(a.isnan() & r.isnan())).sum())
            a, r = a[both], r[both]
        if not a.numel():
            return
        e = (a - r).abs_()
        self._add_magnitudes(e, a, r)
        self._add_places(e, a, r, precision)

    def _add_magnitudes(self, e: Tensor, a: Tensor, r: Tensor) -> None:
        n = e.numel()
        self.n += n
        self.abs_e += float(e.sum())
        self.sq_e += float(e @ e)
        self.sq_reference += float(r @ r)
        self.sq_judged += float(a @ a)
        self.product += float(a @ r)
        self.max_abs = max(self.max_abs, float(e.max()))
        if n > self.n_of_median:
            self.median, self.n_of_median = float(e.median()), n

    def _add_places(self, e: Tensor, a: Tensor, r: Tensor, precision: int) -> None:
        nonzero = r != 0
        self.zeros += int(((a == 0) & nonzero).sum())
        self.sign_flips += int((a * r < 0).sum())
        if not self.max_abs or not bool(nonzero.any()):
            self.n_ulps += int(nonzero.sum())
            return
        _, exponents = torch.frexp(r[nonzero])
        ulps = torch.ldexp(e[nonzero], precision - exponents)
        self.n_ulps += ulps.numel()
        self.sq_ulps += float(ulps @ ulps)
        self.max_ulps = max(self.max_ulps, float(ulps.max()))

    def error(self) -> Error:
        """The error of all elements added."""
        n = max(1, self.n)
        norms = math.sqrt(self.sq_reference * self.sq_judged)
        return Error(
            n=self.n,
            max_abs=self.max_abs,
            mean_abs=self.abs_e / n,
            rms=math.sqrt(self.sq_e / n),
            median_abs=self.median,
            reference_rms=math.sqrt(self.sq_reference / n),
            cosine=self.product / norms if norms else math.nan,
            rms_ulps=math.sqrt(self.sq_ulps / max(1, self.n_ulps)),
            max_ulps=self.max_ulps,
            zeros=self.zeros,
            sign_flips=self.sign_flips,
            nonfinite=self.nonfinite,
        )


def error_of(judged: Tensor, reference: Tensor) -> Error:
    """The error of one tensor, of any shape and floating dtype, against another of its shape.

    Example:
        >>> import torch
        >>> error_of(torch.tensor([1.0, 0.0]), torch.tensor([1.0, 0.5])).zeros
        1
    """
    sums = _Sums()
    sums.add(judged, reference)
    return sums.error()


class Differences:
    """Errors gathered under any names."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._sums: dict[tuple[Any, str], _Sums] = {}

    def see(
        self,
        owner: Hashable,
        what: str,
        judged: Tensor,
        reference: Tensor,
        stored: torch.dtype | None = None,
    ) -> None:
        """Add the elements of one tensor to what is known of `owner` and `what`.

        `stored` is whose ulps count, where that is not the dtype of `judged`: what a reference
        makes of an execution's numbers is in binary64, and counted in the execution's ulps.
        """
        sums = self._sums.setdefault((owner, what), _Sums())
        with _disable_current_modes():  # what is measured here is no part of an execution
            sums.add(judged, reference, stored)

    def errors(self) -> dict[tuple[Any, str], Error]:
        """The error under each name."""
        return {name: sums.error() for name, sums in self._sums.items()}
