"""Reading a configuration file: all that is wrong with it at once, each with its line."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from deephochuli.config._lines import lines_of
from deephochuli.config._values import as_schedule, names_code
from deephochuli.errors import ConfigError, near_matches

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from deephochuli.config._schema import Settings

CONFIG_NAME: Final = "deephochuli.toml"
MOST_BYTES: Final = 1 << 20
_SHOWN: Final = 60


@dataclass(frozen=True, slots=True)
class Config:
    """What a configuration file says.

    Attributes:
        path: The file.
        tables: The settings that stand in it, by table and name; defaults are not among them.
        settings: The same with the defaults of everything else.
    """

    path: Path
    tables: Mapping[str, Mapping[str, Any]]
    settings: Settings

    def of_command(self, command: str) -> dict[str, Any]:
        """The settings that stand in the file for a command, by name of its options."""
        from deephochuli.config._schema import SHARED, STEPS

        found: dict[str, Any] = {}
        for table in SHARED.get(command, ()):
            said = self.tables.get(table, {})
            found |= {n: as_schedule(v) if n in STEPS else v for n, v in said.items()}
        return found | dict(self.tables.get(command, {}))


def find_config(folder: Path | None = None) -> Path | None:
    """The configuration file of a folder, of the working folder by default; None without one."""
    path = (folder or Path()) / CONFIG_NAME
    return path if path.is_file() else None


def read_config(path: str | os.PathLike[str] = CONFIG_NAME, *, is_trusted: bool = True) -> Config:
    """Read and check a configuration file. Nothing in it is run or imported.

    Args:
        path: The file.
        is_trusted: Whether somebody named the file. In a file that only was found, values that
            would be imported and called, as names of models can be, are refused.

    Raises:
        ConfigError: It is missing, is no TOML, or says what cannot be; names every fault.
    """
    file = Path(path)
    text = _text_of(file)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file} is no TOML: {error}. See https://toml.io.") from None
    except RecursionError:
        raise ConfigError(f"{file} is no configuration: its values are nested too deep.") from None
    return _checked(file, text, data, is_trusted=is_trusted)


def _text_of(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            found = opened.read(MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            f"{file} cannot be read: {error.strerror or error}. Write one with: deephochuli init"
        ) from error
    if len(found) > MOST_BYTES:
        raise ConfigError(f"{file} is no configuration: it has more than {MOST_BYTES:,} bytes.")
    try:
        return found.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is no TOML: it is not UTF-8 ({error.reason}).") from None


def _checked(file: Path, text: str, data: dict[str, Any], *, is_trusted: bool) -> Config:
    from pydantic import ValidationError

    from deephochuli.config._schema import Settings

    lines = lines_of(text)
    try:
        settings = Settings.model_validate(data)
    except ValidationError as error:
        faults = _faults(error.errors(include_url=False), data)
        raise _refusal(file, lines, faults) from None
    tables = cast(
        "dict[str, dict[str, Any]]", settings.model_dump(by_alias=True, exclude_unset=True)
    )
    if not is_trusted and (imports := _imports(tables)):
        raise _refusal(file, lines, imports)
    return Config(file, tables, settings)


Fault = tuple[tuple[str, ...], str]
"""Where it is, as table and name, and what is wrong."""


def _refusal(file: Path, lines: Mapping[tuple[str, ...], int], faults: list[Fault]) -> ConfigError:
    """All that is wrong, in the order of the file."""
    told = sorted(((_line(lines, place), place, text) for place, text in faults))
    said = [f"  {_where(line, place)}: {text}" for line, place, text in told]
    head = "1 fault" if len(said) == 1 else f"{len(said)} faults"
    return ConfigError("\n".join([f"{file} cannot be used: {head}.", *said]))


def _line(lines: Mapping[tuple[str, ...], int], place: tuple[str, ...]) -> int:
    """Line of a setting, or of what it stands in; 0 when it cannot be told."""
    ends = (place[:n] for n in range(len(place), 0, -1))
    return next((lines[end] for end in ends if end in lines), 0)


def _where(line: int, place: tuple[str, ...]) -> str:
    name = f"[{place[0]}]" + (f" {'.'.join(place[1:])}" if len(place) > 1 else "")
    return f"line {line}, {name}" if line else name


def _faults(errors: Iterable[ErrorDetails], data: Mapping[str, Any]) -> list[Fault]:
    """One fault for each setting, however many ways there were of it being right."""
    found: dict[tuple[str, ...], str] = {}
    for error in errors:
        place = tuple(map(str, error["loc"][:2]))
        found.setdefault(place, _told(place, error["type"], data))
    return list(found.items())


def _told(place: tuple[str, ...], kind: str, data: Mapping[str, Any]) -> str:
    from deephochuli.config._schema import Settings

    tables = Settings.model_fields
    if place[0] not in tables:
        return f"no such table. {near_matches(place[0], tables)}"
    if len(place) == 1:
        return f"got {_shown(data[place[0]])}; expected a table, as after a line [{place[0]}]."
    properties = _properties(place[0])
    if place[1] not in properties:
        return f"no such setting. {near_matches(place[1], properties)}"
    value = data[place[0]][place[1]]
    return f"got {_shown(value)}; expected {_expected(properties[place[1]])}."


def _properties(table: str) -> dict[str, dict[str, Any]]:
    """What a table may hold, as JSON schema."""
    from deephochuli.config._schema import Settings

    model: Any = Settings.model_fields[table].annotation
    return model.model_json_schema(by_alias=True)["properties"]


def _shown(value: object) -> str:
    """A value and what it is in TOML."""
    text = repr(value).replace("True", "true").replace("False", "false")
    short = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    return f"{short} ({_kind(value)})"


def _kind(value: object) -> str:
    kinds: dict[type, str] = {
        bool: "true or false",
        int: "whole number",
        float: "number",
        str: "text",
        list: "list",
        dict: "table",
    }
    return kinds.get(type(value), type(value).__name__)


def _expected(schema: Mapping[str, Any]) -> str:
    """What a setting may be, in words.

    Example:
        >>> _expected({"anyOf": [{"type": "integer", "exclusiveMinimum": 0}, {"type": "null"}]})
        'a whole number above 0'
        >>> _expected({"type": "array", "items": {"enum": ["a", "b"]}})
        "a list of 'a' or 'b'"
    """
    if "x-expected" in schema:
        return str(schema["x-expected"])
    if "anyOf" in schema:
        return " or ".join(_expected(each) for each in schema["anyOf"] if each != {"type": "null"})
    if "enum" in schema or "const" in schema:
        return " or ".join(repr(each) for each in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"a list of {_expected(schema['items']).removeprefix('a ')}"
    return _EXPECTED.get(schema.get("type", ""), "another value") + _bounds(schema)


_EXPECTED: Final = {
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "a table",
}


def _bounds(schema: Mapping[str, Any]) -> str:
    words = {
        "exclusiveMinimum": "above",
        "minimum": "from",
        "maximum": "to",
    }
    return "".join(f" {word} {schema[key]}" for key, word in words.items() if key in schema)


def _imports(tables: Mapping[str, Mapping[str, Any]]) -> list[Fault]:
    """Settings of a file that nobody named that would run code."""
    return [
        (
            (table, name),
            f"{value!r} would be imported, or leads to another machine. This file was only found "
            "in the working folder; name it to allow that: --config FILE.",
        )
        for table, settings in tables.items()
        for name, value in settings.items()
        if _properties(table)[name].get("x-code") and any(map(names_code, _texts(value)))
    ]


def _texts(value: object) -> list[str]:
    values = cast("list[object]", value) if isinstance(value, list) else [value]
    return [each for each in values if isinstance(each, str)]
