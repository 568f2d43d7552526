"""Which layers and which quantities to look at."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final, cast

from torch import nn

from deephochuli.errors import TapError, near_matches
from deephochuli.taps._place import DEFAULT_QUANTITIES, QUANTITIES, STATE, Place

Pattern = str | type[nn.Module] | Callable[[Place], bool]

_REGEX: Final = "re:"


@dataclass(frozen=True, slots=True)
class Selection:
    """Which places to look at. With no arguments: every layer, all quantities but `da`.

    A pattern is one of:

    * a glob on the layer or on its module, ``"layer1.*"`` (``*`` also matches dots);
    * a regular expression that is searched for in either, ``"re:conv[12]"``;
    * a module class: its instances and everything inside them;
    * a function of a `Place`.

    Attributes:
        include: Only what matches one of these; everything when empty. One pattern or several.
        exclude: Not what matches one of these.
        quantities: Names out of `QUANTITIES`, or ``state:NAME`` for one part of the state.
        outputs: Whether to look at the outputs of layers with parameters and of the model too.
    """

    include: tuple[Pattern, ...] = ()
    exclude: tuple[Pattern, ...] = ()
    quantities: frozenset[str] = DEFAULT_QUANTITIES
    outputs: bool = False

    def __post_init__(self) -> None:
        for field in ("include", "exclude"):
            object.__setattr__(self, field, _as_patterns(field, getattr(self, field)))
        object.__setattr__(self, "quantities", _as_quantities(self.quantities))

    def wants(self, place: Place, modules: Sequence[nn.Module]) -> bool:
        """Say whether a place is looked at.

        Args:
            place: The place.
            modules: Its module and the modules around that, innermost first.
        """
        is_asked = not {place.quantity, place.quantity.partition(":")[0]}.isdisjoint(
            self.quantities
        )
        return (
            is_asked
            and (not self.include or any(_fits(p, place, modules) for p in self.include))
            and not any(_fits(p, place, modules) for p in self.exclude)
        )

    def check(self, names: Iterable[str], functional: Iterable[str], model: nn.Module) -> None:
        """Make sure that each pattern to include can match something.

        Args:
            names: Names of the model's modules and parameters.
            functional: Names that functional activations may turn out to have.
            model: The model, for patterns that are module classes.

        Raises:
            TapError: A pattern matches nothing.
        """
        if not self.include:
            return
        known = list(names)
        possible = [*known, *functional]
        modules = list(model.modules())
        for pattern in self.include:
            if isinstance(pattern, str) and not any(_matches(pattern, n) for n in possible):
                hint = _hint(pattern.removeprefix(_REGEX), known)
                raise TapError(
                    f"Selection {pattern!r} matches no layer of {type(model).__name__}. {hint}"
                )
            if isinstance(pattern, type) and not any(isinstance(m, pattern) for m in modules):
                hint = _hint(pattern.__name__, {type(module).__name__ for module in modules})
                raise TapError(
                    f"Selection {pattern.__name__} matches no module of {type(model).__name__}. "
                    f"{hint}"
                )


def _as_patterns(field: str, given: Any) -> tuple[Pattern, ...]:
    patterns: tuple[Any, ...] = (
        (given,) if isinstance(given, str) or callable(given) else tuple(given)
    )
    for pattern in patterns:
        if not (isinstance(pattern, str) or callable(pattern)):
            raise TapError(
                f"Cannot {field} {pattern!r}: expected a glob, 're:' and a regular expression, a "
                f"module class or a function of a Place, got {type(pattern).__name__}."
            )
        if isinstance(pattern, str) and pattern.startswith(_REGEX):
            _check_regex(pattern)
    return cast(tuple[Pattern, ...], patterns)


def _check_regex(pattern: str) -> None:
    try:
        re.compile(pattern.removeprefix(_REGEX))
    except re.error as error:
        raise TapError(f"Selection {pattern!r} is no regular expression: {error}.") from None


def _as_quantities(given: str | Iterable[str]) -> frozenset[str]:
    quantities = frozenset([given] if isinstance(given, str) else given)
    for quantity in sorted(quantities):
        if quantity not in QUANTITIES and not quantity.startswith(f"{STATE}:"):
            raise TapError(f"Unknown quantity {quantity!r}. {near_matches(quantity, QUANTITIES)}")
    if not quantities:
        raise TapError(f"No quantity to look at. {near_matches('', QUANTITIES)}")
    return quantities


def _hint(name: str, known: Iterable[str], limit: int = 10) -> str:
    """Name near matches, or the first known names when none is near."""
    names = sorted(known)
    hint = near_matches(name, names)
    if "Did you mean" in hint or len(names) <= limit:
        return hint
    return f"Known names: {', '.join(names[:limit])} and {len(names) - limit} more."


def _fits(pattern: Pattern, place: Place, modules: Sequence[nn.Module]) -> bool:
    if isinstance(pattern, str):
        names = (place.layer, place.layer.partition("#")[0], place.module)
        return any(_matches(pattern, name) for name in names)
    if isinstance(pattern, type):
        return any(isinstance(module, pattern) for module in modules)
    return bool(pattern(place))


def _matches(pattern: str, name: str) -> bool:
    if pattern.startswith(_REGEX):
        return re.search(pattern.removeprefix(_REGEX), name) is not None
    return fnmatchcase(name, pattern)
