"""Users' scripts with one line added, run in a process of their own."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

SCRIPTS = Path(__file__).parent / "scripts"
PROJECT = Path(__file__).parents[2]
LINE = "import deephochuli.auto\n"


def with_the_line(script: Path, folder: Path) -> Path:
    """A copy of a script with the line before its first import; nothing else is changed."""
    lines = script.read_text("utf-8").splitlines(keepends=True)
    first = next(n for n, line in enumerate(lines) if line.startswith(("import", "from")))
    copy = folder / script.name
    copy.write_text("".join([*lines[:first], LINE, *lines[first:]]), "utf-8")
    return copy


def run(script: Path, cwd: Path, *words, path: Path | None = None, **variables):
    """Run a script as users do; it must end well. What it printed on both streams."""
    sources = [str(each) for each in (path, PROJECT / "src") if each is not None]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sources)}
    done = subprocess.run(
        [sys.executable, str(script), *words],
        cwd=cwd, capture_output=True, text=True, env=environment | variables, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


def installed(folder: Path) -> Path:
    """What an installation adds to the sources: the entry points that pyproject.toml declares."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]
    info = folder / "deephochuli-0.0.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: deephochuli\nVersion: 0.0.0\n")
    parts = [
        "\n".join([f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())])
        for group, entries in project["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("\n".join(parts))
    return folder


def losses(done) -> list[str]:
    """The lines with a loss, which scripts print in hexadecimal."""
    return [line for line in done.stdout.splitlines() if "0x" in line]
