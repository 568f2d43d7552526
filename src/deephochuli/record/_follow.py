"""Somebody who goes along with a recording: told of every counted step and of every chunk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from deephochuli.store import RunWriter, StepRow, TapRow
from deephochuli.taps import Faults

if TYPE_CHECKING:
    from deephochuli.record._recording import Recording


class Follower(Protocol):
    """Goes along with a recording; what it raises is said once, and it is told only the end then.

    All of this is called in the thread that trains, which waits meanwhile.
    """

    def begin(self, recording: Recording) -> None:
        """Learn of the recording, before its first step."""
        ...

    def step(self, step: StepRow, taps: Sequence[TapRow]) -> None:
        """Take one counted step, right after its update."""
        ...

    def chunk(self) -> None:
        """Learn that readers of the run folder see more than before."""
        ...

    def end(self) -> None:
        """Learn that the run folder is complete."""
        ...


class Followed:
    """Hands each counted step to whoever writes it, and then tells the follower."""

    def __init__(
        self,
        follower: Follower,
        take: Callable[[StepRow, Sequence[TapRow]], None],
        writer: RunWriter,
        faults: Faults,
    ) -> None:
        """Tell `follower` of what `take` takes and of what `writer` publishes."""
        self._follower = follower
        self._take = take
        self._writer = writer
        self._faults = faults
        self._n_chunks = writer.n_chunks

    def begin(self, recording: Recording) -> None:
        """Introduce the recording."""
        self._tell(lambda: self._follower.begin(recording))

    def take(self, step: StepRow, taps: Sequence[TapRow]) -> None:
        """Take one step that was counted."""
        self._take(step, taps)
        self._tell(lambda: self._follower.step(step, taps))
        self.look()

    def look(self) -> None:
        """Tell of a chunk that has come since the last look."""
        if self._n_chunks != self._writer.n_chunks:
            self._n_chunks = self._writer.n_chunks
            self._tell(self._follower.chunk)

    def end(self) -> None:
        """Tell that the run is complete, also one that has failed: it may have to tidy up."""
        self._attempt(self._follower.end)

    def _tell(self, say: Callable[[], None]) -> None:
        if "the follower" not in self._faults:
            self._attempt(say)

    def _attempt(self, say: Callable[[], None]) -> None:
        try:
            say()
        except Exception as error:  # an instrument never stops the training
            self._faults.report("the follower", error)
