"""Following a recording for whatever trackers the script turns out to use."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from deephochuli.integrations._active import Active, Found
from deephochuli.integrations._follow import Follow
from deephochuli.integrations._tracker import PREFIX, Tracker
from deephochuli.record import Recording
from deephochuli.store import StepRow, TapRow


class FollowActive(Follow):
    """Follows a recording, and has each tracker told from the moment on that it is there.

    Each is served by a follower of its own, which ends when the script closes the tracker, or with
    the recording.
    """

    def __init__(self, active: Active, name: str = "", also: Sequence[Tracker] = ()) -> None:
        """Show what is recorded in what is active.

        Args:
            active: What the script logs to.
            name: Tells the numbers of this run from those of others in the same trackers.
            also: Told whatever the script uses.
        """
        super().__init__(*also)
        self._active = active
        self._prefix = f"{PREFIX}-{name}" if name else PREFIX
        self._follows: dict[Found, Follow | None] = {}
        self._thread_id = 0

    def begin(self, recording: Recording) -> None:
        """Follow a recording, from its next step on."""
        super().begin(recording)
        self._thread_id = threading.get_ident()
        self._follows.clear()
        self._active.listeners.add(self)
        self._join()

    def step(self, step: StepRow, taps: Sequence[TapRow]) -> None:
        """See whether the script logs somewhere by now."""
        super().step(step, taps)
        self._join()

    def chunk(self) -> None:
        """Have the new chunk looked at."""
        super().chunk()
        for follow in self._going_on():
            follow.chunk()

    def end(self) -> None:
        """Let trackers have the rest, and wait for them."""
        self._active.listeners.discard(self)
        self._join()
        for follow in self._going_on():
            follow.end()
        super().end()

    def leave(self, found: Found) -> None:
        """Show the rest in a tracker that is about to be closed."""
        follow = self._follows.get(found)
        if follow is None or self._recording is None:
            return
        self._follows[found] = None
        if threading.get_ident() == self._thread_id:  # elsewhere, a step may be going on
            self._recording.flush()
        follow.end()

    def _join(self) -> None:
        for found in self._active:
            if found not in self._follows and self._recording is not None:
                self._follows[found] = follow = Follow(found.make(self._prefix))
                follow.begin(self._recording)
                self._active.on_use(found.name)

    def _going_on(self) -> list[Follow]:
        return [follow for follow in self._follows.values() if follow is not None]
