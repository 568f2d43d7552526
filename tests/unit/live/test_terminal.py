"""What the terminal shows."""

import io
import signal
import subprocess
import sys
import threading
import time

import pytest
from rich.console import Console

from deephochuli.cli import main
from deephochuli.cli._serve import doorway
from deephochuli.live import Phase, Watched, frame, see, watch
from deephochuli.report import plain
from tests.e2e.synthetic import Shape, write_run
from tests.unit.live.conftest import Growing


def text_of(run: Watched, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(frame(run, see(run)))
    return console.file.getvalue()


def test_a_frame_of_a_growing_run(growing):
    run = Watched(growing.folder)
    run.look()
    text = text_of(run)
    assert str(growing.folder.name) in text
    for words in ("recording", "4 steps, the last is 30", "50 steps/s", "loss", "0.25", "ago"):
        assert words in text, words
    assert "critical" in text
    assert "subnormal gradients" in text


def test_a_frame_before_the_run_and_before_its_first_step(tmp_path):
    run = Watched(tmp_path / "run")
    run.look()
    assert "waiting" in text_of(run)
    assert "There is no run folder" in text_of(run)
    growing = Growing(tmp_path / "run")
    run.look()
    assert "no step yet" in text_of(run)
    growing.end()


@pytest.mark.parametrize(
    "name", ["esc.\x1b[2J\x1b]0;owned\x07", "[bold red]markup", "[/]", "\u202egnp.exe", "nul\x00"]
)
def test_hostile_names_reach_no_terminal(name, tmp_path):
    shape = Shape("float16", (name,), n_steps=2, n_elements=64, n_channels=4)
    run = Watched(write_run(tmp_path / "[red]run\x1b[2J", shape))
    run.look()
    text = text_of(run, width=300)
    assert all(sign.isprintable() or sign == "\n" for sign in text)
    shown = f"{plain(name)}.relu"
    assert f"of {shown} (dz) lost" in text  # in a finding
    assert any(line.startswith(shown) for line in text.splitlines())  # among the layers
    assert "[red]run\\x1b[2J" in text


def test_watching_ends_with_the_run(tmp_path):
    def record():
        growing = Growing(tmp_path / "run")
        for _ in range(3):
            growing.grow()
            time.sleep(0.05)
        growing.end()

    thread = threading.Thread(target=record)
    out = io.StringIO()
    thread.start()
    run = watch(tmp_path / "run", Console(file=out, width=100, force_terminal=True), seconds=0.02)
    thread.join()
    assert run.phase is Phase.ENDED
    assert run.n_steps == 12
    assert "recording" in out.getvalue()
    assert "12 steps" in out.getvalue().rsplit("ended", 1)[-1]


def test_once_prints_one_frame_and_ends(growing, tmp_path, capsys):
    assert main(["watch", str(growing.folder), "--once"], exits=False) == 0
    shown = capsys.readouterr().out
    assert shown.count("4 steps, the last is 30") == 1
    assert main(["watch", str(tmp_path / "none"), "--once"], exits=False) == 0
    assert "waiting" in capsys.readouterr().out


def test_what_is_no_run_is_an_error(tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    assert main(["watch", str(tmp_path / "file")], exits=False) == 2
    assert "not a run folder" in capsys.readouterr().err


def test_the_browser_is_led_to_the_page_without_the_token_in_its_arguments(tmp_path):
    page = doorway("http://127.0.0.1:5/?token=secret", tmp_path)
    assert "secret" not in str(page)
    assert "url=http://127.0.0.1:5/?token=secret" in page.read_text()


@pytest.mark.parametrize("command", ["watch", "serve"])
def test_an_interrupt_leaves_cleanly(command, growing):
    process = subprocess.Popen(
        [sys.executable, "-m", "deephochuli", command, str(growing.folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PYTHONUNBUFFERED": "1", "COLUMNS": "100", "FORCE_COLOR": "1"},
    )
    assert process.stdout is not None
    sign = {"serve": "http://127.0.0.1:", "watch": "recording"}[command]
    assert any(sign in line for line in process.stdout)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
