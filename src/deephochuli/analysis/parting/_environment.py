"""What is different in how runs were made, by their manifests."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from deephochuli.store import Manifest

ABSENT: Final = "–"
CHANCE: Final = ("seed", "threads", "command", "schedule")
"""What may differ between replicates."""
_MOST_DTYPES: Final = 8


@dataclass(frozen=True, slots=True)
class Change:
    """One fact about runs that is not the same in all of them.

    Attributes:
        name: What it is, such as "version torch", "flag tf32_matmul", "dtype fc.weight".
        values: Its value in each run; "–" where a run does not tell.
    """

    name: str
    values: tuple[str, ...]


def changes(manifests: Sequence[Manifest]) -> tuple[Change, ...]:
    """Facts that differ between runs, in the order in which people ask for them."""
    facts = [facts_of(manifest) for manifest in manifests]
    names = dict.fromkeys(name for each in facts for name in each)
    found = [Change(name, tuple(each.get(name, ABSENT) for each in facts)) for name in names]
    return _fewer([change for change in found if len(set(change.values)) > 1])


def facts_of(manifest: Manifest) -> dict[str, str]:
    """What a manifest says about how a run was made, as short texts by name."""
    optimizer = manifest.optimizer
    groups = optimizer.groups if optimizer else []
    return {
        "model": manifest.model.class_name,
        "parameters": str(manifest.model.n_parameters),
        "optimizer": optimizer.class_name if optimizer else "none",
        **{
            f"{name} of group {index}": _text(value)
            for index, group in enumerate(groups)
            for name, value in group.items()
        },
        **{f"dtype {name}": dtype for name, dtype in manifest.dtypes.items()},
        **{f"flag {name}": _text(value) for name, value in manifest.flags.items()},
        "device": manifest.device,
        "platform": manifest.platform,
        **{f"version {name}": version for name, version in manifest.versions.items()},
        "threads": _text(manifest.n_threads),
        "seed": _text(manifest.seed),
        "command": " ".join(manifest.command),
        "schedule": manifest.schedule,
        "selection": manifest.selection,
        **{f"extra {name}": _text(value) for name, value in manifest.extra.items()},
    }


def are_replicates(one: Manifest, other: Manifest) -> bool:
    """Whether two runs differ by nothing but `CHANCE`, as far as their manifests tell."""
    mine, theirs = _configuration(facts_of(one)), _configuration(facts_of(other))
    return bool(one.model.class_name) and mine == theirs


def sums_are_alike(one: Manifest, other: Manifest) -> bool:
    """Whether sums of equal tensors are rounded alike in both: the same device kind and version."""
    kinds = {manifest.device.partition(":")[0] for manifest in (one, other)}
    versions = {manifest.versions.get("deephochuli") for manifest in (one, other)}
    return len(kinds) == 1 and len(versions) == 1


def _configuration(facts: Mapping[str, str]) -> dict[str, str]:
    left_out = (*CHANCE, "selection")
    return {
        name: value
        for name, value in facts.items()
        if name not in left_out and not name.startswith("extra ")
    }


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if value is None:
        return "unknown"
    return value if isinstance(value, str) else json.dumps(value)


def _fewer(found: list[Change]) -> tuple[Change, ...]:
    """Dtypes of many parameters that changed alike as one change."""
    dtypes = [change for change in found if change.name.startswith("dtype ")]
    if len(dtypes) <= _MOST_DTYPES:
        return tuple(found)
    counts = Counter(change.values for change in dtypes)
    joined = [Change(f"dtype of {n} parameters", values) for values, n in counts.most_common()]
    first = found.index(dtypes[0])
    rest = [change for change in found if change not in dtypes]
    return (*rest[:first], *joined, *rest[first:])
