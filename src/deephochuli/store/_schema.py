"""What the files of a run folder hold: one table of columns, and the Parquet schemas made of it.

`TAP_COLUMNS` and `STEP_COLUMNS` are the only place where a column is defined: name, type, unit,
meaning, and how values of several steps become one (``merge``). A row of taps.parquet holds the
numbers of one tap in one recorded step, the same row of sketches.parquet its lists;
rollup.parquet has the columns of both, merged over the steps of its chunk.
"""

# pyarrow ships no type stubs, so that everything it returns is unknown to the checker.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa

SCHEMA_VERSION = 2
"""Version of the run folder; a reader refuses a higher one, and migrates lower ones."""

Kind = Literal["text", "i2", "u2", "i4", "i8", "f8", "bool"]
Merge = Literal["same", "first", "sum", "fsum", "least", "greatest", "keys", "lanes", "derived"]

ElementType: TypeAlias = type[np.generic]

NUMPY_TYPES: dict[str, ElementType] = {
    "i2": np.int16,
    "u2": np.uint16,
    "i4": np.int32,
    "i8": np.int64,
    "f8": np.float64,
    "bool": np.bool_,
}
_ARROW_TYPES: dict[str, Any] = {
    "text": pa.dictionary(pa.int32(), pa.string()),
    "i2": pa.int16(),
    "u2": pa.uint16(),
    "i4": pa.int32(),
    "i8": pa.int64(),
    "f8": pa.float64(),
    "bool": pa.bool_(),
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a file of a run.

    Attributes:
        name: Name in the file.
        kind: Type of a value, or of an element if the column holds lists.
        unit: Unit of a value.
        meaning: What a value says.
        merge: How the values of several steps become one: ``same`` value or the word "mixed";
            the ``first``; ``sum`` of integers; ``fsum``, a correctly rounded sum of floats;
            ``least`` and ``greatest``, leaving out nan; ``keys`` of a histogram, with counts added
            key by key; ``lanes``, lists added element by element; ``derived`` anew.
        is_list: Each row holds a list.
        nullable: A row can have none.
    """

    name: str
    kind: Kind
    unit: str
    meaning: str
    merge: Merge
    is_list: bool = False
    nullable: bool = False

    @property
    def arrow_type(self) -> pa.DataType:
        """Type of the column in Parquet."""
        element = _ARROW_TYPES[self.kind]
        if not self.is_list:
            return element
        return pa.list_(pa.field("element", element, nullable=False))


def _list(name: str, kind: Kind, meaning: str, merge: Merge, *, nullable: bool) -> Column:
    return Column(name, kind, "elements", meaning, merge, is_list=True, nullable=nullable)


TAP_COLUMNS: tuple[Column, ...] = (
    Column("layer", "text", "", "place in the model, as its path", "first"),
    Column("quantity", "text", "", "z, a, dz, da, w, g, dw or state:NAME", "first"),
    Column("module", "text", "", "path of the module that holds the tensor", "first"),
    Column("module_type", "text", "", "class of that module", "first"),
    Column("role", "text", "", "kind of the activation, or name of the parameter", "first"),
    Column("dtype", "text", "", "dtype of the tensor; 'mixed' if it changed", "same"),
    Column("order", "i4", "", "place in the order of execution", "first"),
    Column("calls", "i4", "calls", "how often the place was passed", "sum"),
    Column("n", "i8", "elements", "all elements", "sum"),
    Column("n_zero", "i8", "elements", "+0 and -0", "sum"),
    Column("n_subnormal", "i8", "elements", "subnormal in the dtype of the tensor", "sum"),
    Column("n_inf", "i8", "elements", "+inf and -inf", "sum"),
    Column("n_nan", "i8", "elements", "nan", "sum"),
    Column("sum", "f8", "value", "sum of the finite elements", "fsum"),
    Column("sum_sq", "f8", "value^2", "sum of their squares", "fsum"),
    Column("min_abs", "f8", "value", "least nonzero finite magnitude", "least", nullable=True),
    Column("max_abs", "f8", "value", "greatest finite magnitude", "greatest", nullable=True),
    _list("key", "u2", "leading-bit keys, increasing", "keys", nullable=False),
    _list("count", "i8", "elements that have the key", "keys", nullable=False),
    _list("positive", "i8", "per channel: finite, > 0", "lanes", nullable=True),
    _list("zero", "i8", "per channel: +0 and -0", "lanes", nullable=True),
    _list("nonfinite", "i8", "per channel: inf and nan", "lanes", nullable=True),
    Column("n_per_channel", "i8", "elements", "elements of one channel", "sum", nullable=True),
    Column("n_channels", "i4", "channels", "channels counted", "derived", nullable=True),
    Column(
        "n_silent_channels", "i4", "channels", "channels without an element > 0", "derived",
        nullable=True,
    ),
    Column(
        "n_updatable", "i8", "elements", "dw: gradient != 0 and learning rate != 0", "sum",
        nullable=True,
    ),
    Column(
        "n_unmoved", "i8", "elements", "dw: updatable, stored bits unchanged", "sum", nullable=True
    ),
    _list("ratio", "i2", "dw: floor(log2|dw|) - floor(log2|w|)", "keys", nullable=True),
    _list("ratio_count", "i8", "dw: moved elements with w != 0", "keys", nullable=True),
)  # fmt: skip
"""Columns of what is known of a tap; rollup.parquet has them all."""

STEP = Column("step", "i8", "steps", "optimizer step, from 0", "first")
SPAN_COLUMNS: tuple[Column, ...] = (
    Column("step_first", "i8", "steps", "first recorded step that is merged here", "first"),
    Column("step_last", "i8", "steps", "last one", "first"),
    Column("n_steps", "i8", "steps", "how many recorded steps are merged here", "sum"),
)

STEP_COLUMNS: tuple[Column, ...] = (
    STEP,
    Column("wall_s", "f8", "s", "time since the recording began", "first"),
    Column("loss", "f8", "value", "loss, if it was told; can be nan", "first", nullable=True),
    Column("loss_scale", "f8", "factor", "scale of the loss, if any", "first", nullable=True),
    Column("skipped", "bool", "", "the optimizer left this step out", "first"),
    Column("lr", "f8", "", "learning rate of the first group", "first", nullable=True),
    Column("n_micro_batches", "i4", "batches", "backward passes in the step", "first"),
)
"""Columns of steps.parquet."""

HISTOGRAMS: dict[str, str] = {"key": "count", "ratio": "ratio_count"}
"""Columns of keys, each with its column of counts."""

LISTS = frozenset(column.name for column in TAP_COLUMNS if column.is_list)
"""Columns of lists."""

# What lists must agree with stands beside them, so that each file can be checked by itself.
_BESIDE_LISTS = ("layer", "quantity", "n", "n_per_channel")

FILES: dict[str, tuple[Column, ...]] = {
    "taps": (STEP, *(c for c in TAP_COLUMNS if not c.is_list)),
    "sketches": (STEP, *(c for c in TAP_COLUMNS if c.is_list or c.name in _BESIDE_LISTS)),
    "rollup": (*SPAN_COLUMNS, *TAP_COLUMNS),
    "steps": STEP_COLUMNS,
}
"""Columns of each file of a chunk, by the name of the file without its suffix."""


def arrow_schema(file: str, metadata: dict[str, str] | None = None) -> pa.Schema:
    """Parquet schema of a file of a chunk, with its schema version in the metadata."""
    fields = [pa.field(c.name, c.arrow_type, nullable=c.nullable) for c in FILES[file]]
    about = {"deephochuli.schema_version": str(SCHEMA_VERSION), "deephochuli.file": file}
    return pa.schema(fields, metadata=about | (metadata or {}))


def leaf_of(column: Column) -> str:
    """Path of the values of a column in Parquet."""
    return f"{column.name}.list.element" if column.is_list else column.name


def merged_by(*rules: Merge, columns: Iterable[Column] = TAP_COLUMNS) -> list[Column]:
    """Columns that merge by one of these rules."""
    return [column for column in columns if column.merge in rules]
