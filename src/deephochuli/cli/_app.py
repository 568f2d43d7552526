"""The application: its commands, and the options that stand before a command."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from deephochuli import __version__
from deephochuli.cli._compare import compare
from deephochuli.cli._configured import configured
from deephochuli.cli._diff import diff
from deephochuli.cli._doctor import doctor
from deephochuli.cli._examine import examine
from deephochuli.cli._fit import fit
from deephochuli.cli._formats import formats
from deephochuli.cli._init import init
from deephochuli.cli._pieces import pieces
from deephochuli.cli._report import report
from deephochuli.cli._run import SETTINGS as RUN_SETTINGS
from deephochuli.cli._run import run
from deephochuli.cli._serve import serve
from deephochuli.cli._study import study
from deephochuli.cli._watch import watch

COMMANDS: Final = {
    "run": run,
    "report": report,
    "watch": watch,
    "serve": serve,
    "diff": diff,
    "compare": compare,
    "examine": examine,
    "fit": fit,
    "pieces": pieces,
    "study": study,
    "formats": formats,
    "doctor": doctor,
    "init": init,
}
_SETTINGS: Final = {"run": RUN_SETTINGS}

app: Final = typer.Typer(
    name="deephochuli",
    help="See what floating-point arithmetic did to a training run, layer by layer.",
    epilog="Begin with: deephochuli run train.py   or in Python: with deephochuli.record(...): ...",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # help in plain text appears at once; rich would double its time
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"deephochuli {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback behind an error message.")
    ] = False,
) -> None:
    """Options that hold for every command; `main` looks for ``--debug`` itself, wherever it is."""
    del version, debug


for _name, _command in COMMANDS.items():
    _called = _command if _command is init else configured(_command)
    app.command(_name, context_settings=_SETTINGS.get(_name))(_called)
