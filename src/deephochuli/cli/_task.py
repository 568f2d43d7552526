"""The model, the batch, the loss and the optimizer that a user's callable returns."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from deephochuli.cli._model import built
from deephochuli.errors import CompareError, near_matches

if TYPE_CHECKING:
    from deephochuli.analysis.compare import Executor, Task

_FIELDS: Final = ("model", "batch", "loss", "optimizer")
_EXPECTED: Final = (
    "Expected 'module:callable' or 'path/to/file.py:callable' that returns (model, batch), or "
    "(model, batch, loss), or (model, batch, loss, optimizer), or a dict with these keys."
)
_DEVICE: Final = re.compile(r"[a-z]+:\d+")
"""The executors whose names hold a colon: "cuda:1"."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What is compared, as the user's callable returned it."""

    model: Any
    batch: Any
    loss: Any = None
    optimizer: Any = None

    def task(self, seed: int, max_bytes: int) -> Task:
        """The same for the analysis."""
        from deephochuli.analysis.compare import Task

        return Task(
            model=self.model,
            batch=self.batch,
            loss=self.loss,
            optimizer=self.optimizer,
            seed=seed,
            max_bytes=max_bytes,
        )


def parts_of(model: str) -> Parts:
    """Call what the user named and check what it returns.

    Raises:
        TapError: Nothing is there, or importing or calling it fails.
        CompareError: It returns something else than a model and a batch.
    """
    found = built(model, _EXPECTED)
    is_mapping = isinstance(found, Mapping)
    parts = _from_mapping(model, cast("object", found)) if is_mapping else _from_tuple(model, found)
    _check(model, parts)
    return parts


def _from_mapping(model: str, found: object) -> Parts:
    given = dict(cast("Mapping[str, Any]", found))
    for name in given:
        if name not in _FIELDS:
            known = near_matches(str(name), _FIELDS)
            raise CompareError(f"{model!r} returns a dict with the key {name!r}. {known}")
    missing = [name for name in ("model", "batch") if given.get(name) is None]
    if missing:
        raise CompareError(f"{model!r} returns a dict without {missing[0]!r}. {_EXPECTED}")
    return Parts(**given)


def _from_tuple(model: str, found: object) -> Parts:
    parts = tuple(cast("tuple[Any, ...]", found)) if isinstance(found, tuple) else (found,)
    if not 2 <= len(parts) <= len(_FIELDS):
        what = f"a tuple of {len(parts)}" if isinstance(found, tuple) else type(found).__name__
        raise CompareError(f"{model!r} returns {what}; a batch is needed too. {_EXPECTED}")
    return Parts(*parts)


def _check(model: str, parts: Parts) -> None:
    from torch import nn
    from torch.optim import Optimizer

    for name, value, kind, needed in (
        ("model", parts.model, nn.Module, "a torch.nn.Module"),
        ("optimizer", parts.optimizer, Optimizer, "a torch.optim.Optimizer"),
    ):
        if not isinstance(value, kind) and (name == "model" or value is not None):
            raise CompareError(
                f"{model!r} returns a {type(value).__name__} as {name}; it must be {needed}."
            )
    if parts.loss is not None and not callable(parts.loss):
        raise CompareError(
            f"{model!r} returns a {type(parts.loss).__name__} as loss; it must be a function of "
            "the model's output that returns a scalar tensor."
        )


def executor_named(name: str) -> Executor:
    """An execution by name; ``file.py:callable`` is another model with layers of the same names.

    Raises:
        ArithmeticSpecError: The name is unknown.
        CompareError: A device is not there.
    """
    from deephochuli.analysis.compare import executor_of, of_model

    if ":" not in name or _DEVICE.fullmatch(name):
        return executor_of(name)
    found = built(name, _EXPECTED_MODEL)
    parts = list(cast("tuple[Any, ...]", found)) if isinstance(found, tuple) else [found]
    if isinstance(found, Mapping):
        given = cast("Mapping[str, Any]", found)
        parts = [given.get("model"), given.get("optimizer")]
    return of_model(_model_in(name, parts), name, _optimizer_in(parts))


_EXPECTED_MODEL: Final = (
    "Expected an arithmetic, an executor such as 'native' or 'threads=1', or 'file.py:callable' "
    "that returns another model."
)


def _model_in(name: str, parts: list[Any]) -> Any:
    from torch import nn

    if not parts or not isinstance(parts[0], nn.Module):
        what = type(parts[0]).__name__ if parts else "nothing"
        raise CompareError(f"{name!r} returns {what}, which is no model. {_EXPECTED_MODEL}")
    return parts[0]


def _optimizer_in(parts: list[Any]) -> Any:
    from torch.optim import Optimizer

    return next((part for part in parts[1:] if isinstance(part, Optimizer)), None)
