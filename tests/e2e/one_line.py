"""Users' scripts with one line added, run in a process of their own or in this one."""

import io
import os
import runpy
import subprocess
import sys
import tomllib
import warnings
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace

from deephochuli.session import current_session

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


def run(script: Path, cwd: Path, *words, path: Path | None = None, code: int = 0, **variables):
    """Run a script as users do; it must end with an exit code. What it printed."""
    sources = [str(each) for each in (path, PROJECT / "src") if each is not None]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sources)}
    done = subprocess.run(
        [sys.executable, str(script), *words],
        cwd=cwd, capture_output=True, text=True, env=environment | variables, timeout=300,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done


def run_here(script: Path, cwd: Path, *words: str):
    """Run a script in this process, which has loaded what it imports; what it prints.

    A session that it switches on ends with it, as the end of a process would end it.
    """
    sys.modules.pop("deephochuli.auto", None)
    out, err = io.StringIO(), io.StringIO()
    before, argv = Path.cwd(), sys.argv
    os.chdir(cwd)
    sys.argv = [str(script), *words]
    try:
        with redirect_stdout(out), redirect_stderr(err), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what libraries say of each other
            runpy.run_path(str(script), run_name="__main__")
            session = current_session()
            if session is not None:
                session.close()
    finally:
        sys.argv = argv
        os.chdir(before)
    return SimpleNamespace(stdout=out.getvalue(), stderr=err.getvalue())


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
