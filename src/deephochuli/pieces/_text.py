"""A count as text for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deephochuli.pieces._result import LineCount

MOST_LAYERS = 12


def line_text(count: LineCount) -> str:
    """The counts, how sure they are, and which layers bend."""
    lines = [
        f"{count.n_regions} activation regions, {count.n_pieces} affine pieces"
        f" (segment of length {count.length:.4g}, {count.n_units} units)",
        certainty(count),
    ]
    if len(count.t):
        lines.append(
            f"shortest region {count.smallest_gap:.3g} of the segment;"
            f" outputs err by at most {count.max_error:.3g}"
        )
        lines += _layers(count)
    return "\n".join(lines)


def certainty(count: LineCount) -> str:
    """Whether rounding errors could change the counts, in one sentence."""
    if count.is_certain:
        how = f"; {places(count.n_exact)} decided in exact arithmetic" if count.n_exact else ""
        return f"certain: no rounding error can change either count{how}"
    return (
        f"regions {count.regions}, pieces {count.pieces}: {places(count.n_ambiguous)} within"
        " rounding errors; exact=True decides"
    )


def places(n: int) -> str:
    """So many places, in words."""
    return "1 place" if n == 1 else f"{n} places"


def _layers(count: LineCount) -> list[str]:
    bends = [(name, n) for name, n in count.bends_by_layer().items() if n]
    width = max((len(name) for name, _ in bends[:MOST_LAYERS]), default=0)
    lines = [f"  {name:<{width}}  {n} bends" for name, n in bends[:MOST_LAYERS]]
    if len(bends) > MOST_LAYERS:
        lines.append(f"  and {len(bends) - MOST_LAYERS} more layers")
    return lines
