"""The terminal view: frames until the run is over, or until somebody has seen enough."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from deephochuli.errors import StoreError
from deephochuli.live._frame import Seen, frame, see
from deephochuli.live._pace import Pace
from deephochuli.live._watched import Phase, Watched

if TYPE_CHECKING:
    from rich.console import Console

SECONDS: Final = 1.0


def watch(
    path: str | os.PathLike[str], console: Console, *, once: bool = False, seconds: float = SECONDS
) -> Watched:
    """Show how a run goes, in a terminal, until it is over; it may not have begun yet.

    Findings are asked for again when there are new chunks, but never so often that it takes more
    than a tenth of the time: the training that is watched may need the processor.

    Args:
        path: The run folder, or where it will be.
        console: Where to draw. Without a terminal, only the last frame is printed.
        once: Print one frame and return.
        seconds: Time between two looks.

    Returns:
        The run as it was last seen.

    Raises:
        StoreError: What is there is no run, or was written by a newer version.
    """
    run = Watched(path)
    run.look()
    if run.phase is Phase.UNREADABLE:
        raise StoreError(run.note)
    if once:
        console.print(frame(run, see(run)))
        return run
    return _follow(run, console, seconds)


def _follow(run: Watched, console: Console, seconds: float) -> Watched:
    """Draw frame after frame."""
    from rich.live import Live

    pace = Pace()
    seen: Seen | None = None
    seen_version = -1
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        while True:
            is_over = run.is_over
            if run.version != seen_version and (is_over or pace.is_due()):
                with pace.measured(), suppress(StoreError):  # the next look says what is wrong
                    seen, seen_version = see(run), run.version
            live.update(frame(run, seen), refresh=True)
            if is_over:
                break
            time.sleep(seconds)
            run.look()
    if not console.is_terminal:
        console.print()  # a pipe gets the last frame only, without an end of its last line
    return run
