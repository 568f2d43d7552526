"""``deephochuli watch``: a run in the terminal while training goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deephochuli.cli._terminal import console


def watch(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Folder of a run; it may not be there yet.")
    ],
    once: Annotated[bool, typer.Option("--once", help="Print one frame and end.")] = False,
    seconds: Annotated[
        float, typer.Option("--every", min=0.1, metavar="SECONDS", help="Time between two looks.")
    ] = 1.0,
) -> None:
    """Watch a run in the terminal while it is recorded."""
    from deephochuli.live import watch as follow

    try:
        follow(run, console(), once=once, seconds=seconds)
    except KeyboardInterrupt:
        return  # seen enough: the last frame stays on the screen
