"""Runs watched while they are recorded: in a terminal, and on a local page.

Nothing here writes into a run folder, and nothing leaves the machine.
"""

from __future__ import annotations

from deephochuli.live._frame import frame as frame
from deephochuli.live._frame import see as see
from deephochuli.live._server import LiveServer as LiveServer
from deephochuli.live._terminal import watch as watch
from deephochuli.live._watched import Phase as Phase
from deephochuli.live._watched import Watched as Watched

__all__ = ["LiveServer", "Phase", "Watched", "frame", "see", "watch"]
