"""The version of what is built: of the tag where there is one, of the package where there is none.

pyproject.toml names this file twice: Hatchling asks `version` for the version, and `WrittenVersion`
puts it into the package, so that the code and its metadata say the same where they are installed.
Nothing of this runs when the package is imported.

    python tools/version.py
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.version import Version

ROOT: Final = Path(__file__).resolve().parents[1]
WRITTEN: Final = "src/deephochuli/_version.py"
_LINE: Final = re.compile(r'^VERSION = "(?P<version>[^"]+)"$', re.MULTILINE)
_DESCRIBED: Final = re.compile(r"v(?P<tag>\d+(\.\d+)*((a|b|rc)\d+)?)-(?P<n>\d+)-(?P<commit>g\w+)")


def derived(described: str, written: str) -> str:
    """The version of a commit.

    Args:
        described: What `git describe --long` says; empty where no tag is known.
        written: The version in the package: the one that the tree is to become.

    Returns:
        That of the tag, on its commit. Later, a version above the tag that says how many commits
        later, and which. Without tags, what is written.

    >>> derived("v0.2.0-0-g1234567", "0.2.0")
    '0.2.0'
    >>> derived("v0.1.0-3-g1234567", "0.2.0")
    '0.2.0.dev3+g1234567'
    >>> derived("v0.2.0-3-g1234567", "0.2.0")
    '0.2.0.post3+g1234567'
    >>> derived("", "0.2.0")
    '0.2.0'
    """
    match = _DESCRIBED.fullmatch(described)
    if match is None:
        return written
    tag, n, commit = match["tag"], int(match["n"]), match["commit"]
    if n == 0:
        return tag
    coming = f"{written}.dev{n}"
    return f"{coming if Version(coming) > Version(tag) else f'{tag}.post{n}'}+{commit}"


def describe(root: Path) -> str:
    """The newest tag of a release, and how far behind it the commit of a tree is.

    Empty without git, without such a tag, and for an unpacked archive, even inside a repository of
    something else. Whether files are changed is left out: the commit is what a version names.
    """
    if not (root / ".git").exists():
        return ""
    command = ["git", "describe", "--tags", "--long", "--abbrev=12", "--match", "v[0-9]*"]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def version(root: Path = ROOT) -> str:
    """The version of a tree.

    Raises:
        ValueError: The package names none.
    """
    match = _LINE.search((root / WRITTEN).read_text("utf-8"))
    if match is None:
        raise ValueError(f'{WRITTEN} has no line VERSION = "1.2.3"')
    return derived(describe(root), match["version"])


class WrittenVersion(BuildHookInterface[Any]):
    """Puts the version of the build into the package, in both archives.

    The tree itself stays as it is. So does an editable install, whose commit changes without one.
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Replace the file of the package; called by Hatchling before it builds.

        Args:
            version: What is built: "standard" or "editable".
            build_data: Instructions to Hatchling, extended in place.
        """
        if version == "editable":
            return
        text = (Path(self.root) / WRITTEN).read_text("utf-8")
        self._folder = tempfile.TemporaryDirectory(prefix="deephochuli-")
        made = Path(self._folder.name) / "_version.py"
        made.write_text(_LINE.sub(f'VERSION = "{self.metadata.version}"', text), "utf-8")
        build_data["force_include"][str(made)] = WRITTEN

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what `initialize` made."""
        if version != "editable":
            self._folder.cleanup()


if __name__ == "__main__":
    print(version())
