"""Which chunks a run consists of: their names, and which are missing or superseded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Protocol, TypeVar

from deephochuli.store._seal import Seal

_CHUNK = re.compile(r"chunk-(\d{6,9})")
_MOST_NAMED = 16


class SealedChunk(Protocol):
    """A chunk that knows its seal."""

    seal: Seal | None


T = TypeVar("T", bound=SealedChunk)


def chunk_name(number: int) -> str:
    """Folder name of a chunk."""
    return f"chunk-{number:06d}"


def chunk_numbers(names: Iterable[str]) -> set[int]:
    """Numbers of the chunks among the entries of a folder."""
    found = {int(match[1]): name for name in names if (match := _CHUNK.fullmatch(name))}
    return {number for number, name in found.items() if name == chunk_name(number)}


def gaps(numbers: Iterable[int], count: int) -> Iterator[tuple[int, int]]:
    """First and last number of each stretch of missing chunks.

    Args:
        numbers: Chunks that are there.
        count: How many there should be at least.

    Yields:
        One chunk at a time in a short stretch; a long one as a whole, for a number that is wrong
        can ask for any number of chunks.
    """
    for before, after in pairwise([-1, *sorted(numbers), max([count, *(n + 1 for n in numbers)])]):
        missing = range(before + 1, after)
        if len(missing) > _MOST_NAMED:
            yield missing[0], missing[-1]
        else:
            yield from ((number, number) for number in missing)


def cover(chunks: Sequence[T]) -> list[T]:
    """The chunks that count.

    A session that resumed a run at a step takes the place of all chunks of earlier sessions that
    hold this step or a later one. Chunks of runs without seals were written by one session.

    Args:
        chunks: By number.
    """
    kept: list[T] = []
    newest = 0
    for chunk in chunks:
        seal = chunk.seal
        if seal is not None and seal.session > newest:
            newest = seal.session
            kept = [c for c in kept if c.seal and c.seal.step_last < seal.resumed_at]
        kept.append(chunk)
    return kept
