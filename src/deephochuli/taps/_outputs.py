"""The tensors in what a module returns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Final, TypeGuard, cast

from torch import Tensor

_MAX_DEPTH: Final = 4


def is_real(value: object) -> TypeGuard[Tensor]:
    """Say whether something is a tensor of real floating-point numbers."""
    return isinstance(value, Tensor) and value.is_floating_point()


def first_of(value: object) -> object:
    """Return the first part of a tuple (attention returns its weights as well), or the value."""
    if isinstance(value, tuple):
        parts = cast(tuple[object, ...], value)
        return parts[0] if parts else None
    return value


def tensors_in(value: object, suffix: str = "", depth: int = 0) -> Iterator[tuple[str, Tensor]]:
    """Yield the real tensors in a module's output, each with the way to it.

    Tuples and lists give ``[0]``, mappings and dataclasses ``.logits``; a tensor alone gives
    the empty suffix.
    """
    if is_real(value):
        yield suffix, value
    elif depth < _MAX_DEPTH:
        for step, part in _parts(value):
            yield from tensors_in(part, suffix + step, depth + 1)


def _parts(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        for key, part in cast(Mapping[object, object], value).items():
            yield f".{key}", part
    elif isinstance(value, tuple | list):
        for index, part in enumerate(cast(Sequence[object], value)):
            yield f"[{index}]", part
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield f".{field.name}", getattr(value, field.name)
