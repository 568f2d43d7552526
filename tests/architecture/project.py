"""The project as text: its files, its modules and what they import."""

import ast
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "deephochuli"


@dataclass(frozen=True)
class Module:
    """One Python file of the package."""

    path: Path
    text: str
    tree: ast.Module

    @property
    def name(self) -> str:
        """Path below the repository, for messages."""
        return str(self.path.relative_to(ROOT))

    @property
    def dotted(self) -> str:
        """Name as an import has it; a package has that of its folder."""
        parts = self.path.relative_to(PACKAGE.parent).with_suffix("").parts
        return ".".join(parts).removesuffix(".__init__")

    @property
    def part(self) -> str:
        """First name below deephochuli: the folder or module that has a floor."""
        return self.path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def package_modules() -> list[Module]:
    """Every Python file of the package, parsed."""
    paths = sorted(PACKAGE.rglob("*.py"))
    return [Module(path, text := path.read_text("utf-8"), ast.parse(text)) for path in paths]


def tracked_files(*suffixes: str) -> list[Path]:
    """Files under version control and files about to be, with one of these suffixes."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:  # a source archive: no repository, no foreign files either
        found = [path for path in ROOT.rglob("*") if ".venv" not in path.parts]
    else:
        found = [ROOT / line for line in listed.stdout.splitlines()]
    return sorted(p for p in found if p.is_file() and (not suffixes or p.suffix in suffixes))
