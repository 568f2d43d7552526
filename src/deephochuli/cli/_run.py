"""``deephochuli run``: run a training script as Python does, and record what it trains."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from deephochuli.cli._launch import Launch, Plan
from deephochuli.cli._report import Severity
from deephochuli.cli._script import Script
from deephochuli.config import AUTO, is_quantity, is_schedule, pattern_fault

# Everything after the script belongs to the script, whatever it looks like.
SETTINGS: Final = {"allow_interspersed_args": False}


class Event(StrEnum):
    """What can be watched for: `deephochuli.record.TRIGGERS`, which would load torch."""

    NONFINITE = "nonfinite"
    LOSS_SPIKE = "loss-spike"
    SWAMPED = "swamped"
    UNDERFLOW = "underflow"


def run(
    script: Annotated[
        str, typer.Argument(metavar="SCRIPT", help="Script to run, or module after -m.")
    ],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="ARGS", help="Arguments of the script, untouched."),
    ] = None,
    is_module: Annotated[
        bool, typer.Option("-m", help="SCRIPT is the name of a module, as after python -m.")
    ] = False,
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder for the runs, one for each model; runs/SCRIPT-DATE-TIME if not given.",
        ),
    ] = None,
    every: Annotated[
        str,
        typer.Option(
            metavar="STEPS",
            help="Steps to record: a number n for every n-th, 'log', ranges such as "
            "'0:100,1000:2000:10', or 'auto': the first 64, then ever fewer, never more than "
            "1/32 of the training apart.",
        ),
    ] = AUTO,
    select: Annotated[
        list[str] | None,
        typer.Option(metavar="LAYER", help="Only these layers: a glob or 're:...'; repeatable."),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(metavar="LAYER", help="Not these layers; repeatable."),
    ] = None,
    quantity: Annotated[
        list[str] | None,
        typer.Option(help="Only z, a, dz, da, w, g, dw, state or state:NAME; repeatable."),
    ] = None,
    outputs: Annotated[
        bool,
        typer.Option("--outputs", help="Also outputs of layers with parameters, and of the model."),
    ] = False,
    max_bytes: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Cap for the files of each run, in bytes."),
    ] = None,
    watch: Annotated[
        list[Event] | None,
        typer.Option(help="Record more around this; repeatable. Every step is counted then."),
    ] = None,
    watch_steps: Annotated[
        str, typer.Option(metavar="STEPS", help="Which steps to watch, as in --every.")
    ] = "1",
    watch_before: Annotated[
        int, typer.Option(min=0, help="Watched steps to record before an event.")
    ] = 8,
    watch_after: Annotated[int, typer.Option(min=0, help="Steps to record after an event.")] = 8,
    fail_on: Annotated[
        Severity | None,
        typer.Option(
            help="Exit with 1 when the script itself exits with 0, but there are findings of this "
            "severity or a worse one."
        ),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print nothing but faults of the recording.")
    ] = False,
) -> None:
    """Run a training script as Python does, and record every model that it trains.

    Options stand before the script; whatever follows it belongs to the script.
    """
    target = Script(script, tuple(arguments or ()), is_module)
    _check_script(target)
    _check_schedule(every, "--every")
    _check_schedule(watch_steps, "--watch-steps")
    _check_patterns(select or (), "--select")
    _check_patterns(exclude or (), "--exclude")
    _check_quantities(quantity or ())
    options: dict[str, Any] = {
        "every": every,
        "select": tuple(select or ()),
        "exclude": tuple(exclude or ()),
        "quantities": tuple(quantity or ()),
        "outputs": outputs,
        "max_bytes": max_bytes,
        "watch": tuple(event.value for event in watch or ()),
        "watch_steps": watch_steps,
        "watch_before": watch_before,
        "watch_after": watch_after,
    }
    folder = _prepared(to or _default_folder(target.name))
    severity = None if fail_on is None else fail_on.value
    raise Launch(Plan(target, folder, options, severity, quiet))


# ---- what can be refused before the script starts, without torch


def _check_script(script: Script) -> None:
    if not script.is_module and not Path(script.target).exists():
        raise typer.BadParameter(
            f"There is no script {script.target!r} in {Path.cwd()}. Options of deephochuli stand "
            "before the script, options of the script after it.",
            param_hint="SCRIPT",
        )


def _check_schedule(text: str, option: str) -> None:
    """Refuse a schedule that would be refused later, when the training has begun."""
    if not is_schedule(text):
        raise typer.BadParameter(
            f"{text!r} chooses no steps. Give a number n for every n-th step, 'log', 'auto', or "
            "ranges such as '0:100,1000:2000:10'.",
            param_hint=option,
        )


def _check_patterns(patterns: Sequence[str], option: str) -> None:
    for pattern in patterns:
        if fault := pattern_fault(pattern):
            raise typer.BadParameter(f"{fault}.", param_hint=option)


def _check_quantities(names: Sequence[str]) -> None:
    for name in names:
        if not is_quantity(name):
            raise typer.BadParameter(
                f"{name!r} is no quantity. Expected z, a, dz, da, w, g, dw, state or state:NAME.",
                param_hint="--quantity",
            )


def _default_folder(name: str) -> Path:
    """A folder that is not there yet, named after the script and the time."""
    base = f"{name}-{datetime.now().astimezone():%Y%m%d-%H%M%S}"
    names = (base if number == 1 else f"{base}-{number}" for number in range(1, 1000))
    return next(path for each in names if not (path := Path("runs") / each).exists())


def _prepared(folder: Path) -> Path:
    """Make the folder now, so that a mistake is found before the training begins."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        is_rank = int(os.environ.get("WORLD_SIZE", "1") or "1") > 1  # the others write there too
        occupied = not is_rank and next(folder.iterdir(), None)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(
            f"No runs can be written to {folder}: {error}.", param_hint="--to"
        ) from None
    if occupied:
        raise typer.BadParameter(
            f"{folder} is not empty, and runs are never overwritten. Give another folder, or "
            "delete this one.",
            param_hint="--to",
        )
    return folder
