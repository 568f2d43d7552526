"""Answers in the places of a document, and nothing else touched."""

import pytest

from deephochuli.analysis import Sheet, Table
from deephochuli.errors import SheetError, StoreError
from deephochuli.report import Answer, write_markdown
from deephochuli.studies import Claim

CLAIM = Claim(
    "Bits | are lost.", "Somebody, section 2", "some", "3 of 4\n(n = 4)", "refined", "Yes."
)
TABLE = Table("t", "Rows", ("name", "share"), (("a|b", 0.123456), ("c", None)), "A note.")
SHEET = Sheet("kink", "Kink", "Is it sharp?", "It is.", tables=(TABLE,), notes=("A limit.",))
ANSWER = Answer(SHEET, (CLAIM,))
DOCUMENT = """# Head

<!-- study summary -->
former words
<!-- end -->
between
<!-- study kink -->
<!-- end -->
<!-- study other -->
stays
<!-- end -->
tail
"""


def test_places_are_filled_and_the_rest_stays(tmp_path):
    path = tmp_path / "findings.md"
    path.write_text(DOCUMENT)
    assert write_markdown([ANSWER], path, "deephochuli study kink") == ["summary", "kink"]
    text = path.read_text()
    assert "former words" not in text
    assert "\nbetween\n" in text
    assert "<!-- study other -->\nstays\n<!-- end -->\ntail\n" in text
    assert "`deephochuli study kink` judged 1 claims: 1 refined." in text
    assert (
        "| Bits \\| are lost. | Somebody, section 2 | some | 3 of 4 (n = 4) | **refined**: Yes. |"
        in text
    )
    assert "| a\\|b | 0.1235 |\n| c |  |\n" in text
    assert "**Is it sharp?**\n\nIt is.\n" in text
    assert "- A limit.\n" in text
    write_markdown([ANSWER], path, "deephochuli study kink")
    assert path.read_text() == text


def test_a_document_without_a_place_is_refused(tmp_path):
    path = tmp_path / "findings.md"
    path.write_text("# Head\n")
    with pytest.raises(SheetError, match=r"no place for kink, summary.*expected a line"):
        write_markdown([ANSWER], path, "x")
    with pytest.raises(StoreError, match="cannot be read"):
        write_markdown([ANSWER], tmp_path / "none.md", "x")
