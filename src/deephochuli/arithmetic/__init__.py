"""How results are computed: rounding of tensors, sums of products, a model run as if in a format."""

from __future__ import annotations
