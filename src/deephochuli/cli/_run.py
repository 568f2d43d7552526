"""``deephochuli run``: run a training script as Python does, and record what it trains."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import typer

from deephochuli.cli import _run_options as options
from deephochuli.cli._launch import Launch, Plan
from deephochuli.config import AUTO, is_quantity, is_schedule, pattern_fault
from deephochuli.session import Script

# Everything after the script belongs to the script, whatever it looks like.
SETTINGS: Final = {"allow_interspersed_args": False}


def run(
    script: options.ScriptName,
    arguments: options.Arguments = None,
    is_module: options.IsModule = False,
    to: options.To = None,
    every: options.Every = AUTO,
    select: options.Select = None,
    exclude: options.Exclude = None,
    quantity: options.Quantity = None,
    outputs: options.Outputs = False,
    max_bytes: options.MaxBytes = None,
    watch: options.Events = None,
    watch_steps: options.WatchSteps = "1",
    watch_before: options.WatchBefore = 8,
    watch_after: options.WatchAfter = 8,
    fail_on: options.FailOn = None,
    quiet: options.Quiet = False,
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
    how: dict[str, Any] = {
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
    raise Launch(Plan(target, folder, how, severity, quiet))


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


def _is_rank() -> bool:
    """Whether this process is one of several that record together."""
    n_ranks = os.environ.get("WORLD_SIZE", "")
    return n_ranks.isascii() and n_ranks.isdigit() and int(n_ranks) > 1


def _default_folder(name: str) -> Path:
    """A folder that is not there yet, named after the script and the time."""
    if _is_rank():
        raise typer.BadParameter(
            "Several ranks need one folder, and each would choose its own. Give it to all.",
            param_hint="--to",
        )
    base = f"{name}-{datetime.now().astimezone():%Y%m%d-%H%M%S}"
    names = (base if number == 1 else f"{base}-{number}" for number in range(1, 1000))
    return next(path for each in names if not (path := Path("runs") / each).exists())


def _prepared(folder: Path) -> Path:
    """Make the folder now, so that a mistake is found before the training begins."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        occupied = not _is_rank() and next(folder.iterdir(), None)  # the others write there too
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
