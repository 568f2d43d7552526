"""What is free goes back to the system."""

from pathlib import Path

import pytest

from deephochuli.live import _memory


def resident() -> int:
    """Mebibytes of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) >> 8


@pytest.mark.skipif(_memory._trim is None, reason="this C library has no malloc_trim")
def test_what_lies_below_something_that_is_in_use_goes_back_too():
    parts = [bytes(2000) for _ in range(50_000)]
    last = parts[-1]  # keeps the end of the heap in use
    parts.clear()
    before = resident()
    _memory.give_back()
    assert resident() < before - 50
    assert len(last) == 2000


def test_where_the_library_has_nothing_for_it_nothing_is_done(monkeypatch):
    monkeypatch.setattr(_memory.sys, "platform", "win32")
    assert _memory._find_trim() is None
    monkeypatch.setattr(_memory, "_trim", None)
    _memory.give_back()
