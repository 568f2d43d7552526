"""Comparisons, verdicts and searches for machines: stable JSON objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from deephochuli.report._comparison_text import pairs_sentence, relative, snippet_of
from deephochuli.report._provenance import generator
from deephochuli.report._text import finite_or_none

if TYPE_CHECKING:
    from collections.abc import Iterable

    from deephochuli.analysis.compare import (
        Comparison,
        Decisions,
        Error,
        Floor,
        Kept,
        Outcome,
        PairComparison,
        PairRow,
        Row,
        Suspect,
        Verdict,
    )

COMPARISON_SCHEMA: Final = 1
ERROR_FLOATS: Final = (
    *("max_abs", "mean_abs", "rms", "median_abs", "reference_rms", "cosine", "rms_ulps"),
    "max_ulps",
)
ERROR_COUNTS: Final = ("n", "zeros", "sign_flips", "nonfinite")


def comparison_to_json(comparison: Comparison) -> dict[str, Any]:
    """A comparison as plain data.

    Returns:
        ``{"schema": 1, "generator": ..., "model": ..., "reference": ..., "executors": [...],
        "rows": [...]}``. Numbers that JSON cannot hold are None. Fields are only ever added within
        one schema version.
    """
    losses = comparison.losses
    return {
        **_head(),
        "model": comparison.model,
        "reference": comparison.reference,
        "reference_loss": finite_or_none(losses.get(comparison.reference)),
        "executors": [
            {
                "name": name,
                "loss": finite_or_none(losses.get(name)),
                "decisions": decisions_record(comparison.decisions.get(name)),
                "unmatched": _calls(comparison.unmatched.get(name, ())),
            }
            for name in comparison.executors
        ],
        "rows": [_row(row) for row in comparison.rows],
    }


def verdict_to_json(verdict: Verdict) -> dict[str, Any]:
    """A verdict as plain data, with the floor that was measured; see `comparison_to_json`."""
    mechanism = verdict.mechanism
    return {
        **_head(),
        "kind": verdict.kind,
        "execution": verdict.execution,
        "text": str(verdict),
        "culprit": None if verdict.culprit is None else _suspect(verdict.culprit),
        "mechanism": None
        if mechanism is None
        else {
            "name": mechanism.name,
            "is_rounding": mechanism.is_rounding,
            "text": mechanism.text,
            "advice": mechanism.advice,
        },
        "suspects": [_suspect(each) for each in verdict.suspects],
        "floor": _floor(verdict.floor),
        "n_runs": verdict.n_runs,
    }


def kept_to_json(kept: Kept) -> dict[str, Any]:
    """Layers to keep as plain data, with the code that keeps them; see `comparison_to_json`."""
    return {
        **_head(),
        "low": kept.low,
        "layers": list(kept.layers),
        "is_within": kept.is_within,
        "budget": outcome_record(kept.budget),
        "all_low": outcome_record(kept.all_low),
        "reached": outcome_record(kept.reached),
        "n_candidates": kept.n_candidates,
        "n_runs": kept.n_runs,
        "snippet": snippet_of(kept),
    }


def pairs_to_json(pairs: PairComparison) -> dict[str, Any]:
    """Two executions side by side as plain data; see `comparison_to_json`."""
    return {
        **_head(),
        "first": pairs.first,
        "second": pairs.second,
        "text": pairs_sentence(pairs),
        "start": None if pairs.start is None else _pair_row(pairs.start),
        "environment": [
            {"name": name, "first": first, "second": second}
            for name, first, second in pairs.environment
        ],
        "only_first": _calls(pairs.only_first),
        "only_second": _calls(pairs.only_second),
        "shapes": [{**_call(call), "difference": text} for call, text in pairs.shapes],
        "rows": [_pair_row(row) for row in pairs.rows],
    }


def error_record(error: Error | None) -> dict[str, Any] | None:
    """All numbers of an error; the relative one beside them."""
    if error is None:
        return None
    return {
        **{name: int(getattr(error, name)) for name in ERROR_COUNTS},
        **{name: finite_or_none(getattr(error, name)) for name in ERROR_FLOATS},
        "rel_l2": finite_or_none(relative(error)),
    }


def decisions_record(decisions: Decisions | None) -> dict[str, Any] | None:
    """Decisions at the output; None where there was no choice."""
    if decisions is None or not decisions.n:
        return None
    return {
        "n": decisions.n,
        "argmax_flips": decisions.argmax_flips,
        "top_k": decisions.top_k,
        "top_k_flips": decisions.top_k_flips,
        "margin": finite_or_none(decisions.margin),
        "margin_of_flips": finite_or_none(decisions.margin_of_flips),
    }


def outcome_record(outcome: Outcome) -> dict[str, Any]:
    """Relative errors of output and gradients."""
    return {"output": finite_or_none(outcome.output), "gradient": finite_or_none(outcome.gradient)}


def _head() -> dict[str, Any]:
    return {"schema": COMPARISON_SCHEMA, "generator": generator()}


def _call(call: tuple[str, int]) -> dict[str, Any]:
    path, index = call
    return {"path": path, "call": index}


def _calls(calls: Iterable[tuple[str, int]]) -> list[dict[str, Any]]:
    return [_call(call) for call in calls]


def _row(row: Row) -> dict[str, Any]:
    return {
        "executor": row.executor,
        "layer": row.layer,
        **_call(row.call),
        "kind": row.kind,
        "order": row.order,
        "direction": row.direction,
        "parameter": row.parameter,
        "ratio": finite_or_none(row.ratio),
        "sign_flips": row.sign_flips,
        "local": error_record(row.local),
        "inherited": error_record(row.inherited),
        "total": error_record(row.total),
    }


def _suspect(suspect: Suspect) -> dict[str, Any]:
    return {
        "layer": suspect.layer,
        **_call(suspect.call),
        "direction": suspect.direction,
        "parameter": suspect.parameter,
        "error": error_record(suspect.error),
        "floor_rms": finite_or_none(suspect.floor_rms),
        "times_floor": finite_or_none(suspect.times_floor),
    }


def _floor(floor: Floor) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    for (call, what), rms in floor.rms.items():
        direction, _, parameter = what.partition(":")
        rows.append(
            {
                **_call(call),
                "direction": direction,
                "parameter": parameter or None,
                "rms": finite_or_none(rms),
                "max_abs": finite_or_none(floor.max_abs.get((call, what))),
            }
        )
    return {"precision": floor.precision, "samples": list(floor.samples), "rows": rows}


def _pair_row(row: PairRow) -> dict[str, Any]:
    return {
        "layer": row.layer,
        **_call(row.call),
        "kind": row.kind,
        "order": row.order,
        "direction": row.direction,
        "parameter": row.parameter,
        "given": error_record(row.given),
        "made": error_record(row.made),
        "starts": row.starts,
    }
