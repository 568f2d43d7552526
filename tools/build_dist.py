"""Build the wheel and the source archive twice, and keep them if they are the same and complete.

python tools/build_dist.py [FOLDER]
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
PACKAGE: Final = ROOT / "src" / "deephochuli"
VERSION: Final = re.compile(rb'^VERSION = "([^"]+)"$', re.MULTILINE)
IN_SDIST: Final = ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff")


def epoch() -> str:
    """Time that goes into the archives: that of the last commit, or of 1980 without one."""
    command = ["git", "log", "-1", "--format=%ct"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "315532800"


def build(folder: Path) -> list[Path]:
    """Build both archives with the packages that are installed here; return their paths."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder)]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": epoch()}
    subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
    return sorted(path for path in folder.iterdir() if path.suffix in (".whl", ".gz"))


def digests(archives: list[Path]) -> dict[str, str]:
    """SHA-256 of each archive by name."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in archives}


def package_files() -> set[str]:
    """Files of the package as a wheel names them; what an import leaves behind is none of it."""
    files = [path for path in PACKAGE.rglob("*") if path.is_file()]
    kept = [path for path in files if "__pycache__" not in path.parts]
    return {path.relative_to(PACKAGE.parent).as_posix() for path in kept}


def wheel_faults(names: set[str], wanted: set[str]) -> list[str]:
    """What a wheel lacks, and what does not belong into it.

    Args:
        names: Files of the wheel.
        wanted: Files of the package.
    """
    code = {name for name in names if ".dist-info/" not in name}
    missing = [f"the wheel lacks {name}" for name in sorted(wanted - code)]
    foreign = [f"the wheel has {name}" for name in sorted(code - wanted)]
    needed = ("entry_points.txt", "LICENSE", "METADATA")
    absent = [f"the wheel lacks its {n}" for n in needed if not any(x.endswith(n) for x in names)]
    return missing + foreign + absent


def sdist_faults(names: set[str], wanted: set[str]) -> list[str]:
    """What a source archive lacks, its top folder left out of the names."""
    files = {f"src/{name}" for name in wanted} | set(IN_SDIST)
    return [f"the source archive lacks {name}" for name in sorted(files - names)]


def version_faults(name: str, code: bytes) -> list[str]:
    """Whether an archive is named as the code inside of it.

    >>> version_faults("deephochuli-0.1.0.tar.gz", b'VERSION = "0.2.0"')
    ['deephochuli-0.1.0.tar.gz holds version 0.2.0']
    """
    match = VERSION.search(code)
    held = match[1].decode() if match else "none"
    named = re.split(r"-|\.tar", name)[1]
    return [] if named == held else [f"{name} holds version {held}"]


def faults(archives: list[Path]) -> list[str]:
    """What is wrong with the contents of both archives."""
    found: list[str] = []
    for path in archives:
        if path.suffix == ".whl":
            with zipfile.ZipFile(path) as wheel:
                found += wheel_faults(set(wheel.namelist()), package_files())
                code = wheel.read("deephochuli/_version.py")
        else:
            with tarfile.open(path) as sdist:
                names = {name.partition("/")[2] for name in sdist.getnames()}
                top = path.name.removesuffix(".tar.gz")
                file = sdist.extractfile(f"{top}/src/deephochuli/_version.py")
                code = file.read() if file else b""
            found += sdist_faults(names, package_files())
        found += version_faults(path.name, code)
    return found


def main() -> int:
    """Build, compare, check; print what was made."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "dist")
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("deephochuli-*"):
        old.unlink()
    archives = build(folder)
    with tempfile.TemporaryDirectory() as again:
        wrong = faults(archives)
        if digests(archives) != digests(build(Path(again))):
            wrong.append("two builds of the same files differ")
    for line in wrong:
        print(f"error: {line}", file=sys.stderr)
    for name, digest in digests(archives).items():
        print(f"{digest}  {name}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
