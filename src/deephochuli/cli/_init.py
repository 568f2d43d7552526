"""``deephochuli init``: a configuration file with every setting in it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deephochuli.cli._terminal import print_json
from deephochuli.config import CONFIG_NAME, config_schema, config_text


def init(
    path: Annotated[Path, typer.Argument(metavar="[FILE]", help="File to write.")] = Path(
        CONFIG_NAME
    ),
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON schema for editors; write nothing.")
    ] = False,
) -> None:
    """Write a configuration file: every setting with its default, commented out."""
    if schema:
        print_json(config_schema())
        return
    try:
        with path.open("x", encoding="utf-8", newline="\n") as file:  # never over another file
            file.write(config_text())
    except FileExistsError:
        raise typer.BadParameter(
            f"{path} is there already, and is not overwritten. Give another name, or delete it.",
            param_hint="FILE",
        ) from None
    typer.echo(path)
