"""The data of a page: one JSON object, and one blob of packed arrays that it describes.

Layout of the JSON object (schema 1)::

    schema       1
    title        text
    made         {by, at}
    formats      list of formats: name, label, precision, emin, ..., cuts (see `_formats`)
    start        {format}: the format that the page asks about at first
    runs         one per run:
      name, provenance [[label, value], ...], notes [text, ...]
      taps       [{layer, quantity, role, module, type, dtype, order}]
      columns    {first, last, n}   fine time axis (at most 200): steps, and recorded steps merged
      bins       {first, last, n}   coarse time axis (at most 48)
      n_recorded, n_stored_curves   taps from this number on are derived (a = relu(z)): no curves
      units      [{tap, channels}]  taps with channel counts, in the order of units.codes
    findings     one per finding, worst first, `run` says of which run
    arrays       directory of the blob: name -> [kind, length, delta]

Arrays of run r are named ``r.`` and

    sketch.offsets u4, sketch.keys u2, sketch.counts i8
                 whole-run histogram of each tap by leading-bit key of the magnitude: exact
    total.*      exact whole-run numbers of each tap: min_abs, max_abs, sum, sum_sq, n_subnormal,
                 n_updatable, n_unmoved
    series.*     taps x columns: count codes (silent, channels, updatable, unmoved) and magnitude
                 codes (rms, max)
    bins.low i2, bins.width u2, bins.counts u2
                 histogram of each tap over time: slots x bins count codes, slot 2e holds exactly
                 2**(e-1023), slot 2e+1 the open binade above it
    bins.*       taps x bins: n, zero, inf, nan (count codes), min, max (magnitude codes)
    ratio.*      floor(log2|dw|) - floor(log2|w|): offsets, keys, counts (exact, whole run) and
                 bins.low, bins.width, bins.counts (over time), for the updates
    units.codes  u1, channels x bins of each tap in `units`: activity in 16 levels (see `_units`)
    steps.*      f4 by column: loss, loss_scale, lr (means), skipped (count)

Codes and packing are those of `_codes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from deephochuli.analysis import Finding, findings
from deephochuli.formats import format_of_dtype
from deephochuli.report._codes import Blob
from deephochuli.report._formats import formats_payload
from deephochuli.report._json import finding_record
from deephochuli.report._provenance import generator, provenance_rows
from deephochuli.report._read import read_run
from deephochuli.report._run import add_run
from deephochuli.store import RunReader

PAYLOAD_SCHEMA: Final = 1
MOST_CELLS: Final = 160_000
METRIC_OF_EVIDENCE: Final = {
    "unmoved": "unmoved",
    "zero": "zero",
    "subnormal": "subnormal",
    "headroom": "headroom",
    "silent_channels": "silent",
    "nonfinite": "nonfinite",
}


def build_payload(
    runs: Sequence[RunReader],
    names: Sequence[str],
    title: str,
    known: Sequence[Sequence[Finding]] | None = None,
    *,
    most_cells: int = MOST_CELLS,
) -> tuple[dict[str, Any], str]:
    """The JSON object of a page and its blob; findings of the runs are asked for or known."""
    blob = Blob()
    most_cells //= len(runs)
    run_parts = [
        _run_part(blob, number, run, name, most_cells)
        for number, (run, name) in enumerate(zip(runs, names, strict=True))
    ]
    found = [
        finding_payload(finding, number, run)
        for number, run in enumerate(runs)
        for finding in (findings(run) if known is None else known[number])
    ]
    payload = {
        "schema": PAYLOAD_SCHEMA,
        "title": title,
        "made": {"by": generator(), "at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")},
        "formats": formats_payload(),
        "start": {"format": "fp16"},
        "runs": run_parts,
        "findings": sorted(found, key=harm),
        "arrays": blob.directory,
    }
    return payload, blob.to_base64()


def _run_part(
    blob: Blob, number: int, run: RunReader, name: str, most_cells: int
) -> dict[str, Any]:
    """JSON part of one run; its arrays go into the blob."""
    tables = read_run(run, name, most_cells=most_cells)
    part = add_run(blob, f"{number}.", tables)
    return {**part, "provenance": provenance_rows(run), "notes": list(tables.notes)}


def finding_payload(finding: Finding, number: int, run: RunReader) -> dict[str, Any]:
    """One finding as the page holds it: the machine form, its run, and where the page shows it."""
    return {
        **finding_record(finding),
        "run": number,
        "evidence": METRIC_OF_EVIDENCE.get(finding.evidence, finding.evidence),
        "format": _format_of(finding, run),
    }


def harm(finding: dict[str, Any]) -> tuple[int, float]:
    """Sort key of a finding among those of several runs: worst first."""
    return ("critical", "warning", "note").index(finding["level"]), -(finding["score"] or 0.0)


def _format_of(finding: Finding, run: RunReader) -> str | None:
    """Name of the format that the place of a finding was stored in."""
    for tap in run.taps():
        if (tap.layer, tap.quantity) == (finding.layer, finding.quantity):
            return None if tap.dtype == "mixed" else format_of_dtype(tap.dtype).name
    return None
