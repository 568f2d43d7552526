"""Names of ranks in sentences, and which rank a run is of."""

from __future__ import annotations

from collections.abc import Sequence

from deephochuli.store import RankOf, RunReader

MOST_NAMED = 4


def rank_of(run: RunReader) -> RankOf:
    """Which rank recorded a run; a run that does not say is that of rank 0 of 1."""
    return run.manifest.rank or RankOf(rank=0, n_ranks=1)


def named(ranks: Sequence[int]) -> str:
    """Name some ranks.

    Example:
        >>> named([3]), named([0, 2]), named(range(9))
        ('rank 3', 'ranks 0 and 2', 'ranks 0, 1, 2, 3 and 5 more')
    """
    if len(ranks) == 1:
        return f"rank {ranks[0]}"
    few = [str(rank) for rank in ranks[:MOST_NAMED]]
    more = len(ranks) - len(few)
    if more:
        return f"ranks {', '.join(few)} and {more} more"
    return f"ranks {', '.join(few[:-1])} and {few[-1]}"
