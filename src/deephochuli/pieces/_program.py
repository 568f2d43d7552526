"""A module as a straight program: affine and piecewise linear steps on flattened rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from deephochuli.pieces._affine import Affine, Rows
from deephochuli.pieces._bends import Bend, Elementwise, Maximum


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One operation of a program.

    Attributes:
        layer: Path of the module that does it, with the name of the function if it is no module.
        op: What is done.
        inputs: Values it reads, by number.
        output: Value it makes, by number; no value is made twice.
    """

    layer: str
    op: Affine | Bend
    inputs: tuple[int, ...]
    output: int


@dataclass(frozen=True, eq=False)
class Program:
    """Steps in the order in which they can be done; value 0 is the input.

    Attributes:
        steps: The operations.
        shape: Shape of one input.
        output: Value that is the result.
        output_shape: Its shape.
    """

    steps: tuple[Step, ...]
    shape: tuple[int, ...]
    output: int
    output_shape: tuple[int, ...]

    @cached_property
    def layers(self) -> tuple[str, ...]:
        """Name of each step's place, by step."""
        return tuple(step.layer for step in self.steps)

    @cached_property
    def bending(self) -> tuple[int, ...]:
        """Numbers of the steps that are piecewise linear and not affine."""
        return tuple(i for i, step in enumerate(self.steps) if is_bend(step))

    @cached_property
    def bending_layers(self) -> tuple[str, ...]:
        """Name of the place of each of them."""
        return tuple(self.layers[i] for i in self.bending)

    @cached_property
    def numbers(self) -> NDArray[np.int32]:
        """For each step its number among those that bend; 0 for the others."""
        number = np.zeros(len(self.steps), dtype=np.int32)
        number[list(self.bending)] = np.arange(len(self.bending))
        return number

    @cached_property
    def n_units(self) -> int:
        """How many units can bend: entries of all piecewise linear steps."""
        return sum(step.op.size for step in self.steps if is_bend(step))

    @cached_property
    def widest(self) -> int:
        """The most numbers that a step has for each row."""
        ops = (step.op for step in self.steps)
        sizes = (op.index.size if isinstance(op, Maximum) else op.size for op in ops)
        return max(sizes, default=1)

    @cached_property
    def needed_after(self) -> tuple[frozenset[int], ...]:
        """For each step the values that later steps, or the result, still read."""
        needed = {self.output}
        found: list[frozenset[int]] = []
        for step in reversed(self.steps):
            found.append(frozenset(needed))
            needed = (needed - {step.output}) | set(step.inputs)
        return tuple(reversed(found))

    def run(self, x: Rows) -> Iterator[tuple[int, dict[int, Rows]]]:
        """Do the steps on rows, and yield after each its number and the values still needed."""
        values = {0: x}
        for i, step in enumerate(self.steps):
            values[step.output] = applied(step, [values[k] for k in step.inputs])
            values = {k: v for k, v in values.items() if k in self.needed_after[i]}
            yield i, values

    def evaluate(self, x: Rows) -> Rows:
        """The result for each row.

        Args:
            x: Shape (rows, numel of an input).

        Numerics:
            float64; each step rounds as torch's double-precision operator does.
        """
        last = {0: x}
        for _, values in self.run(x):
            last = values
        return last[self.output]


def is_bend(step: Step) -> bool:
    """Whether a step is piecewise linear and not affine."""
    return isinstance(step.op, Elementwise | Maximum)


def applied(step: Step, inputs: list[Rows]) -> Rows:
    """The output of a step."""
    if isinstance(step.op, Elementwise | Maximum):
        return step.op.apply(inputs[0])
    return np.ascontiguousarray(step.op.apply(inputs))
