"""Sheets and claims made by hand, so that what must be shown is known."""

from __future__ import annotations

import math

from deephochuli.analysis import Axis, Figure, Finding, Number, PlaceEvidence, Series, Sheet, Table
from deephochuli.report import Answer
from deephochuli.studies import Claim

LAYERS = tuple(f"stages.{i // 4}.blocks.{i % 4}.conv" for i in range(14))


def finding() -> Finding:
    """A finding with an interval and two places."""
    return Finding(
        kind="swamped-sums",
        level="warning",
        score=0.5,
        title="A tenth of the mass is absorbed",
        layer=LAYERS[0],
        quantity="z",
        summary="12 % of the additions return the larger operand.",
        why="What is absorbed is missing.",
        advice="Sum in a wider format.",
        code="x = x.float()",
        numbers=(Number("lost mass", 0.1, "share", 0.08, 0.13), Number("bits", 3.0)),
        places=(PlaceEvidence(LAYERS[0], "z", 0.1), PlaceEvidence(LAYERS[1], "z", 0.05)),
        step_first=0,
        step_last=0,
        evidence="",
    )


def cutoff() -> Figure:
    """Points with intervals, a prediction, a band and a rule on logarithmic axes."""
    n = tuple(float(10**k) for k in range(2, 9))
    seen = (*(0.3 / each for each in n[:-1]), 0.0)
    return Figure(
        key="cutoff",
        title="The smallest pre-activation seen falls with the number of those looked at",
        x=Axis("pre-activations looked at, N", "log10"),
        y=Axis("smallest |z|", "log2"),
        series=(
            Series("expected range", n, (), low=tuple(0.01 / v for v in n),
                   high=tuple(1.5 / v for v in n), mark="band"),
            Series("1 / (2 N p(0))", n, tuple(0.4 / v for v in n), mark="line", dashed=True),
            Series("FP64", n, tuple(0.45 / v for v in n), mark="points"),
            Series("FP32", n, seen, (*(0.6 * v for v in seen[:-1]), 0.0),
                   (*(1.7 * v for v in seen[:-1]), 3e-8), note="median of 20 seeds"),
            Series("spacing of FP32 at the bias", (), (2.0**-24,), mark="rule"),
        ),
        how_to_read="Points on the dashed line are what rarity alone explains.",
    )  # fmt: skip


def layers() -> Figure:
    """Two series over categories whose names do not fit below."""
    shares = tuple(0.3 / (i + 1) for i in range(14))
    low = tuple(0.8 * v for v in shares)
    high = tuple(1.2 * v for v in shares)
    return Figure(
        key="layers",
        title="Absorbed share by layer",
        x=Axis("layer", "category"),
        y=Axis("share of additions absorbed", "log10"),
        series=(
            Series("sequential", LAYERS, shares, low, high),
            Series("pairwise", LAYERS[1:], (0.0, *(v / 40 for v in shares[2:]))),
        ),
    )


def bars() -> Figure:
    """Bars over a few categories, and over numbers."""
    return Figure(
        key="bars",
        title="Deaths by cause",
        x=Axis("format", "category"),
        y=Axis("units"),
        series=(
            Series("by data", ("FP32", "BF16", "FP16"), (4.0, 5.0, 4.0), mark="bars"),
            Series("by rounding", ("FP32", "BF16", "FP16"), (0.0, 3.0, 1.0), (0.0, 1.5, 0.2),
                   (0.4, 5.5, 2.5), mark="bars"),
        ),
    )  # fmt: skip


def pieces() -> Figure:
    """Polygons, and steps."""
    corners = ((0.0, 0.0), (1.0, 0.2), (0.6, 1.0), None, (1.0, 0.2), (1.6, 1.1), (0.6, 1.0), None)
    x = tuple(None if each is None else each[0] for each in corners)
    y = tuple(None if each is None else each[1] for each in corners)
    return Figure(
        key="pieces",
        title="Pieces of the plane",
        x=Axis("x₁"),
        y=Axis("x₂"),
        series=(
            Series("pieces", x, y, mark="polygons"),
            Series("histogram", (0.0, 0.4, 0.8, 1.2, 1.6), (0.1, 0.5, 0.9, 0.3, 0.3), mark="steps"),
            Series("limit", (1.3,), (), mark="rule", dashed=True),
        ),
    )


def table() -> Table:
    """Texts, whole numbers, numbers, an infinity, truth values, and what was not measured."""
    return Table(
        key="rows",
        title="Sums by layer",
        columns=("layer", "K", "absorbed", "exact", "bits"),
        rows=(
            *(
                (name, 4 ** (i % 6), 0.3 / (i + 1), i % 3 == 0, None if i == 2 else 1.5 * i)
                for i, name in enumerate(LAYERS)
            ),
            ("last", 3, math.inf, True, math.nan),
        ),
        note="Sequential sums.",
    )


def sheet(**changes: object) -> Sheet:
    """A sheet with one of everything."""
    fields = {
        "key": "swamping",
        "title": "Swamping",
        "question": "How much of each sum is swallowed by its partial sums?",
        "answer": "Up to 30 % (24–36 %) of the additions of a sequential sum are absorbed.",
        "findings": (finding(),),
        "tables": (table(),),
        "figures": (cutoff(), layers(), bars(), pieces()),
        "notes": ("512 outputs of each layer were replayed.", "One batch."),
    }
    return Sheet(**{**fields, **changes})


def claims() -> tuple[Claim, ...]:
    """One claim of each verdict."""
    return tuple(
        Claim(
            text=f"Statement {number} about sums of FP32 numbers",
            source="founding project, section 2",
            expected="a share of 0.01 within a factor of 2",
            measured=f"0.0{number + 1} (0.009–0.014), n = 20",
            verdict=verdict,
            because="The interval lies inside of the tolerance.",
        )
        for number, verdict in enumerate(("confirmed", "refined", "refuted", "open", "confirmed"))
    )


def answers() -> list[Answer]:
    """Two studies."""
    second = sheet(key="barrier", title="The probability barrier", findings=(), figures=(cutoff(),))
    return [Answer(sheet(findings=()), claims()), Answer(second, claims()[:2])]
