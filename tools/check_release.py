"""Whether everything that names the version names the same one.

    python tools/check_release.py

A build takes its version from the tag of the commit, and a clone without tags from
src/deephochuli/_version.py (tools/version.py). Whatever names it must agree: the tag, if any, the
package, CITATION.cff, and the newest version in CHANGELOG.md (or, before a release, its "To become"
line).
"""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
_VERSION: Final = re.compile(r'^VERSION = "([^"]+)"$', re.MULTILINE)
_CITED: Final = re.compile(r"^version: (\S+)$", re.MULTILINE)
_RELEASED: Final = re.compile(r"^## \[(\d[^\]]*)\]", re.MULTILINE)
_COMING: Final = re.compile(r"^To become (\S+)\.$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Named:
    """Versions by who names them; None where nobody does.

    Attributes:
        code: _version.py.
        cited: CITATION.cff.
        released: The newest version in CHANGELOG.md.
        coming: Its "To become" line, between releases.
        tags: Tags of the commit that look like versions, without their v.
    """

    code: str | None
    cited: str | None
    released: str | None
    coming: str | None
    tags: tuple[str, ...]


def disagreements(named: Named) -> list[str]:
    """What does not fit together.

    >>> disagreements(Named("0.2.0", "0.2.0", "0.1.0", "0.2.0", ()))
    []
    >>> disagreements(Named("0.2.0", "0.1.0", "0.2.0", None, ("0.2.0",)))
    ['CITATION.cff names 0.1.0, src/deephochuli/_version.py 0.2.0']
    """
    code = "src/deephochuli/_version.py"
    if named.code is None:
        return [f"{code} names no version"]
    found: list[str] = []
    if named.cited != named.code:
        found.append(f"CITATION.cff names {named.cited}, {code} {named.code}")
    newest = named.coming or named.released
    if newest != named.code:
        found.append(f"CHANGELOG.md names {newest}, {code} {named.code}")
    found += [
        f"the tag names {tag}, {code} {named.code}" for tag in named.tags if tag != named.code
    ]
    if named.tags and named.coming:
        found.append("the commit has the tag of a release, and CHANGELOG.md still says 'To become'")
    return found


def _first(pattern: re.Pattern[str], path: str) -> str | None:
    match = pattern.search((ROOT / path).read_text("utf-8"))
    return match[1] if match else None


def _tags() -> tuple[str, ...]:
    command = ["git", "tag", "--points-at", "HEAD", "--list", "v[0-9]*"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return tuple(tag.removeprefix("v") for tag in done.stdout.split())


def read() -> Named:
    """What this repository says."""
    return Named(
        code=_first(_VERSION, "src/deephochuli/_version.py"),
        cited=_first(_CITED, "CITATION.cff"),
        released=_first(_RELEASED, "CHANGELOG.md"),
        coming=_first(_COMING, "CHANGELOG.md"),
        tags=_tags(),
    )


def main() -> int:
    """Print what does not fit; exit with 1 if anything."""
    named = read()
    found = disagreements(named)
    for line in found:
        print(f"error: {line}", file=sys.stderr)
    if not found:
        print(f"version {named.code}, everywhere")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
