"""``--config FILE`` for every command: flags come first, then the file, then the defaults."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final, get_type_hints

import typer

from deephochuli.config import CONFIG_NAME, Config, find_config, read_config

NONE: Final = "none"
_PARAMETER: Final = "config"


def configured(command: Callable[..., None]) -> Callable[..., None]:
    """A command with the option ``--config`` added; the command itself knows nothing of it."""

    @functools.wraps(command)
    def called(**given: Any) -> None:
        given.pop(_PARAMETER)
        command(**given)

    # The parser asks a function for its signature and its annotations, and evaluates both.
    hints = get_type_hints(command, include_extras=True)
    signature = inspect.signature(command)
    parameters = [
        parameter.replace(annotation=hints[name])
        for name, parameter in signature.parameters.items()
    ]
    keyword = inspect.Parameter.KEYWORD_ONLY
    option = inspect.Parameter(_PARAMETER, keyword, default=None, annotation=_Option)
    wrapped: Any = called
    wrapped.__signature__ = signature.replace(parameters=[*parameters, option])
    wrapped.__annotations__ = {**hints, _PARAMETER: _Option}
    return called


def _take(context: typer.Context, path: str | None) -> str | None:
    """Let the file speak where the command line does not; it is read before other options."""
    if not context.resilient_parsing:
        config = _config(path)
        if config is not None:
            context.default_map = settings_of(context.command, context.info_name or "", config)
    return path


def _config(path: str | None) -> Config | None:
    if path is not None:
        return None if path == NONE else read_config(Path(path))
    found = find_config()
    return None if found is None else read_config(found, is_trusted=False)


def settings_of(command: Any, name: str, config: Config) -> dict[str, Any]:
    """What a file says for a command, by the names that the parser has for its options."""
    known = parameter_names(command)
    said = config.of_command(name)
    return {known[setting]: value for setting, value in said.items() if setting in known}


def parameter_names(command: Any) -> dict[str, str]:
    """Names of the settings of a command, each with the name that the parser has for it.

    A setting is called like the first long form of its option: ``--fail-on`` is ``fail_on``.
    """
    options = [each for each in command.params if each.param_type_name == "option"]
    return {
        long[0].removeprefix("--").replace("-", "_"): each.name
        for each in options
        if (long := [form for form in each.opts if form.startswith("--")])
    }


_Option: Final = Annotated[
    str | None,
    typer.Option(
        "--config",
        metavar="FILE",
        is_eager=True,
        callback=_take,
        help=f"Settings, as deephochuli init writes them; {CONFIG_NAME} in the working folder when "
        f"not given, {NONE!r} for no file.",
    ),
]
