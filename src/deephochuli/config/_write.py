"""A configuration file of every setting with its default, and the schema for editors."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

WIDTH: Final = 92
_HEAD: Final = """\
# Settings of DeepHochuli. Each is also an option of the command that its table is named after:
# what the command line says comes first, then this file, then the defaults.
# Lines with '#' right before a name are defaults; remove the '#' to change one. Where there is no
# default, an example stands there and the comment says so.
# Paths are relative to the working folder. No line of this file is run.
"""


def config_text() -> str:
    """A file of all settings, commented out, with their defaults; made from the schema."""
    from deephochuli.config._schema import Settings

    parts = [_HEAD]
    for table, field in Settings.model_fields.items():
        model: Any = field.annotation
        about = (model.__doc__ or "").strip().replace("`", "")
        parts += ["", *_comment(about), f"[{table}]"]
        for name, each in _fields(model):
            parts += ["", *_described(each), f"#{name} = {in_toml(_value(each))}"]
    return "\n".join(parts) + "\n"


def config_schema() -> dict[str, Any]:
    """JSON schema of a configuration file, for editors that know TOML."""
    from deephochuli.config._schema import Settings

    schema = Settings.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _fields(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    """Fields by the names that they have in a file."""
    for name, field in model.model_fields.items():
        yield field.alias or name, field


def _described(field: FieldInfo) -> list[str]:
    text = _comment((field.description or "").replace("`", ""))
    return text if _has_default(field) else [*text, "# Not set by default; for example:"]


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="# ", subsequent_indent="# ")


def _has_default(field: FieldInfo) -> bool:
    """Whether the default is a value that a file can hold and that says something."""
    return field.get_default(call_default_factory=True) not in (None, [], {})


def _value(field: FieldInfo) -> object:
    """The default, or the example where there is none."""
    if _has_default(field):
        return field.get_default(call_default_factory=True)
    extra: Any = field.json_schema_extra
    return extra["examples"][0]


def in_toml(value: object) -> str:
    """A value as TOML writes it.

    Example:
        >>> in_toml([True, 1, 0.5, "a"]), in_toml({"team": "vision"})
        ('[true, 1, 0.5, "a"]', '{ "team" = "vision" }')
    """
    if isinstance(value, list):
        items = cast("list[object]", value)
        return f"[{', '.join(map(in_toml, items))}]"
    if isinstance(value, Mapping):
        pairs = cast("Mapping[str, object]", value)
        inner = ", ".join(f"{json.dumps(k)} = {in_toml(v)}" for k, v in pairs.items())
        return f"{{ {inner} }}"
    return json.dumps(value, ensure_ascii=False)  # texts, numbers, true and false are the same
