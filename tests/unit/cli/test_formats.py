import json

import pytest

from deephochuli.cli import main


def test_the_table_shows_every_known_format(capsys):
    from deephochuli.formats import list_formats

    assert main(["formats"], exits=False) == 0
    shown = capsys.readouterr().out
    assert all(number_format.name in shown for number_format in list_formats())


def test_numbers_are_those_of_the_standard(capsys):
    main(["formats", "fp16", "float32"], exits=False)
    half, single = [line.split() for line in capsys.readouterr().out.splitlines() if "fp" in line]
    assert half[:3] == ["fp16", "16", "11"]
    assert "65504" in half
    assert single[1:3] == ["32", "24"]
    assert single[3:6] == ["2^-24", "=", "5.96e-08"]


def test_json_is_one_document_with_exact_numbers(capsys):
    main(["formats", "bfloat16", "--json"], exits=False)
    (row,) = json.loads(capsys.readouterr().out)
    assert row["unit_roundoff"] == 2.0**-8
    assert row["absorption_above_1"] == 2.0**-8
    assert row["absorption_below_1"] == 2.0**-9
    assert row["smallest_subnormal"] == 2.0**-133


def test_a_format_of_the_users_own(capsys):
    assert main(["formats", "e5m10", "--json"], exits=False) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["exponent_bits"], row["precision"]) == (5, 11)


@pytest.mark.parametrize("name", ["bflat16", "fp17"])
def test_an_unknown_format_names_near_ones(name, capsys):
    assert main(["formats", name], exits=False) == 2
    caught = capsys.readouterr()
    assert caught.out == ""
    assert name in caught.err
    assert "Did you mean" in caught.err
