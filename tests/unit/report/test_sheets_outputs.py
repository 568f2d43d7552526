"""Answers in the terminal and as JSON: the same numbers as on the page."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from deephochuli.report import Answer, claims_table, sheet_tables, sheets_to_json
from deephochuli.report._sheets_terminal import cell_text
from tests.e2e.synthetic import HOSTILE_NAMES
from tests.unit.report import sheets as made


def printed(parts, width: int = 160) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, highlight=False)
    for part in parts:
        console.print(part)
    return out.getvalue()


def test_the_terminal_shows_question_answer_findings_tables_and_notes():
    sheet = made.sheet()
    text = printed(sheet_tables(sheet))
    for piece in (sheet.title, sheet.question, sheet.answer, made.finding().title, *sheet.notes):
        assert piece in text
    order = [text.index(piece) for piece in (sheet.answer, made.finding().title, "Sums by layer")]
    assert order == sorted(order)
    row = next(line for line in text.splitlines() if line.strip().startswith(made.LAYERS[2]))
    assert row.split() == [made.LAYERS[2], "16", "0.1", "no", "–"]
    last = next(line for line in text.splitlines() if line.strip().startswith("last"))
    assert last.split() == ["last", "3", "∞", "yes", "–"]


def test_the_terminal_shows_every_claim_with_its_verdict():
    text = printed(sheet_tables(Answer(made.sheet(), made.claims())))
    for word in ("✓ confirmed", "≈ refined", "✗ refuted", "? open", "founding project, section 2"):
        assert word in text
    assert text.count("confirmed") == 2
    assert "0.03 (0.009–0.014), n = 20" in printed([claims_table(made.claims())])


def test_long_tables_say_what_they_leave_out():
    text = printed(sheet_tables(made.sheet(), most=5))
    assert made.LAYERS[4] in text
    assert made.LAYERS[5] not in text
    assert "10 more rows; --all shows them." in text
    assert "more rows" not in printed(sheet_tables(made.sheet(), most=None))


def test_a_number_stands_with_its_interval():
    table = made.Table(
        "t", "Shares", ("layer", "share", "share, low", "share, high"),
        (("a", 0.5, 0.25, 0.75), ("b", 0.1, 0.1, 0.1)),
    )  # fmt: skip
    lines = printed(sheet_tables(made.sheet(tables=(table,)))).splitlines()
    assert next(line for line in lines if line.startswith(" a")).split() == [
        *("a", "0.5", "[0.25–0.75]")
    ]
    assert next(line for line in lines if line.startswith(" b")).split() == ["b", "0.1"]


@pytest.mark.parametrize("width", [50, 80])
def test_a_narrow_terminal_breaks_numbers_but_loses_none(width):
    text = printed(sheet_tables(made.sheet(), width=width), width)
    digits = "".join(text.split())
    assert all(len(line) <= width for line in text.splitlines())
    for column in ("layer", "absorbed", "exact", "bits"):
        assert column in digits or column[:4] in digits


def test_hostile_names_steer_no_terminal():
    all_of_them = " ".join((*HOSTILE_NAMES, "\x1b[31m\u202e\x07"))
    table = made.Table("t", all_of_them, (all_of_them,), ((all_of_them,),), all_of_them)
    sheet = made.sheet(
        title=all_of_them, question=all_of_them, answer=all_of_them, notes=(all_of_them,),
        tables=(table,),
    )  # fmt: skip
    claim = replace(made.claims()[0], text=all_of_them, source=all_of_them, because=all_of_them)
    text = printed(sheet_tables(Answer(sheet, (claim,))))
    assert "\\x1b[31m" in text
    assert all(sign.isprintable() or sign == "\n" for sign in text)


def test_json_holds_the_sheets_as_they_are():
    found = sheets_to_json(made.answers())
    json.dumps(found, allow_nan=False)
    assert found["schema"] == 1
    figure = found["answers"][0]["figures"][0]
    assert figure["series"][3]["y"] == list(made.cutoff().series[3].y)
    assert found["answers"][0]["tables"][0]["columns"] == list(made.table().columns)


def test_a_sentence_in_a_cell_is_not_cut_and_a_long_layer_name_keeps_its_number():
    sentence = "warning: 12.5 % of the channels of some layer far down are dead"
    assert cell_text(sentence) == sentence
    name = "model.language_model.decoder.layers.17.self_attention.query_projection.weight"
    assert ".17." in cell_text(name)
    assert len(cell_text(name)) <= 44
