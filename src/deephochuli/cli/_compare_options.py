"""The arguments and options of ``deephochuli compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deephochuli.cli._comparison_output import FailOn

Things = Annotated[
    list[str],
    typer.Argument(
        metavar="MODEL | FOLDER_A FOLDER_B",
        help="module:callable or file.py:callable that returns (model, batch), with a loss and "
        "an optimizer after them if there are; or two executions saved with --save.",
    ),
]
Arithmetics = Annotated[
    list[str] | None,
    typer.Option(
        "--arithmetic",
        "-a",
        help="How to execute the model: fp32, tf32, bf16, fp8, native, threads=1, split=2, "
        "compiled, cuda, autocast-bf16, or file.py:callable for another model; repeatable.",
    ),
]
Reference = Annotated[str, typer.Option(help="What counts as right.")]
Suspect = Annotated[
    str | None,
    typer.Option(
        metavar="SUSPECT", help="Judge this execution: rounding, or not, and which layer first."
    ),
]
Low = Annotated[
    str | None,
    typer.Option(
        metavar="LOW", help="Find the layers to keep out of this arithmetic; see the budgets."
    ),
]
OutputBudget = Annotated[
    float, typer.Option(help="Relative error of the output to allow with --keep.")
]
GradientBudget = Annotated[
    float, typer.Option(help="Relative error of the gradients to allow with --keep.")
]
SaveTo = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="Execute once and save it there; compare nothing."),
]
Execution = Annotated[
    str | None,
    typer.Option("--as", metavar="EXECUTOR", help="How to execute for --save: native."),
]
Model = Annotated[
    str | None,
    typer.Option(metavar="MODEL", help="Judge two saved executions against this model, too."),
]
Page = Annotated[Path | None, typer.Option(help="Also write a page there.")]
Title = Annotated[str | None, typer.Option(help="Heading of the page.")]
ShowAll = Annotated[bool, typer.Option("--all", help="Show every layer.")]
Fail = Annotated[
    FailOn | None,
    typer.Option(
        help="Exit with 1 when an output decides otherwise, when the verdict names a suspect, "
        "or when two saved executions differ at all."
    ),
]
Seed = Annotated[int, typer.Option(help="Seed of dropout and other random operators.")]
MaxGib = Annotated[float, typer.Option(help="Memory that one execution may take.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
