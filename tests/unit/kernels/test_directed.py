"""Vector operations that round down: by the processor and without it, against exact fractions."""

from fractions import Fraction

import numba as nb
import numpy as np
import pytest
from numba import types
from numba.extending import intrinsic

from deephochuli.kernels import _cpu_directed as directed
from deephochuli.kernels._cpu_emit import LANES, VF, load, store


def compiled(name):
    """A function of four addresses: of three operands, and of the result."""

    @intrinsic
    def form(typing_context, x, y, z, out):
        def generate(context, builder, signature, arguments):
            values = [load(builder, each, VF, 0) for each in arguments[:3]]
            if name == "added_down":
                values = values[:2]
            store(builder, getattr(directed, name)(builder, *values), arguments[3], 0)
            return context.get_dummy_value()

        return types.void(*[types.uint64] * 4), generate

    def run(x, y, z, out):
        form(x, y, z, out)

    function = nb.cfunc(types.void(*[types.uint64] * 4))(run)

    def call(*operands):
        out = np.empty(LANES, np.float32)
        function.ctypes(*[each.ctypes.data for each in operands], out.ctypes.data)
        return out

    return call


def largest_below(exact):
    """The largest binary32 number that is not above a fraction."""
    near = np.float32(float(exact))
    while Fraction(float(near)) > exact:
        near = np.nextafter(near, np.float32(-np.inf))
    while Fraction(float(np.nextafter(near, np.float32(np.inf)))) <= exact:
        near = np.nextafter(near, np.float32(np.inf))
    return near


@pytest.mark.parametrize("by_processor", [True, False])
@pytest.mark.parametrize("name", ["added_down", "fma_down"])
def test_against_fractions(name, by_processor, monkeypatch):
    if by_processor and not directed.can_round_down():
        pytest.skip("instructions of this processor take no direction")
    monkeypatch.setattr(directed, "can_round_down", lambda: by_processor)
    call, rng = compiled(name), np.random.default_rng(0)
    for gap in (0, 1, 12, 24, 25, 40):
        x, z = (rng.standard_normal(LANES).astype(np.float32) for _ in range(2))
        x = np.trunc(x * 2.0**11).astype(np.float32)
        y = np.exp2(rng.integers(-3, 4, LANES)).astype(np.float32)
        z = np.where(rng.random(LANES) < 0.3, -np.exp2(np.round(z)), z) * np.float32(2.0**gap)
        z = z.astype(np.float32)
        z[0] = -x[0] * (y[0] if name == "fma_down" else 1)
        first, second = (x, z) if name == "added_down" else (x, y)
        got = call(first, second, z)
        for i, value in enumerate(got):
            product = Fraction(float(x[i])) * (Fraction(float(y[i])) if name == "fma_down" else 1)
            assert value == largest_below(product + Fraction(float(z[i])))
