"""Lists that follow from the package itself: its public names, and the help of its commands."""

from __future__ import annotations

import functools
import importlib
import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import Final

from typer.testing import CliRunner

REFERENCE: Final = Path(__file__).resolve().parents[1] / "reference"
_MODULE: Final = re.compile(r"^\.\. automodule:: (\S+)$", re.MULTILINE)


def names(package: str) -> str:
    """Every name of a package's `__all__`, as a table with links to where it is described."""
    module = importlib.import_module(package)
    rows = [_row(module.__name__, name, getattr(module, name)) for name in module.__all__]
    return "\n".join(["| Name | What it is |", "| --- | --- |", *rows])


def _row(package: str, name: str, value: object) -> str:
    if not callable(value) and not inspect.ismodule(value):
        return f"| `{package}.{name}` | {type(value).__name__}, {value!r} |"
    function = getattr(value, "_function", value)
    first = (inspect.getdoc(function) or "").split("\n\n")[0].replace("\n", " ").replace("|", "\\|")
    return f"| {{py:obj}}`{name} <{_home(function)}>` | {first} |"


def _home(value: object) -> str:
    """Name under which the reference describes a value.

    Raises:
        LookupError: No page of the reference does.
    """
    for module in _described():
        if module is value:
            return module.__name__
        for name, each in _public(module):
            if each is value:
                return f"{module.__name__}.{name}"
    raise LookupError(f"no page in docs/reference describes {value!r}: add its module to one")


def _public(module: ModuleType) -> list[tuple[str, object]]:
    """What autodoc describes of a module: its `__all__`, or else what it defines itself."""
    if hasattr(module, "__all__"):
        return [(name, getattr(module, name)) for name in module.__all__]
    own = [
        (n, v) for n, v in vars(module).items() if getattr(v, "__module__", "") == module.__name__
    ]
    return [(name, value) for name, value in own if not name.startswith("_")]


@functools.cache
def _described() -> tuple[ModuleType, ...]:
    """Modules that the pages of the reference describe."""
    texts = [page.read_text("utf-8") for page in sorted(REFERENCE.glob("*.md"))]
    names = [name for text in texts for name in _MODULE.findall(text)]
    return tuple(importlib.import_module(name) for name in names)


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
