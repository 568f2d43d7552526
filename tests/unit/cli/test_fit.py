import json

from deephochuli.cli import main
from tests.unit.cli.conftest import tap


def fits_of(capsys, *words):
    assert main(["fit", *map(str, words), "--json"], exits=False) == 0
    return json.loads(capsys.readouterr().out)


def test_ranges_are_judged_by_the_recorded_numbers(write, capsys):
    tiny = write("tiny", tap("fc", "g", [2.0**-30, 2.0**-28, -(2.0**-27), 0.0]))
    (half,) = fits_of(capsys, tiny, "-f", "fp16")
    assert half["verdict"] == "fits scaled"
    assert half["to_zero"] == {"low": 9, "high": 9, "of": 9}
    (brain,) = fits_of(capsys, tiny, "-f", "bf16")
    assert (brain["verdict"], brain["to_zero"]["high"]) == ("fits", 0)


def test_nothing_helps_when_the_range_is_too_wide(write, capsys):
    wide = write("wide", tap("fc", "g", [2.0**-60, 2.0**60]))
    (half,) = fits_of(capsys, wide, "-f", "fp16")
    assert half["verdict"] == "loses"
    assert half["out_of_range"] == {"low": 3, "high": 3, "of": 6}


def test_formats_and_quantities_can_be_chosen(healthy, capsys):
    chosen = fits_of(capsys, healthy, "-q", "w", "-f", "fp8_e5m2", "-f", "e5m10")
    assert [entry["quantity"] for entry in chosen] == ["w", "w"]
    assert len(fits_of(capsys, healthy)) % 2 == 0


def test_tables_name_layers_verdicts_and_formats(write, capsys):
    tiny = write("tiny", tap("fc", "g", [2.0**-30, 2.0**-28]), tap("fc", "w", [2.0**-60, 2.0**60]))
    assert main(["fit", str(tiny), "-f", "fp16", "-f", "bf16"], exits=False) == 0
    shown = capsys.readouterr().out
    assert "loses" in shown
    assert "fits × 2^" in shown
    assert "fp16" in shown
    assert "bf16" in shown


def test_a_layer_name_cannot_act_on_the_terminal(write, capsys):
    run = write("hostile", tap("\x1b[2J[bold]evil[/bold]", "w", [1.0]))
    assert main(["fit", str(run), "--all"], exits=False) == 0
    shown = capsys.readouterr().out
    assert "\x1b[2J" not in shown
    assert r"\x1b[2J[bold]evil[/bold]" in shown


def test_a_format_that_does_not_exist(healthy, capsys):
    assert main(["fit", str(healthy), "-f", "fp15"], exits=False) == 2
    assert "Did you mean" in capsys.readouterr().err


def test_a_folder_that_is_no_run(tmp_path, capsys):
    missing = tmp_path / "missing"
    assert main(["fit", str(missing)], exits=False) == 2
    assert f"no run folder {missing}" in capsys.readouterr().err
    assert main(["fit", str(tmp_path)], exits=False) == 2
    assert f"{tmp_path} is not a run folder" in capsys.readouterr().err


def test_a_format_without_a_sign_does_not_fit_what_is_negative(write, capsys):
    run = write("signs", tap("fc", "g", [-2.0, 3.0]), tap("fc", "w", [2.0, 3.0]))
    verdicts = {each["quantity"]: each["verdict"] for each in fits_of(capsys, run, "-f", "e8m0")}
    assert verdicts == {"g": "loses", "w": "fits"}
    assert main(["fit", str(run), "-f", "e8m0", "-q", "g"], exits=False) == 0
    assert "loses 50 %" in capsys.readouterr().out


def test_all_is_said_as_a_hundred(write, capsys):
    run = write("lost", tap("fc", "g", [-2.0, -3.0]))
    assert main(["fit", str(run), "-f", "e8m0"], exits=False) == 0
    assert "loses 100 %" in capsys.readouterr().out
