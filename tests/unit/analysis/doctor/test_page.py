"""The page of the doctor names every finding, and no other."""

import re
from pathlib import Path

from deephochuli.analysis import doctor

PACKAGE = Path(doctor.__file__).parent
PAGE = Path(__file__).resolve().parents[4] / "docs" / "doctor.md"
KIND = r'^ +(?:finding|_say|_stray)\(\n +"([a-z0-9-]+)"(?: if \w+ else "([a-z0-9-]+)")?'


def kinds_in_code(name=None, *, invert=False):
    """Kinds of findings that the source can make: in one file, or in all others."""
    found = set()
    for path in PACKAGE.glob("*.py"):
        if name is not None and (path.name == name) is invert:
            continue
        text = path.read_text("utf-8").replace("return finding(", "finding(")
        text = re.sub(r"yield |return ", "", text)
        for match in re.finditer(KIND, text, re.MULTILINE):
            found |= {kind for kind in match.groups() if kind}
    return found


def test_the_page_names_every_finding():
    rows = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| `")]
    on_page = {kind for row in rows for kind in re.findall(r"`([a-z0-9-]+)`", row.split(" | ")[0])}
    assert len(on_page) > 30
    assert on_page == kinds_in_code()
