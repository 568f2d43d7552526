import json
import subprocess
import sys

import pytest

from deephochuli.cli import main


def report(*words):
    return main(["report", *map(str, words)], exits=False)


def test_the_last_line_is_the_path_of_the_page(damaged, capsys):
    assert report(damaged) == 0
    shown = capsys.readouterr().out
    page = damaged.with_name("damaged.html")
    assert shown.splitlines()[-1] == str(page)
    assert page.read_text("utf-8").startswith("<!doctype html>")
    assert "swamped" in shown


def test_the_page_lies_where_it_is_told(healthy, tmp_path, capsys):
    page = tmp_path / "new" / "folder" / "page.html"
    assert report(healthy, "--html", page, "--title", "A <title> of its own") == 0
    assert "A &lt;title&gt; of its own" in page.read_text("utf-8")
    assert not healthy.with_name("healthy.html").exists()
    assert capsys.readouterr().out.splitlines()[-1] == str(page)


def test_a_run_folder_holds_what_was_recorded_and_nothing_else(damaged):
    before = sorted(damaged.rglob("*"))
    report(damaged)
    assert sorted(damaged.rglob("*")) == before


def test_json_is_one_document_and_writes_no_page(damaged, healthy, capsys):
    assert report(damaged, healthy, "--json") == 0
    runs = json.loads(capsys.readouterr().out)["runs"]
    assert [run["name"] for run in runs] == ["damaged", "healthy"]
    assert [finding["kind"] for finding in runs[0]["findings"]] == ["swamped-updates"]
    assert runs[1]["findings"] == []
    assert not damaged.with_name("damaged.html").exists()


def test_runs_of_one_name_are_told_apart(damaged, healthy, tmp_path, capsys):
    for number, run in enumerate((damaged, healthy)):
        (tmp_path / str(number)).mkdir()
        run.rename(tmp_path / str(number) / "run")
    assert report(tmp_path / "0" / "run", tmp_path / "1" / "run", "--json") == 0
    names = [run["name"] for run in json.loads(capsys.readouterr().out)["runs"]]
    assert names == ["0/run", "1/run"]


def test_findings_can_fail_a_pipeline(damaged, healthy):
    assert report(damaged, "--json", "--fail-on", "critical") == 1
    assert report(damaged, "--json", "--fail-on", "warning") == 1
    assert report(healthy, "--json", "--fail-on", "warning") == 0


def test_figures_are_written(damaged, tmp_path):
    pytest.importorskip("matplotlib")
    assert report(damaged, "--json", "--figures", tmp_path / "figures") == 0
    assert list((tmp_path / "figures").glob("*.svg"))


@pytest.mark.parametrize("name", ["missing", "empty", "file"])
def test_what_is_no_run_is_refused(name, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("not a run")
    assert report(tmp_path / name) == 2
    caught = capsys.readouterr()
    assert caught.err.startswith("Error: ")
    assert str(tmp_path / name) in caught.err
    assert caught.err.count("\n") == 1
    assert caught.out == ""


def test_a_page_that_cannot_be_written_is_one_message(healthy, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert report(healthy, "--html", tmp_path / "file" / "page.html") == 2
    assert "--html" in capsys.readouterr().err


def test_a_report_needs_no_torch(healthy):
    code = (
        "import sys; from deephochuli.cli import main; "
        f"code = main(['report', {str(healthy)!r}], exits=False); "
        "assert code == 0 and not {'torch', 'numba', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_the_same_findings_from_python(damaged, capsys):
    import deephochuli

    deephochuli.print_findings(damaged)
    assert "damaged" in capsys.readouterr().out
    assert [f.kind for f in deephochuli.findings(deephochuli.open_run(damaged))] == [
        "swamped-updates"
    ]
