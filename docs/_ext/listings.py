"""Lists that follow from the package itself: its public names, and the help of its commands."""

from __future__ import annotations

import importlib
import inspect
import sys

from typer.testing import CliRunner


def names(package: str) -> str:
    """Every name of a package's `__all__`, as a table with links to where it is described."""
    module = importlib.import_module(package)
    rows = [_row(module.__name__, name, getattr(module, name)) for name in module.__all__]
    return "\n".join(["| Name | What it is |", "| --- | --- |", *rows])


def _row(package: str, name: str, value: object) -> str:
    doc = inspect.getdoc(value) if callable(value) or inspect.ismodule(value) else None
    first = (doc or "").split("\n\n")[0].replace("\n", " ").replace("|", "\\|")
    return f"| {{py:obj}}`{name} <{_home(package, name, value)}>` | {first} |"


def _home(package: str, name: str, value: object) -> str:
    """Name under which the reference describes a value: in the public part that exports it."""
    function = getattr(value, "_function", value)
    if inspect.ismodule(function):
        return function.__name__
    parts = [p for p in getattr(function, "__module__", package).split(".") if p[0] != "_"]
    called = getattr(function, "__name__", name)
    while len(parts) > 1:
        if hasattr(sys.modules.get(".".join(parts)), called):
            return ".".join([*parts, called])
        parts.pop()
    return f"{package}.{name}"


def commands(program: str) -> str:
    """What every command of the program prints for ``--help``."""
    from deephochuli.cli import COMMANDS

    texts = [_help([]), *(f"## {program} {name}\n\n" + _help([name]) for name in COMMANDS)]
    return "\n\n".join(texts)


def _help(words: list[str]) -> str:
    from deephochuli.cli import app

    shown = CliRunner().invoke(app, [*words, "--help"], terminal_width=96)
    if shown.exit_code:
        raise RuntimeError(f"{' '.join(words)} --help ended with {shown.exit_code}")
    return f"```text\n{shown.output.strip()}\n```"
