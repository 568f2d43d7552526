"""The line at the bottom of a terminal, drawn on streams that say they are one."""

import io
import sys

from deephochuli.session import _status
from deephochuli.session._status import StatusLine


class Screen:
    """What a terminal would show of what two streams write, line by line."""

    def __init__(self):
        self.lines, self.column = [""], 0

    def take(self, text):
        rest = text
        while rest:
            if rest.startswith("\x1b[2K"):
                self.lines[-1], rest = "", rest[4:]
            elif rest.startswith("\x1b["):
                rest = rest[rest.index("m") + 1 :]
            elif rest[0] == "\r":
                self.column, rest = 0, rest[1:]
            elif rest[0] == "\n":
                self.lines.append("")
                self.column, rest = 0, rest[1:]
            else:
                line = self.lines[-1].ljust(self.column)
                self.lines[-1] = line[: self.column] + rest[0] + line[self.column + 1 :]
                self.column, rest = self.column + 1, rest[1:]


class Terminal(io.TextIOWrapper):
    """A stream of a type of its own that shows on a screen what is written."""

    def __init__(self, screen):
        super().__init__(io.BytesIO(), encoding="utf-8", write_through=True)
        self.screen = screen

    def write(self, text):
        self.screen.take(text)
        return len(text)

    def isatty(self):
        return True


def on_terminal(monkeypatch):
    """Let both streams be a terminal, from within a test: pytest has its own before."""
    shown = Screen()
    monkeypatch.setattr(sys, "stdout", Terminal(shown))
    monkeypatch.setattr(sys, "stderr", Terminal(shown))
    monkeypatch.setattr(_status, "SECONDS", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    return shown


def test_the_line_is_shown_and_gone(monkeypatch):
    screen = on_terminal(monkeypatch)
    line = StatusLine(lambda: "12 steps")
    line.tick()
    assert screen.lines == ["12 steps"]
    line.close()
    assert screen.lines == [""]


def test_what_the_script_prints_stays_whole(monkeypatch):
    screen = on_terminal(monkeypatch)
    line = StatusLine(lambda: "a long line of our own")
    for number in range(3):
        print("loss", number)
        line.tick()
        line.tick()
    print("end", file=sys.stderr)
    line.close()
    assert screen.lines == ["loss 0", "loss 1", "loss 2", "end", ""]


def test_nothing_is_drawn_into_a_line_that_the_script_has_not_ended(monkeypatch):
    screen = on_terminal(monkeypatch)
    line = StatusLine(lambda: "of our own")
    print("50%|#####     |\r", end="")
    line.tick()
    assert screen.lines == ["50%|#####     |"]
    print("\r100%|##########|")
    line.tick()
    assert screen.lines == ["100%|##########|", "of our own"]
    line.close()


def test_streams_are_the_objects_that_they_were(monkeypatch):
    on_terminal(monkeypatch)
    before = sys.stdout, sys.stderr
    line = StatusLine(lambda: "x")
    assert (sys.stdout, sys.stderr) == before
    assert type(sys.stdout) is Terminal
    line.close()
    assert "write" not in vars(sys.stdout)
    assert "write" not in vars(sys.stderr)


def test_no_terminal_no_line(monkeypatch, capsys):
    line = StatusLine(lambda: "x")
    line.tick()
    line.close()
    assert capsys.readouterr().err == ""


def test_at_most_once_a_second(monkeypatch):
    on_terminal(monkeypatch)
    monkeypatch.setattr(_status, "SECONDS", 1.0)
    now = [100.0]
    monkeypatch.setattr(_status.time, "monotonic", lambda: now[0])
    drawn = []
    line = StatusLine(lambda: drawn.append(now[0]) or "x")
    for _ in range(100):
        line.tick()
        now[0] += 0.1
    line.close()
    assert len(drawn) == 10
