"""Which place of one run is which place of another."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from deephochuli.analysis.parting._rows import Key, TapRows
from deephochuli.errors import CompareError, near_matches

WRAPPERS: Final = ("module.", "_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
"""What DataParallel, compilers and FSDP put before or into the names of layers."""
_ALIKE: Final = 0.5


@dataclass(frozen=True, slots=True)
class Unaligned:
    """A layer that only one of two runs has.

    Attributes:
        layer: Its name.
        quantities: What was recorded there.
        is_reference: Whether the reference has it.
        suggestion: A layer of the other run that may be the same, or "".
    """

    layer: str
    quantities: tuple[str, ...]
    is_reference: bool
    suggestion: str = ""


@dataclass(frozen=True, slots=True)
class Alignment:
    """Places of a reference and of another run.

    Attributes:
        keys: Place in the reference, and the same place in the other run.
        unaligned: Layers, or quantities of layers, that only one of them has.
    """

    keys: tuple[tuple[Key, Key], ...]
    unaligned: tuple[Unaligned, ...]


def renamed(layer: str, rename: Mapping[str, str]) -> str:
    """The name of a layer after the first renaming that fits.

    A renaming fits the layer itself and what lies in it; one that ends in a dot fits a beginning.

    Example:
        >>> renamed("module.fc1.weight", {"module.": ""}), renamed("fc1.weight", {"fc1": "input"})
        ('fc1.weight', 'input.weight')
        >>> renamed("fc10.weight", {"fc1": "input"})
        'fc10.weight'
    """
    for old, new in rename.items():
        if layer == old or (old.endswith(".") and layer.startswith(old)):
            return new + layer.removeprefix(old)
        if layer.startswith((f"{old}.", f"{old}#")):
            return new + layer.removeprefix(old)
    return layer


def align(
    reference: Mapping[Key, TapRows], other: Mapping[Key, TapRows], rename: Mapping[str, str]
) -> Alignment:
    """Align two runs by layer and quantity.

    Args:
        reference: Places of the reference.
        other: Places of the other run.
        rename: Names of layers in the other run, or beginnings of them, with their names in the
            reference.

    Raises:
        CompareError: A renaming fits no layer, or makes two layers of the other run the same.
    """
    _check(rename, {layer for layer, _ in other}, {layer for layer, _ in reference})
    by_name = {(renamed(layer, rename), quantity): (layer, quantity) for layer, quantity in other}
    if len(by_name) < len(other):
        names = Counter((renamed(layer, rename), quantity) for layer, quantity in other)
        layer, quantity = names.most_common(1)[0][0]
        raise CompareError(
            f"The renaming gives {layer!r} ({quantity}) to {names[layer, quantity]} layers of one "
            "run. Expected names that differ; rename fewer layers, or to other names."
        )
    keys = tuple((key, by_name[key]) for key in reference if key in by_name)
    return Alignment(keys, _unaligned(reference, other, keys))


def _check(rename: Mapping[str, str], layers: Iterable[str], known: Iterable[str]) -> None:
    names = sorted(layers)
    for old in rename:
        if not old:
            raise CompareError("A renaming needs the old name before the sign '=': OLD=NEW.")
        if all(renamed(name, {old: "\0"}) == name for name in names):
            raise CompareError(
                f"No layer of a compared run is called {old!r}, or begins with it. "
                f"{near_matches(old, names)} Renamings are OLD=NEW, with the name in the first run "
                f"as NEW, such as {next(iter(sorted(known)), 'fc')!r}."
            )


def _unaligned(
    reference: Mapping[Key, TapRows],
    other: Mapping[Key, TapRows],
    keys: tuple[tuple[Key, Key], ...],
) -> tuple[Unaligned, ...]:
    left = _by_layer(reference, {key for key, _ in keys})
    right = _by_layer(other, {key for _, key in keys})
    forward = _suggestions(left, right, reference, other)
    backward = {new: old for old, new in forward.items()}
    found = [Unaligned(n, q, True, forward.get(n, "")) for n, q in left.items()]
    return (*found, *(Unaligned(n, q, False, backward.get(n, "")) for n, q in right.items()))


def _by_layer(rows: Mapping[Key, TapRows], aligned: set[Key]) -> dict[str, tuple[str, ...]]:
    """Quantities that are left over, by layer, in the order of execution."""
    found: dict[str, tuple[str, ...]] = {}
    for layer, quantity in rows:
        if (layer, quantity) not in aligned:
            found[layer] = (*found.get(layer, ()), quantity)
    return found


def _suggestions(
    left: Mapping[str, tuple[str, ...]],
    right: Mapping[str, tuple[str, ...]],
    reference: Mapping[Key, TapRows],
    other: Mapping[Key, TapRows],
) -> dict[str, str]:
    """For layers of the reference a layer of the other run that may be the same; each once."""
    pairs = [
        (_likeness(a, b), a, b)
        for a, quantities in left.items()
        for b in right
        if quantities == right[b]
        and all(_size(reference[a, q]) == _size(other[b, q]) for q in quantities)
    ]
    found: dict[str, str] = {}
    for likeness, a, b in sorted(pairs, key=lambda pair: -pair[0]):
        if likeness >= _ALIKE and a not in found and b not in found.values():
            found[a] = b
    return found


def _likeness(a: str, b: str) -> float:
    """How alike two names are; 1 where they only differ by what wrappers add."""
    for wrapper in WRAPPERS:
        a, b = a.replace(wrapper, ""), b.replace(wrapper, "")
    return difflib.SequenceMatcher(None, a, b, autojunk=False).ratio()


def _size(rows: TapRows) -> tuple[str, int]:
    """Kind and number of elements of the first recorded tensor."""
    first = rows.counts[0] if len(rows.counts) else None
    return rows.info.role, 0 if first is None else int(first.sum())
