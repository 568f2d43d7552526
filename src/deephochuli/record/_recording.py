"""A run that is being recorded, and somebody who goes along with it."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

from torch import Tensor, nn

from deephochuli.record._recorder import Recorder
from deephochuli.record._triggers import Ring
from deephochuli.store import RunWriter, StepRow, TapRow
from deephochuli.taps import Attachment, Faults

OPEN: Final[weakref.WeakSet[Recording]] = weakref.WeakSet()
"""Recordings of this process that have begun and are not closed."""


class Recording:
    """A run that is being recorded; made by :func:`record`.

    Attributes:
        path: The run folder.
        home: The folder that was asked for: that of the run, or the one that ranks share.
        should_stop: A rule of the follower asks the training to end; the loop decides. Never set
            without a follower.
    """

    def __init__(
        self,
        recorder: Recorder,
        attachment: Attachment,
        writer: RunWriter,
        home: Path,
        ring: Ring | None = None,
        followed: Followed | None = None,
    ) -> None:
        """Bind the parts together; use :func:`record`."""
        self._recorder = recorder
        self._attachment = attachment
        self._writer = writer
        self._ring = ring
        self._followed = followed
        self.path = writer.path
        self.home = home
        self.should_stop = False
        OPEN.add(self)

    @property
    def n_steps(self) -> int:
        """Steps of the training so far, recorded or not."""
        return self._recorder.n_steps

    @property
    def is_open(self) -> bool:
        """Whether it has not been closed."""
        return self in OPEN

    @property
    def is_on(self) -> bool:
        """Whether the step that is going on is counted, so that its loss is wanted."""
        return self._recorder.is_recording()

    def parameters(self) -> Iterator[nn.Parameter]:
        """Parameters of the model that is looked at."""
        return self._attachment.model.parameters()

    def log(self, *, loss: float | Tensor) -> None:
        """Note the loss of the step that is going on, to be drawn beside what was recorded.

        A loss that lies on a GPU is not waited for. Call it before the optimizer steps.
        """
        try:
            self._recorder.log(loss=loss)
        except Exception as error:  # as everywhere: training goes on
            self._attachment.faults.report("the loss", error)

    def flush(self) -> None:
        """Write now what waits to be written, as beside a checkpoint of the training."""
        self._recorder.settle()
        self._writer.flush()
        if self._followed is not None:
            self._followed.look()

    def close(self, error: BaseException | None = None) -> None:
        """Cease to look, and complete the run folder. Calling it again does nothing.

        Args:
            error: What ended the training, if it was an error; whoever looks at the run is told.
        """
        followed, self._followed = self._followed, None
        OPEN.discard(self)
        self._attachment.detach()
        try:
            self._recorder.finish()
        except Exception as fault:  # to raise it would hide the error that ended the training
            self._attachment.faults.report("the last step", fault)
        if self._ring is not None:
            self._ring.close()
        self._writer.close(error)
        if followed is not None:
            followed.end()

    def forsake(self) -> None:
        """Cease to look, and write nothing: for a process forked from the one that records."""
        OPEN.discard(self)
        self._attachment.detach()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close(None if kind is SystemExit else error)


class Follower(Protocol):
    """Goes along with a recording; what it raises is said once, and it is told only the end then.

    All of this is called in the thread that trains, which waits meanwhile.
    """

    def begin(self, recording: Recording) -> None:
        """Learn of the recording, before its first step."""
        ...

    def step(self, step: StepRow, taps: Sequence[TapRow]) -> None:
        """Take one counted step, right after its update; where a GPU has counted, a step later."""
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
