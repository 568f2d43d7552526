"""The schema, the file that init writes, and the options of all commands say the same.

When this fails after a change of a command: add the option to its table in
src/deephochuli/config/_schema.py, or to `LINE_ONLY` below with the reason.
"""

import inspect
import tomllib
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
import typer

from deephochuli.cli._app import COMMANDS, app
from deephochuli.cli._configured import parameter_names
from deephochuli.config import config_schema, config_text
from deephochuli.config._schema import SHARED, Settings
from deephochuli.record import record

LINE_ONLY = {
    ("study", "list"): "prints a list in place of doing anything",
}
"""Options that no file holds, with the reason. `-m` of run says what SCRIPT is: no setting."""
NO_TABLE = {"init": "writes the file"}
NO_COMMAND = {"record", "auto"}
"""Tables of what is done in Python."""
PYTHON_ONLY = {"resume", "ranks", "extra"}
"""Settings of the table record that are arguments of `record` and no options of run."""
NOT_IN_FILE = {"model", "optimizer", "config", "follow"}
"""Arguments of `record` that are objects of the program."""

GROUP: Any = typer.main.get_command(app)
NAMES = sorted(set(COMMANDS) - NO_TABLE.keys())


def fields(table: str) -> dict[str, Any]:
    model: Any = Settings.model_fields[table].annotation
    return {field.alias or name: field for name, field in model.model_fields.items()}


def settings(command: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for table in (*SHARED.get(command, ()), command):
        found |= fields(table)
    return found


def plain(value: Any) -> Any:
    """A default of an option, as a file would write it."""
    if value is None or value in ((), []):
        return None
    if isinstance(value, tuple | list):
        return [plain(each) for each in value]
    if isinstance(value, Enum):
        return value.value
    return str(value) if isinstance(value, Path) else value


def test_every_command_has_a_table_and_every_table_a_command():
    missing = [name for name in NAMES if name not in Settings.model_fields]
    assert not missing, f"add a table to Settings in config/_schema.py for: {missing}"
    assert set(Settings.model_fields) - NO_COMMAND == set(NAMES)


@pytest.mark.parametrize("command", NAMES)
def test_every_option_is_a_setting(command):
    options = parameter_names(GROUP.commands[command]).keys() - {"config", "help"}
    options -= {name for each, name in LINE_ONLY if each == command}
    missing = sorted(options - settings(command).keys())
    assert not missing, (
        f"deephochuli {command} has options that no file can set: {missing}. Add a field for each "
        f"to the class of [{command}] in config/_schema.py, or a reason to LINE_ONLY here."
    )


@pytest.mark.parametrize("command", NAMES)
def test_every_setting_is_an_option_with_the_same_default(command):
    by_setting = parameter_names(GROUP.commands[command])
    by_name = {each.name: each for each in GROUP.commands[command].params}
    for name, field in settings(command).items():
        if command == "run" and name in PYTHON_ONLY:
            continue
        assert name in by_setting, f"[{command}] {name} is no option of deephochuli {command}"
        default = field.get_default(call_default_factory=True)
        option = by_name[by_setting[name]]
        expected = str(default) if name == "watch_steps" else plain(default)
        assert plain(option.default) == expected, f"[{command}] {name}: another default"


def test_every_argument_of_record_is_a_setting():
    arguments = set(inspect.signature(record).parameters) - NOT_IN_FILE
    assert arguments <= fields("record").keys()


def test_the_written_file_says_nothing_until_something_is_uncommented():
    assert all(not table for table in tomllib.loads(config_text()).values())


def test_the_written_file_holds_every_setting_with_its_default():
    uncommented = "\n".join(
        line[1:] if line.startswith("#") and not line.startswith("# ") else line
        for line in config_text().splitlines()
    )
    data = tomllib.loads(uncommented)
    read = Settings.model_validate(data)
    assert list(data) == list(Settings.model_fields)
    for table in data:
        assert list(data[table]) == list(fields(table)), table
        for name, field in fields(table).items():
            default = field.get_default(call_default_factory=True)
            if default not in (None, [], {}):
                assert data[table][name] == default, f"[{table}] {name}"
    assert read.compare.as_ == "native"  # an example, where there is no default


def test_every_setting_is_described():
    bare = [f"[{t}] {n}" for t in Settings.model_fields for n, f in fields(t).items()
            if not f.description]  # fmt: skip
    assert not bare


def test_the_schema_for_editors_refuses_what_reading_refuses():
    schema = config_schema()
    assert schema["additionalProperties"] is False
    assert set(schema["properties"]) == set(Settings.model_fields)
    tables = schema["$defs"]
    assert all(tables[name]["additionalProperties"] is False for name in ("Record", "Report"))
    assert tables["Compare"]["properties"]["as"]["examples"] == ["native"]
