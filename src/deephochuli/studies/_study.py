"""A study: a plan of points, what is measured at each, and what follows from all of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from deephochuli.analysis import Figure, Table

Verdict = Literal["confirmed", "refined", "refuted", "open"]
Params = Mapping[str, Any]
"""Parameters of a point: a mapping that JSON can hold, and nothing that JSON would change."""


@dataclass(frozen=True, slots=True)
class Point:
    """One thing to measure; the same parameters are the same point, whoever asks for it.

    Attributes:
        study: Name of the study.
        version: Of the study's way of measuring; a new one makes every point a new point.
        params: All that the measurement depends on, the seed included.
    """

    study: str
    version: int
    params: Params

    @property
    def id(self) -> str:
        """Hash of the content: the first 20 hexadecimal digits of a SHA-256."""
        content = {"study": self.study, "version": self.version, "params": dict(self.params)}
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:20]


@dataclass(frozen=True, slots=True)
class Result:
    """What was measured at one point.

    Attributes:
        params: Parameters of the point.
        values: What came out, as JSON holds it; the same parameters give the same bytes on the
            same machine, so no time of day and no duration is among them.
    """

    params: Params
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Claim:
    """One statement of a founding document, or of ours, and what became of it.

    Attributes:
        text: The statement, so that it can be true or false.
        source: Who says so: the document and its section, or the formula.
        expected: What should be measured if it holds, with its tolerance.
        measured: What was measured, with its interval and the number of cases.
        verdict: "confirmed"; "refined" (true in part, and the better statement is in `because`);
            "refuted"; "open" (the measurement cannot decide, and `because` says what could).
        because: Why this verdict follows from the numbers.
    """

    text: str
    source: str
    expected: str
    measured: str
    verdict: Verdict
    because: str


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What follows from all results of a study.

    Attributes:
        answer: The study's question answered, with numbers and intervals, in one to three
            sentences.
        claims: Claims in the order of their documents.
        tables: Numbers.
        figures: Pictures.
        notes: Method and limits, in sentences.
    """

    answer: str
    claims: tuple[Claim, ...]
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Study:
    """A question with a plan to answer it.

    Attributes:
        name: Name on the command line.
        title: Heading in the report.
        question: What is asked, in one sentence.
        version: Raised whenever `measure` would give other values for the same parameters.
        plan: Parameters of all points: of the whole study, or of the quick one if its argument is
            true. The points of the quick plan may, and need not, be among those of the whole.
        measure: Measures one point; depends on nothing but the parameters, uses one thread, leaves
            nothing behind, and takes from a fraction of a second to about two minutes, so that
            work is spread and an interruption costs little.
        conclude: Draws the conclusion from results, in the order of the plan; pure.
        weight: Rough cost of a point in CPU-seconds; a plan is priced by it, corrected by what
            points have cost on this machine, and heavy points begin first.
    """

    name: str
    title: str
    question: str
    version: int
    plan: Callable[[bool], Sequence[Params]]
    measure: Callable[[Params], Mapping[str, Any]]
    conclude: Callable[[Sequence[Result]], Conclusion]
    weight: Callable[[Params], float] = lambda params: 1.0

    def points(self, quick: bool = False) -> list[Point]:
        """The points of the plan, in its order."""
        return [Point(self.name, self.version, params) for params in self.plan(quick)]
