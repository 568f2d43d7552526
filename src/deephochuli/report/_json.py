"""The findings for machines: one stable JSON object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from deephochuli.analysis import Finding, Number, PlaceEvidence
from deephochuli.report._provenance import generator
from deephochuli.report._text import finite_or_none

FINDINGS_SCHEMA: Final = 1


def to_json(found: Mapping[str, Sequence[Finding]]) -> dict[str, Any]:
    """Findings of one run or of several as plain data.

    Args:
        found: Findings by name of the run, worst first.

    Returns:
        ``{"schema": 1, "generator": ..., "runs": [{"name": ..., "findings": [...]}]}``. Numbers
        that JSON cannot hold are None. Fields are only ever added within one schema version.
    """
    return {
        "schema": FINDINGS_SCHEMA,
        "generator": generator(),
        "runs": [
            {"name": name, "findings": [finding_record(finding) for finding in findings]}
            for name, findings in found.items()
        ],
    }


def finding_record(finding: Finding) -> dict[str, Any]:
    """One finding as plain data."""
    return {
        "kind": finding.kind,
        "level": finding.level,
        "score": finite_or_none(finding.score),
        "title": finding.title,
        "layer": finding.layer,
        "quantity": finding.quantity,
        "summary": finding.summary,
        "why": finding.why,
        "advice": finding.advice,
        "code": finding.code,
        "numbers": [_number(number) for number in finding.numbers],
        "places": [_place(place) for place in finding.places],
        "step_first": int(finding.step_first),
        "step_last": int(finding.step_last),
        "evidence": finding.evidence,
    }


def _number(number: Number) -> dict[str, Any]:
    return {
        "label": number.label,
        "value": finite_or_none(number.value),
        "unit": number.unit,
        "low": finite_or_none(number.low),
        "high": finite_or_none(number.high),
    }


def _place(place: PlaceEvidence) -> dict[str, Any]:
    return {
        "layer": place.layer,
        "quantity": place.quantity,
        "value": finite_or_none(place.value),
        "low": finite_or_none(place.low),
        "high": finite_or_none(place.high),
    }
