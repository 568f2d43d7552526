"""``deephochuli serve``: runs on a local page while they are recorded."""

from __future__ import annotations

import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer


def serve(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Folders of runs; they may not be there yet."),
    ],
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port on this machine; 0 takes any free one.")
    ] = 0,
    open_page: Annotated[
        bool, typer.Option("--open/--no-open", help="Show the page in the browser.")
    ] = False,
) -> None:
    """Show runs on a local page that follows their recording. Ctrl-C ends it."""
    from deephochuli.live import LiveServer

    try:
        with LiveServer(runs, port=port) as server, TemporaryDirectory() as folder:
            typer.echo(server.url)
            typer.echo("Only this machine can open it. Ctrl-C ends it.", err=True)
            if open_page:
                typer.launch(str(doorway(server.url, Path(folder))))
            threading.Event().wait()
    except KeyboardInterrupt:
        return  # seen enough


def doorway(url: str, folder: Path) -> Path:
    """A file that leads to a page, for the browser.

    Everybody on a machine can read the arguments of its processes, and the browser is one; the
    folder of the file is for its owner only.
    """
    page = folder / "open.html"
    page.write_text(f'<!doctype html><meta http-equiv="refresh" content="0;url={url}">\n')
    return page
