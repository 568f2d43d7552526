"""Rows in the memory of a GPU: launches without waiting, and reading while the next ones count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from deephochuli.kernels._contract import ChannelCounts, Later, Summary, TensorJob
from deephochuli.kernels._counter import Channels, Counter
from deephochuli.kernels._device_rows import (
    KINDS,
    ROW_WORDS,
    picked,
    summaries_of,
    table_on,
)
from deephochuli.kernels._layout import channel_map, dense
from deephochuli.kernels._merge import merge_summaries
from deephochuli.kernels._reference import ReferenceBackend
from deephochuli.kernels._streams import Moment, beside, is_capturing, to_host

_FIRST_ROWS = 64
_FIRST_CHANNELS = 1 << 12


@dataclass(slots=True)
class _Store:
    """Counters of rows, and of channels, on a device; all are zero at a moment.

    Attributes:
        words: Rows, one behind the other, int64.
        channels: Three counters for each channel of each row that has any, int64.
        ready: When they were zero, or longer, last.
    """

    words: torch.Tensor
    channels: torch.Tensor
    ready: Moment | None


@dataclass(slots=True)
class _State:
    """What is known on the host about a row that was added to.

    Attributes:
        at: Where its channels are counted, and how many there are; None before the first tensor.
        n_per_channel: Elements of each channel by now.
        is_without_channels: Whether they are not counted, or not alike.
        others: Summaries of tensors that no kernel counts.
        is_counted: Whether a kernel counts into it.
    """

    at: tuple[int, int] | None = None
    n_per_channel: int = 0
    is_without_channels: bool = False
    others: list[Summary] = field(default_factory=list[Summary])
    is_counted: bool = False

    def channels(self, counts: NDArray[np.int64]) -> ChannelCounts | None:
        """Counts of the channels, out of those of all rows."""
        if self.at is None or self.is_without_channels:
            return None
        start, n = self.at
        positive, zero, nonfinite = counts[start : start + 3 * n].reshape(3, n)
        return ChannelCounts(self.n_per_channel, positive, zero, nonfinite)


class CudaRows:
    """Rows that live on a device and grow by doubling when a new row is first used.

    There are two sets of counters: while one is read, the other one is counted into. A row keeps
    its place in both.
    """

    def __init__(self, device: torch.device, counter: Counter) -> None:
        """Make an empty set of rows on `device`."""
        self._device, self._counter = device, counter
        self._places: dict[int, int] = {}
        self._channel_places: dict[tuple[int, int], int] = {}
        self._n_channel_words = 0
        self._used: dict[int, _State] = {}
        self._streams: set[torch.cuda.Stream] = set()
        self._informed: set[torch.cuda.Stream] = set()
        self._reference = ReferenceBackend()
        self._spares: list[_Store] = []
        self._store = self._new_store()

    def _new_store(self) -> _Store:
        sizes = _FIRST_ROWS * ROW_WORDS, _FIRST_CHANNELS
        words, channels = (torch.zeros(n, dtype=torch.int64, device=self._device) for n in sizes)
        store = _Store(words, channels, None)
        self._say_ready(store)
        return store

    # --- counting --------------------------------------------------------------------------------

    def add(self, row: int, job: TensorJob) -> None:
        """Launch the counting of one more tensor into a row."""
        tensor = dense(job.tensor, job.channel_dim)
        state = self._used.get(row)
        if state is None:
            state = self._used.setdefault(row, _State())
        kind = KINDS.get(tensor.dtype)
        if kind is None:
            state.others.extend(self._reference.summarise([job]))
            return
        place = self._place(row)
        state.is_counted = True
        channels = self._channels_of(row, state, tensor, job.channel_dim)
        self._inform_stream()
        if tensor.numel():
            table = table_on(tensor.dtype, self._device)
            self._counter.count(self._store.words, place, tensor, kind, table, channels)

    def _place(self, row: int) -> int:
        """Where a row lies; room is made for it on first use."""
        place = self._places.setdefault(row, len(self._places))
        if (place + 1) * ROW_WORDS > len(self._store.words):
            self._grow()
        return place

    def _channels_of(
        self, row: int, state: _State, tensor: torch.Tensor, dim: int | None
    ) -> Channels | None:
        """Where channels are counted, as long as all tensors of a row have the same ones."""
        if dim is None or state.is_without_channels:
            state.is_without_channels = True
            return None
        n = tensor.shape[dim]
        if state.at is not None and state.at[1] != n:
            state.is_without_channels = True
            return None
        if state.at is None:
            state.at = self._channel_place(row, n), n
        if not tensor.numel():
            return None
        state.n_per_channel += tensor.numel() // n
        return Channels(self._store.channels, state.at[0], n, channel_map(tensor, dim).inner)

    def _channel_place(self, row: int, n: int) -> int:
        place = self._channel_places.get((row, n))
        if place is None:
            place = self._channel_places[row, n] = self._n_channel_words
            self._n_channel_words += 3 * n
        if place + 3 * n > len(self._store.channels):
            self._grow()
        return place

    def _grow(self) -> None:
        """Make the counters long enough for all rows and channels that are known."""
        self._inform_stream()
        self._wait_for_launches()
        store = self._store
        store.words = _longer(store.words, len(self._places) * ROW_WORDS)
        store.channels = _longer(store.channels, self._n_channel_words)
        self._say_ready(store)

    # --- streams ---------------------------------------------------------------------------------

    def _say_ready(self, store: _Store) -> None:
        """Note that counters were made, or emptied, on the current stream; others do not know."""
        if self._device.type == "cuda" and not is_capturing(self._device):
            store.ready = Moment(self._device)
            self._informed = {torch.cuda.current_stream(self._device)}

    def _inform_stream(self) -> None:
        """Have the current stream wait until the counters are there, and remember the stream.

        The host does not wait. A graph that is being captured may wait for nothing outside of it,
        and need not.
        """
        if self._device.type != "cuda":
            return
        stream = torch.cuda.current_stream(self._device)
        if stream not in self._informed and not is_capturing(self._device):
            self._informed.add(stream)
            if self._store.ready is not None:
                self._store.ready.let_wait(stream)
            for counters in (self._store.words, self._store.channels):
                counters.record_stream(stream)  # not used anew before it has done with them
        self._streams.add(stream)

    def _wait_for_launches(self) -> None:
        """Have the current stream wait for every stream that was launched on; not the host."""
        for stream in self._streams:
            torch.cuda.current_stream(self._device).wait_stream(stream)
        self._streams.clear()

    # --- reading ---------------------------------------------------------------------------------

    def read(self) -> dict[int, Summary]:
        """Wait for the work, return the rows that were added to, and empty all rows."""
        used, self._used = self._used, {}
        self._inform_stream()
        self._wait_for_launches()
        found = self.summaries(self._store, used, len(self._places), self._n_channel_words)
        self._empty(self._store)
        self._say_ready(self._store)
        return found

    def begin_read(self) -> Later[dict[int, Summary]]:
        """Hand the counters over to be read later, and count into others from now on."""
        used, self._used = self._used, {}
        self._inform_stream()
        self._wait_for_launches()
        lent = _Lent(self, self._store, used, len(self._places), self._n_channel_words)
        self._store = self._spares.pop() if self._spares else self._new_store()
        if self._store.ready is not None:
            self._informed = set()
        if len(self._store.words) < len(self._places) * ROW_WORDS:
            self._grow()
        if len(self._store.channels) < self._n_channel_words:
            self._grow()
        return lent

    def take_back(self, store: _Store) -> None:
        """Take counters that were read, on the stream that read them."""
        self._empty(store)
        if self._device.type == "cuda":
            store.ready = Moment(self._device)
        self._spares.append(store)

    def _empty(self, store: _Store) -> None:
        store.words.zero_()
        store.channels.zero_()

    def summaries(
        self, store: _Store, used: Mapping[int, _State], n_rows: int, n_channel_words: int
    ) -> dict[int, Summary]:
        """Read counters on the current stream, and wait for them."""
        if not any(state.is_counted for state in used.values()):
            return {row: merge_summaries(state.others) for row, state in used.items()}
        words = store.words[: n_rows * ROW_WORDS].view(n_rows, ROW_WORDS)
        places = [self._places[row] for row, state in used.items() if state.is_counted]
        if len(places) < n_rows:
            words = words[torch.tensor(places, device=self._device)]
        else:
            places = list(range(n_rows))
        counted = to_host([*picked(words), store.channels[:n_channel_words]])
        found = dict(zip(places, summaries_of(*counted[:3]), strict=True))
        channels = counted[3]
        return {row: self._of(row, state, found, channels) for row, state in used.items()}

    def _of(
        self,
        row: int,
        state: _State,
        found: Mapping[int, Summary],
        channels: NDArray[np.int64],
    ) -> Summary:
        if not state.is_counted:
            return merge_summaries(state.others)
        mine, own = found[self._places[row]], state.channels(channels)
        if own is not None:
            mine = replace(mine, channels=own)
        return merge_summaries([mine, *state.others])


@dataclass(slots=True)
class _Lent:
    """Counters that are being read; see `Later`."""

    rows: CudaRows
    store: _Store
    used: Mapping[int, _State]
    n_rows: int
    n_channel_words: int
    after: Moment = field(init=False)
    device: torch.device = field(init=False)

    def __post_init__(self) -> None:
        self.device = self.store.words.device
        self.after = Moment(self.device)

    def get(self) -> dict[int, Summary]:
        """Wait for them, and give them back."""
        with torch.no_grad(), beside(self.device, self.after):
            found = self.rows.summaries(self.store, self.used, self.n_rows, self.n_channel_words)
            self.rows.take_back(self.store)
        return found


def _longer(counters: torch.Tensor, least: int) -> torch.Tensor:
    """The same counters, and zeros behind them, at least twice as many if they are too few."""
    if len(counters) >= least:
        return counters
    size = max(least, 2 * len(counters))
    longer = torch.zeros(size, dtype=torch.int64, device=counters.device)
    longer[: len(counters)] = counters
    return longer
