"""On which line of a TOML text a setting stands, which the parser of TOML does not tell."""

from __future__ import annotations

import re
from typing import Final

Path = tuple[str, ...]

_KEY: Final = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_DOTTED: Final = rf"{_KEY}(?:\s*\.\s*{_KEY})*"
_HEADER: Final = re.compile(rf"\s*\[\[?\s*({_DOTTED})\s*\]")
_SETTING: Final = re.compile(rf"\s*({_DOTTED})\s*=")
_FENCES: Final = ('"""', "'''")


def lines_of(text: str) -> dict[Path, int]:
    """Line, from 1, of each table and each key of a TOML text that begins a line.

    Keys inside of inline tables have no line of their own.

    Example:
        >>> lines_of(chr(10).join(["[record]", "every = 10", "watch.steps = 2"]))
        {('record',): 1, ('record', 'every'): 2, ('record', 'watch', 'steps'): 3}
    """
    found: dict[Path, int] = {}
    table: Path = ()
    fence = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if fence:
            fence = "" if fence in line else fence
            continue
        if header := _HEADER.match(line):
            table = _parts(header[1])
            found.setdefault(table, number)
        elif setting := _SETTING.match(line):
            found.setdefault((*table, *_parts(setting[1])), number)
            fence = _opened(line[setting.end() :])
    return found


def _parts(dotted: str) -> Path:
    """Keys of a dotted name, without quotes."""
    return tuple(part.strip("\"'") for part in re.findall(_KEY, dotted))


def _opened(value: str) -> str:
    """The kind of quotes that a value of several lines ends with; "" when it ends on this line."""
    for fence in _FENCES:
        if value.lstrip().startswith(fence) and value.count(fence) == 1:
            return fence
    return ""
