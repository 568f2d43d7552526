import os
import resource
import subprocess
import sys

import pytest

import deephochuli
from deephochuli import cli
from deephochuli.cli import main
from deephochuli.errors import StoreError


def run_command(*words, **options):
    command = [sys.executable, "-m", "deephochuli", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def test_version():
    done = run_command("--version")
    assert (done.returncode, done.stdout) == (0, f"deephochuli {deephochuli.__version__}\n")


def test_help_names_every_command(capsys):
    assert main(["--help"], exits=False) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in cli.COMMANDS)


@pytest.mark.parametrize("name", list(cli.COMMANDS))
def test_every_command_has_help(name, capsys):
    assert main([name, "--help"], exits=False) == 0
    assert f"deephochuli {name}" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["repotr", "run"], ["report"], ["formats", "--jsn"]])
def test_wrong_use_exits_with_2_and_says_why(words, capsys):
    assert main(words, exits=False) == 2
    assert "Usage:" in capsys.readouterr().err


@pytest.fixture
def failing(monkeypatch):
    """The command `formats`, failing as a damaged run would make `report` fail."""

    def fail(names):
        raise StoreError("runs/a is damaged: chunk-000003 has no rows. Delete that folder.")

    import deephochuli.formats

    monkeypatch.setattr(deephochuli.formats, "format_rows", fail)


def test_an_error_of_ours_is_one_message(failing, capsys):
    assert main(["formats"], exits=False) == 2
    assert capsys.readouterr().err == (
        "Error: runs/a is damaged: chunk-000003 has no rows. Delete that folder.\n"
    )


@pytest.mark.parametrize("words", [["--debug", "formats"], ["formats", "--debug"]])
def test_debug_shows_the_traceback(failing, words):
    with pytest.raises(StoreError):
        main(words, exits=False)


def test_main_ends_the_process_unless_told_otherwise():
    with pytest.raises(SystemExit) as done:
        main(["--version"])
    assert done.value.code == 0


def test_a_closed_pipe_is_no_error():
    read, write = os.pipe()
    os.close(read)
    process = subprocess.Popen(
        [sys.executable, "-m", "deephochuli", "formats", "--json"],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(write)
    _, stderr = process.communicate(timeout=60)
    assert stderr == ""


def cpu_seconds(*words):
    """Processor time of one Python process: unlike wall time, not that of its neighbours."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *words], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize(("words", "limit"), [(["--help"], 0.5), (["formats"], 1.0)])
def test_a_light_command_answers_at_once(words, limit):
    """Beyond an interpreter that does nothing, and with room for a busy machine."""
    nothing = min(cpu_seconds("-c", "pass") for _ in range(3))
    command = min(cpu_seconds("-m", "deephochuli", *words) for _ in range(5))
    assert command - nothing < limit
