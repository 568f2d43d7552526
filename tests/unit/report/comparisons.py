"""Comparisons, verdicts and searches made by hand, so that what must be shown is known."""

from __future__ import annotations

import math

from deephochuli.analysis.compare import (
    Comparison,
    Decisions,
    Error,
    Floor,
    Kept,
    Mechanism,
    Outcome,
    PairComparison,
    PairRow,
    Row,
    Suspect,
    Verdict,
)

EXACT = Error(n=8, reference_rms=1.0, cosine=1.0)
CALLS = (("", "Net"), ("stem", "Conv2d"), ("relu", "ReLU"), ("head", "Linear"))
CULPRIT = "stem"


def error(rel: float, **changes: float) -> Error:
    """An error of a known relative size; the reference has an rms of 2."""
    fields = {
        "n": 100,
        "max_abs": 8 * rel,
        "mean_abs": rel,
        "rms": 2 * rel,
        "median_abs": rel,
        "reference_rms": 2.0,
        "cosine": 1 - rel**2,
        "rms_ulps": rel * 2.0**23,
        "max_ulps": rel * 2.0**25,
    }
    return Error(**{**fields, **changes})


def rows_of(executor: str, own: float, names: tuple[tuple[str, str], ...] = CALLS) -> list[Row]:
    """Forward, backward, gradients and updates of a small model; activations are exact."""
    rows: list[Row] = []
    for order, (path, kind) in enumerate(names):
        local = EXACT if kind in ("ReLU", "Net") else error(own / (order + 1))
        inherited = error(own * order / 8) if order > 1 else EXACT
        total = error(own)
        flips = 3 if kind == "ReLU" and own > 2.0**-20 else None
        for direction in ("forward", "backward"):
            what = (executor, (path, 0), kind, order, direction, None, local, inherited, total)
            ratio = math.nan if local.is_exact else own / 2.0**-24
            rows.append(Row(*what, ratio, flips if direction == "forward" else None))
        if kind in ("Conv2d", "Linear"):
            for direction in ("gradient", "update"):
                what = (executor, (path, 0), kind, order, direction, "weight")
                rows.append(Row(*what, error(own), EXACT, error(own), own / 2.0**-24))
    return rows


def comparison(names: tuple[tuple[str, str], ...] = CALLS, **changes: object) -> Comparison:
    """Two executions; the second one errs 2^12 times as much and flips two decisions."""
    fields = {
        "model": "Net",
        "reference": "fp64",
        "executors": ("fp32", "tf32"),
        "rows": (*rows_of("fp32", 2.0**-24, names), *rows_of("tf32", 2.0**-12, names)),
        "decisions": {
            "fp32": Decisions(50, 0, 5, 0, 1e5),
            "tf32": Decisions(50, 2, 5, 7, 40.0, 1.5),
        },
        "losses": {"fp64": 2.25, "fp32": 2.25, "tf32": 2.375},
        "unmatched": {"fp32": (), "tf32": (("extra", 1),)},
    }
    return Comparison(**{**fields, **changes})


def floor_of(compared: Comparison) -> Floor:
    """Twice what the first execution does."""
    floor = Floor(24, ["fp32", "threads=1"])
    for row in compared.of(compared.executors[0]):
        what = f"{row.direction}:{row.parameter}" if row.parameter else row.direction
        floor.rms[row.call, what] = 2 * row.local.rms
        floor.max_abs[row.call, what] = 2 * row.local.max_abs
    return floor


def suspect_of(row: Row, times: float = 2048.0) -> Suspect:
    """A suspect at a row."""
    rms = row.local.rms / times
    return Suspect(row.call, row.direction, row.parameter, row.local, rms, times)


def verdict(compared: Comparison | None = None, **changes: object) -> Verdict:
    """Rounding of the operands, which starts at `CULPRIT`."""
    compared = comparison() if compared is None else compared
    erring = [row for row in compared.of("tf32") if not row.local.is_exact]
    mechanism = Mechanism("operands-rounded", True, "Rounding explains it.", "Switch it off.")
    fields = {
        "kind": "rounding",
        "culprit": suspect_of(erring[0]),
        "mechanism": mechanism,
        "suspects": tuple(suspect_of(row) for row in erring),
        "floor": floor_of(compared),
        "n_runs": 7,
        "execution": "tf32",
    }
    return Verdict(**{**fields, **changes})


def clean_verdict() -> Verdict:
    """Nothing above the floor."""
    return verdict(kind="clean", culprit=None, mechanism=None, suspects=())


def kept(**changes: object) -> Kept:
    """Two layers of three are kept out of BF16."""
    fields = {
        "low": "bf16",
        "layers": ("stem", "head"),
        "budget": Outcome(1e-2, 5e-2),
        "all_low": Outcome(4e-2, 2e-1),
        "reached": Outcome(8e-3, 4e-2),
        "is_within": True,
        "n_candidates": 3,
        "n_runs": 12,
    }
    return Kept(**{**fields, **changes})


def pairs(**changes: object) -> PairComparison:
    """Two executions that part at `stem`."""
    rows = (
        PairRow(("", 0), "Net", 0, "forward", EXACT, error(2.0**-9), False),
        PairRow((CULPRIT, 0), "Conv2d", 1, "forward", EXACT, error(2.0**-11), True),
        PairRow(("relu", 0), "ReLU", 2, "forward", error(2.0**-11), error(2.0**-11), False),
        PairRow(("head", 0), "Linear", 3, "forward", error(2.0**-11), error(2.0**-9), False),
        PairRow(("head", 0), "Linear", 3, "gradient", None, error(2.0**-8), False, "weight"),
    )
    fields = {
        "first": "here (native)",
        "second": "there (native)",
        "rows": rows,
        "only_first": (("old", 0),),
        "only_second": (),
        "shapes": ((("wide", 0), "outputs have the shapes [(2,)] and [(3,)]"),),
        "environment": (("torch", "2.12", "2.13"), ("cuda device", "none", "a GPU")),
    }
    return PairComparison(**{**fields, **changes})
