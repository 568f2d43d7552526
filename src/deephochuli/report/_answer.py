"""An answer of an analysis or of a study, as the page and the terminal show it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deephochuli.analysis import Sheet

if TYPE_CHECKING:
    from deephochuli.studies import Claim, Conclusion, Study


@dataclass(frozen=True, slots=True)
class Answer:
    """A sheet, and the claims that it judges.

    Attributes:
        sheet: The answer to one question.
        claims: Statements with their verdicts; none for a question about a user's model.
    """

    sheet: Sheet
    claims: tuple[Claim, ...] = ()


def answer_of(study: Study, conclusion: Conclusion) -> Answer:
    """What a study found, as an answer."""
    sheet = Sheet(
        key=study.name,
        title=study.title,
        question=study.question,
        answer=conclusion.answer,
        tables=conclusion.tables,
        figures=conclusion.figures,
        notes=conclusion.notes,
    )
    return Answer(sheet, conclusion.claims)
