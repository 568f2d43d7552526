"""Install the wheel as a new user would, into an empty environment, and try it there.

    python tools/try_wheel.py [FOLDER] [-- ARGUMENTS FOR PIP]

Takes the wheel of dist/, makes an environment in FOLDER (a temporary one by default), and

1. installs it with nothing but its core dependencies: the command, the formats and the import work,
   no extra is needed, and a user's script type-checks against it;
2. writes dist/sbom.json: every package that the wheel brought (CycloneDX);
3. adds the extra `demo` and runs the five-minute tutorial.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
DIST: Final = ROOT / "dist"
TUTORIAL: Final = ROOT / "examples" / "tutorials" / "first_report.py"
CONSUMER: Final = """\
import torch
import deephochuli as dh

found = dh.pieces.count(torch.nn.Linear(2, 1), torch.zeros(2), torch.ones(2))
regions: int = found.n_regions
with dh.record(torch.nn.Linear(2, 1), to="run") as recording:
    recording.log(loss=0.5)
"""
WRONG: Final = CONSUMER.replace("regions: int", "regions: str")


class TrialError(Exception):
    """Something that a new user would have run into."""


def run(words: list[str | Path], folder: Path, *, code: int = 0) -> str:
    """Run a command away from the repository; return what it printed."""
    hidden = ("PYTHONPATH", "VIRTUAL_ENV", "PYTHONHOME")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment |= {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    done = subprocess.run(
        [str(word) for word in words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != code:
        called = " ".join(str(word) for word in words)
        raise TrialError(f"{called} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def make(folder: Path) -> Path:
    """Make an environment with nothing in it, not even pip; return its Python."""
    venv.EnvBuilder(with_pip=False, clear=True).create(folder)
    return folder / ("Scripts" if os.name == "nt" else "bin") / "python"


def install(python: Path, wanted: str, pip_arguments: list[str], folder: Path) -> None:
    """Install with the pins of constraints.txt."""
    pins = ["--constraint", ROOT / "constraints.txt", *pip_arguments]
    pip = [sys.executable, "-m", "pip", "--python", python]
    run([*pip, "install", "--quiet", *pins, wanted], folder)


def try_core(python: Path, folder: Path, wheel: Path) -> None:
    """What has to work with the core dependencies alone."""
    command = python.with_name("deephochuli")
    version = run([command, "--version"], folder).strip()
    if version.split()[-1] != wheel.name.split("-")[1]:
        raise TrialError(f"{wheel.name} calls itself {version}")
    for words in (
        [command, "--help"],
        [command, "formats"],
        [python, "-m", "deephochuli", "formats"],
    ):
        if not run(words, folder).strip():
            raise TrialError(f"{words[-1]} prints nothing")
    here = run([python, "-c", "import deephochuli; print(deephochuli.__file__)"], folder)
    if str(ROOT / "src") in here:
        raise TrialError("the repository was imported instead of the wheel")
    run(
        [python, "-c", "import deephochuli as dh; [getattr(dh, name) for name in dh.__all__]"],
        folder,
    )
    print(f"{version}: the command, the formats and every public name work", flush=True)


def try_types(python: Path, folder: Path) -> None:
    """A user's script is checked against the installed package, and a wrong one is seen."""
    for name, text, code in (("right.py", CONSUMER, 0), ("wrong.py", WRONG, 1)):
        (folder / name).write_text(text)
        run([sys.executable, "-m", "pyright", "--pythonpath", python, name], folder, code=code)
    print("types are seen from outside", flush=True)


def write_sbom(python: Path, folder: Path) -> None:
    """List what is installed: all of it came with the wheel."""
    to = DIST / "sbom.json"
    bill = [sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible"]
    run([*bill, "--pyproject", ROOT / "pyproject.toml", "--output-file", to, python], folder)
    print(f"{to.relative_to(ROOT)} written", flush=True)


def try_tutorial(python: Path, folder: Path) -> None:
    """Run the five-minute tutorial as a file that somebody downloaded."""
    shutil.copy(TUTORIAL, folder)
    print(run([python, TUTORIAL.name], folder), end="", flush=True)
    report = folder / "first-report" / "report.html"
    if not report.exists():
        raise TrialError("the tutorial wrote no report")


@contextlib.contextmanager
def place(named: Path | None) -> Iterator[Path]:
    """The folder that was named, or one that is gone afterwards."""
    if named is not None:
        named.mkdir(parents=True, exist_ok=True)
        yield named
        return
    with tempfile.TemporaryDirectory(prefix="deephochuli-") as made:
        yield Path(made)


def main() -> int:
    """Try the wheel."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("pip", nargs="*", help="arguments for pip, after --")
    options = parser.parse_args()
    wheels = sorted(DIST.glob("deephochuli-*.whl"))
    if len(wheels) != 1:
        print(f"error: {len(wheels)} wheels in dist; `make dist` builds one", file=sys.stderr)
        return 1
    try:
        with place(options.folder) as folder:
            python = make(folder / "environment")
            install(python, str(wheels[0]), options.pip, folder)
            try_core(python, folder, wheels[0])
            try_types(python, folder)
            write_sbom(python, folder)
            install(python, f"{wheels[0]}[demo]", options.pip, folder)
            try_tutorial(python, folder)
    except TrialError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
