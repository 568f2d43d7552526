"""The arguments and options of ``deephochuli run``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from deephochuli.cli._report import Severity


class Event(StrEnum):
    """What can be watched for: `deephochuli.record.TRIGGERS`, which would load torch."""

    NONFINITE = "nonfinite"
    LOSS_SPIKE = "loss-spike"
    SWAMPED = "swamped"
    UNDERFLOW = "underflow"


ScriptName = Annotated[
    str, typer.Argument(metavar="SCRIPT", help="Script to run, or module after -m.")
]
Arguments = Annotated[
    list[str] | None,
    typer.Argument(metavar="ARGS", help="Arguments of the script, untouched."),
]
IsModule = Annotated[
    bool, typer.Option("-m", help="SCRIPT is the name of a module, as after python -m.")
]
To = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Folder for the runs, one for each model; runs/SCRIPT-DATE-TIME if not given.",
    ),
]
Every = Annotated[
    str,
    typer.Option(
        metavar="STEPS",
        help="Steps to record: a number n for every n-th, 'log', ranges such as "
        "'0:100,1000:2000:10', or 'auto': the first 64, then ever fewer, never more than "
        "1/32 of the training apart.",
    ),
]
Select = Annotated[
    list[str] | None,
    typer.Option(metavar="LAYER", help="Only these layers: a glob or 're:...'; repeatable."),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(metavar="LAYER", help="Not these layers; repeatable."),
]
Quantity = Annotated[
    list[str] | None,
    typer.Option(help="Only z, a, dz, da, w, g, dw, state or state:NAME; repeatable."),
]
Outputs = Annotated[
    bool,
    typer.Option("--outputs", help="Also outputs of layers with parameters, and of the model."),
]
MaxBytes = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, help="Cap for the files of each run, in bytes."),
]
Events = Annotated[
    list[Event] | None,
    typer.Option(help="Record more around this; repeatable. Every step is counted then."),
]
WatchSteps = Annotated[
    str, typer.Option(metavar="STEPS", help="Which steps to watch, as in --every.")
]
WatchBefore = Annotated[int, typer.Option(min=0, help="Watched steps to record before an event.")]
WatchAfter = Annotated[int, typer.Option(min=0, help="Steps to record after an event.")]
FailOn = Annotated[
    Severity | None,
    typer.Option(
        help="Exit with 1 when the script itself exits with 0, but there are findings of this "
        "severity or a worse one."
    ),
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print nothing but faults of the recording.")
]
