"""How likely a ReLU network is dead before any training: closed forms.

A network is *born dead* when some hidden layer is zero on all inputs, so that the output is a
constant. The forms hold for fully connected networks whose weights are drawn independently from a
continuous symmetric law.
"""

from __future__ import annotations

from dataclasses import dataclass

from deephochuli.errors import StudyError


@dataclass(frozen=True, slots=True)
class BornDead:
    """What is known about the probability that a network is born dead.

    Attributes:
        low: Lower bound of Lu et al.
        high: Upper bound of Lu et al.: the probability that one given input dies.
    """

    low: float
    high: float


def born_dead(width: int, depth: int) -> BornDead:
    """Bounds on the probability that a network of one input, without biases, is born dead.

    Args:
        width: N, units of every hidden layer.
        depth: L, layers with the output layer, so that L - 1 are hidden; at least 2.

    Raises:
        StudyError: There is no unit, or no hidden layer.

    Numerics:
        With a1 = 1 - 2^-N and a2 = 1 - 2^(1-N) - (N-1) 4^-N:
        low = 1 - a1^(L-2) + (1 - 2^(1-N)) (1 - 2^-N) / (1 + (N-1) 2^-N) (a2^(L-2) - a1^(L-2)) and
        high = 1 - a1^(L-1) (Lu, Shin, Su, Karniadakis, "Dying ReLU and initialization", 2019).
        The upper bound is the exact probability for a single input: each of its L - 1 hidden
        layers leaves it with probability a1.
        The lower bound is exact for L = 3, and for N = 1. In float64.

    Example:
        >>> bounds = born_dead(2, 5)
        >>> round(bounds.low, 3), round(bounds.high, 3)
        (0.477, 0.684)
    """
    if width < 1 or depth < 2:
        raise StudyError(
            f"A network of width {width} and {depth} layers: expected at least one unit and two "
            "layers, the output layer included."
        )
    half = 2.0**-width
    a1 = 1 - half
    a2 = 1 - 2 * half - (width - 1) * half**2
    survives, both = a1 ** (depth - 2), a2 ** (depth - 2)
    factor = (1 - 2 * half) * (1 - half) / (1 + (width - 1) * half)
    return BornDead(
        low=1 - survives + factor * (both - survives),
        high=1 - survives * a1,
    )


def stably_inactive(n_inputs: int, n_units: int) -> float:
    """Probability that a unit of the second layer is inactive on all of the input space.

    Weights and biases are drawn independently from continuous laws symmetric about zero.

    Args:
        n_inputs: n0, inputs of the network.
        n_units: n1, units of the first layer; from 1 to n0 + 1.

    Raises:
        StudyError: No closed form is known for so many units.

    Numerics:
        2^-(n1+1) for n1 <= n0: the first layer reaches the whole orthant, so all n1 weights and
        the bias must be negative. (2^n0 + 1) / 4^(n0+1) for n1 = n0 + 1. Brownlowe et al.,
        arXiv 2412.06829. In float64.

    Example:
        >>> stably_inactive(2, 2), stably_inactive(1, 2)
        (0.125, 0.1875)
    """
    if not 1 <= n_units <= n_inputs + 1:
        raise StudyError(
            f"No closed form for {n_units} units on {n_inputs} inputs: expected 1 to "
            f"{n_inputs + 1} units. Simulate instead: see the study dying-relu."
        )
    if n_units == n_inputs + 1:
        return (2.0**n_inputs + 1) / 4.0 ** (n_inputs + 1)
    return 2.0 ** -(n_units + 1)
