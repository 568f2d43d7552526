"""The page of a comparison, of a verdict, of a search, or of two saved executions."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from deephochuli.errors import StoreError
from deephochuli.report._build import write_text
from deephochuli.report._comparison_columns import comparison_set, number, pairs_set
from deephochuli.report._comparison_json import decisions_record, kept_to_json, verdict_to_json
from deephochuli.report._comparison_text import (
    executor_sentence,
    is_autocast,
    kept_sentence,
    output_error,
    pairs_sentence,
    relative,
    weights_differ,
    worst,
)
from deephochuli.report._html import render_page
from deephochuli.report._provenance import generator

if TYPE_CHECKING:
    from deephochuli.analysis.compare import Comparison, Kept, PairComparison, Verdict

PAYLOAD_SCHEMA: Final = 1


def build_comparison_report(
    comparison: Comparison | None,
    out: str | os.PathLike[str],
    *,
    verdict: Verdict | None = None,
    kept: Kept | None = None,
    pairs: PairComparison | None = None,
    title: str | None = None,
) -> Path:
    """Write a comparison, and what else was found, as one self-contained HTML file.

    The file opens from disk, asks no network for anything, and holds the numbers that it draws.

    Args:
        comparison: Executions beside a reference; None for a page about `pairs` alone.
        out: File to write; folders above it are made. An existing file is replaced at once.
        verdict: Judgement of one of the executions; its floor is drawn in for all of them.
        kept: Layers to keep out of a low arithmetic.
        pairs: Two saved executions side by side.
        title: Heading of the page; by default made of the names of the executions.

    Returns:
        The path of the file.

    Raises:
        StoreError: There is nothing to show, or `out` cannot be written.

    Numerics:
        Numbers in the page are rounded to six significant digits; counts are exact.
    """
    if comparison is None and pairs is None:
        raise StoreError("A page needs a comparison, or two executions side by side; got neither.")
    heading = title or _heading(comparison, pairs)
    payload = comparison_payload(comparison, verdict, kept, pairs, heading)
    return write_text(Path(out), render_page(heading, generator(), payload, "", page="comparison"))


def comparison_payload(
    comparison: Comparison | None,
    verdict: Verdict | None,
    kept: Kept | None,
    pairs: PairComparison | None,
    title: str,
) -> dict[str, Any]:
    """The data of the page; sets of rows are described in `_comparison_columns`."""
    return {
        "schema": PAYLOAD_SCHEMA,
        "title": title,
        "made": {"by": generator(), "at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")},
        "comparison": None if comparison is None else _comparison(comparison, verdict),
        "verdict": None if verdict is None else _verdict(verdict),
        "kept": None if kept is None else _kept(kept),
        "pairs": None if pairs is None else _pairs(pairs),
    }


def _heading(comparison: Comparison | None, pairs: PairComparison | None) -> str:
    if comparison is None:
        return f"{pairs.first} and {pairs.second}" if pairs is not None else ""
    names = ", ".join(comparison.executors)
    return f"{comparison.model} in {names}, beside {comparison.reference}"


def _comparison(comparison: Comparison, verdict: Verdict | None) -> dict[str, Any]:
    losses = comparison.losses
    return {
        "model": comparison.model,
        "reference": comparison.reference,
        "loss": number(losses.get(comparison.reference)),
        "executions": [_execution(comparison, name) for name in comparison.executors],
        "set": comparison_set(comparison, verdict),
    }


def _execution(comparison: Comparison, name: str) -> dict[str, Any]:
    """One execution in one line."""
    loss, right = comparison.losses.get(name), comparison.losses.get(comparison.reference)
    total, row = output_error(comparison, name), worst(comparison, name)
    return {
        "name": name,
        "sentence": executor_sentence(comparison, name),
        "output": None if total is None else number(relative(total)),
        "loss": number(loss),
        "loss_difference": None if loss is None or right is None else number(loss - right),
        "decisions": decisions_record(comparison.decisions.get(name)),
        "worst": None if row is None else row.layer,
        "worst_own": None if row is None else number(relative(row.local)),
        "worst_ratio": None if row is None else number(row.ratio),
        "unmatched": [
            f"{path or '(model)'}" + (f" (call {index + 1})" if index else "")
            for path, index in comparison.unmatched.get(name, ())
        ],
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    """A verdict without the floor's rows, which stand in the set of rows."""
    found = verdict_to_json(verdict)
    for each in (found["culprit"], *found["suspects"]):
        if each is not None:
            each["own"] = each["error"]["rel_l2"]
            del each["error"]
    return {**found, "floor": {**found["floor"], "rows": []}}


def _kept(kept: Kept) -> dict[str, Any]:
    sentence, has_autocast = kept_sentence(kept), is_autocast(kept.low)
    return {**kept_to_json(kept), "sentence": sentence, "is_autocast": has_autocast}


def _pairs(pairs: PairComparison) -> dict[str, Any]:
    sides = ((pairs.first, pairs.only_first), (pairs.second, pairs.only_second))
    return {
        "first": pairs.first,
        "second": pairs.second,
        "sentence": pairs_sentence(pairs),
        "is_same": all(row.made.is_exact for row in pairs.rows),
        "weights_differ": weights_differ(pairs),
        "environment": [list(row) for row in pairs.environment],
        "only": [{"name": name, "layers": [path for path, _ in calls]} for name, calls in sides],
        "shapes": [[path or "(model)", text] for (path, _), text in pairs.shapes],
        "set": pairs_set(pairs),
    }
