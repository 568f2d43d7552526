"""An arithmetic: in which formats numbers are kept, multiplied and added."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from deephochuli.arithmetic._sums import SumKind, Sums
from deephochuli.errors import ArithmeticSpecError, near_matches
from deephochuli.formats import BINARY32, BINARY64, Format, Rounding

Confidence = Literal["high", "medium", "low", "unknown"]
"""How well it is known that a machine computes as its arithmetic says."""

_LEVELS = get_args(Confidence)
_NATIVE = Sums()


@dataclass(frozen=True, slots=True, kw_only=True)
class Arithmetic:
    """In which formats numbers are kept, multiplied and added.

    Attributes:
        name: Name in tables, messages and `get_arithmetic`.
        inputs: Format that the operands of products are rounded to; None: they stay as they are.
        input_rounding: How they are.
        gradient_inputs: Format of the gradient that enters the backward products; None: `inputs`.
        sums: How products are added up.
        output: Format that the result of a product is rounded to; None: it stays as it is.
        backward: Arithmetic of the two backward products; None: this one.
        weights: Format that weights are kept in; None: left alone, as for the three that follow.
        activations: Format of results of all operations of the forward pass.
        gradients: Format of results of all operations of the backward pass.
        optimizer: Format of weights and optimizer states after a step.
        rounding: How `output` and the four before are rounded.
        source: Where it is described.
        confidence: How well it is known that the machine named computes like this; "high" for what
            is no machine but a definition.
        description: One line for tables.

    Raises:
        ArithmeticSpecError: The attributes contradict each other; says which and why.

    Example:
        >>> from dataclasses import replace
        >>> from deephochuli.arithmetic import get_arithmetic
        >>> from deephochuli.formats import BFLOAT16
        >>> mine = replace(get_arithmetic("fp32"), name="mine", activations=BFLOAT16)
        >>> mine.activations.name
        'bf16'
    """

    name: str
    inputs: Format | None = None
    input_rounding: Rounding | str = Rounding.NEAREST_EVEN
    gradient_inputs: Format | None = None
    sums: Sums = _NATIVE
    output: Format | None = None
    backward: Arithmetic | None = None
    weights: Format | None = None
    activations: Format | None = None
    gradients: Format | None = None
    optimizer: Format | None = None
    rounding: Rounding | str = Rounding.NEAREST_EVEN
    source: str = ""
    confidence: Confidence = "high"
    description: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "input_rounding", Rounding(self.input_rounding))
        object.__setattr__(self, "rounding", Rounding(self.rounding))
        _check(self)

    def __str__(self) -> str:
        return self.name

    @property
    def carrier(self) -> Format:
        """Format that holds operands and results of products: binary32 or binary64."""
        return BINARY64 if self.sums.format == BINARY64 else BINARY32


def _check(it: Arithmetic) -> None:
    if not it.name:
        raise ArithmeticSpecError("An arithmetic needs a name that is not empty.")
    if it.confidence not in _LEVELS:
        raise _fault(it, f"confidence={it.confidence!r}. {near_matches(it.confidence, _LEVELS)}")
    if it.input_rounding is Rounding.STOCHASTIC:
        raise _fault(it, "operands cannot be rounded stochastically; storage formats can")
    if it.backward is not None and it.backward.backward is not None:
        raise _fault(it, "its backward arithmetic has a backward arithmetic of its own")
    for fmt in (it.inputs, it.gradient_inputs):
        _check_inputs(it, fmt)


def _check_inputs(it: Arithmetic, fmt: Format | None) -> None:
    """Emulated sums need operands whose product is exact in binary64."""
    if it.sums.kind in (SumKind.NATIVE, SumKind.EXACT) or it.sums.format == BINARY64:
        return
    if it.inputs is None:
        raise _fault(
            it,
            f"sums of kind {it.sums.kind} in {it.sums.format.name} need a format of the inputs, "
            "for instance inputs=BINARY32",
        )
    if fmt is None:
        return
    if fmt.precision > BINARY32.precision or fmt.emin < BINARY32.emin or fmt.emax > BINARY32.emax:
        raise _fault(it, f"inputs={fmt.name} do not fit into fp32, as such sums need")


def _fault(it: Arithmetic, what: str) -> ArithmeticSpecError:
    return ArithmeticSpecError(f"Arithmetic {it.name!r} is contradictory: {what}.")
