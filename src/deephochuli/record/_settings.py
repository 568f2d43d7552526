"""Recording by a configuration file: its table ``[record]`` as arguments of `record`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from deephochuli.config import AUTO, Config, read_config
from deephochuli.record._auto import is_chosen
from deephochuli.record._triggers import Watch
from deephochuli.taps import DEFAULT_QUANTITIES, Pattern, Selection, parse_schedule

Schedule = int | str | Iterable[int] | Callable[[int], bool]


def schedule_of(every: Schedule) -> Callable[[int], bool]:
    """A function of the step number; ``"auto"`` takes ever fewer steps.

    Raises:
        TapError: It chooses no steps.
    """
    return is_chosen if isinstance(every, str) and every == AUTO else parse_schedule(every)


def arguments_with(
    config: str | os.PathLike[str] | Config, given: Mapping[str, Any]
) -> dict[str, Any]:
    """Arguments of `record`: those that were given, then those of the file; None is not given.

    Raises:
        ConfigError: The file says what cannot be.
    """
    read = config if isinstance(config, Config) else read_config(config)
    said = arguments_of(read.tables.get("record", {}))
    return {**said, **{name: value for name, value in given.items() if value is not None}}


def arguments_of(table: Mapping[str, Any]) -> dict[str, Any]:
    """What a table ``[record]`` says, as arguments of `record`.

    Example:
        >>> arguments_of({"to": "runs/a", "every": 10, "select": ["fc*"], "watch_after": 2})
        {'to': 'runs/a', 'every': 10, 'select': ['fc*']}
        >>> arguments_of({"watch": ["swamped"], "watch_after": 2})
        {'watch': Watch(on=('swamped',), steps=1, before=8, after=2)}
    """
    same = ("to", "every", "max_bytes", "resume", "ranks", "extra")
    found = {name: table[name] for name in same if name in table}
    select = selection_of(
        table.get("select", ()),
        table.get("exclude", ()),
        table.get("quantity", ()),
        outputs=table.get("outputs", False),
    )
    watch = watch_of(
        table.get("watch", ()),
        table.get("watch_steps", 1),
        table.get("watch_before", 8),
        table.get("watch_after", 8),
    )
    found |= {} if select is None else {"select": select}
    return found | ({} if watch is None else {"watch": watch})


def selection_of(
    include: Sequence[str], exclude: Sequence[str], quantities: Sequence[str], *, outputs: bool
) -> Selection | list[Pattern] | None:
    """Which places to look at, as short as it can be said; None for all."""
    if exclude or quantities or outputs:
        chosen = frozenset(quantities) or DEFAULT_QUANTITIES
        return Selection(tuple(include), tuple(exclude), chosen, outputs)
    return list(include) or None


def watch_of(
    on: Sequence[str], steps: int | str | Iterable[int], before: int, after: int
) -> Watch | None:
    """What to watch for; None for nothing."""
    return Watch(tuple(on), steps, before, after) if on else None
