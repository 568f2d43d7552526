"""How commands print: tables for people, JSON for machines."""

from __future__ import annotations

import json
import math
import shutil
import sys
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"

WIDTH_WHEN_PIPED: Final = 160


def console() -> Console:
    """Console on standard output; a pipe or a file gets wide lines instead of cut cells."""
    from rich.console import Console

    is_terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if is_terminal else WIDTH_WHEN_PIPED
    return Console(width=width, highlight=False)


def shown(name: str) -> Text:
    """A name that others gave, as plain text: no markup, and no control code reaches a terminal."""
    from rich.text import Text

    return Text(
        "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)
    )


def print_json(value: Json) -> None:
    """Print one JSON document; numbers that JSON does not know become null or text."""
    sys.stdout.write(json.dumps(_plain(value), indent=2, ensure_ascii=False) + "\n")


def _plain(value: Json) -> Json:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value
