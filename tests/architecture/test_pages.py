"""Pages of the site can be reached, tutorials have theirs, measured numbers name a command."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.architecture.project import PACKAGE, ROOT, tracked_files

DOCS = ROOT / "docs"
TOCTREE = re.compile(r"^```\{toctree\}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RUN = re.compile(r"^<!-- run: (\S+) -->$", re.MULTILINE)
MODULE = re.compile(r"^\.\. automodule:: (\S+)$", re.MULTILINE)
WEB_LINK = re.compile(r"https?://[^\s)>\]`\"']+")
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
TABLE = re.compile(r"(?:^\|.*\|[ ]*\n)+", re.MULTILINE)
MEASURED = re.compile(r"^[~≈<]?-?\d+(?:\.\d+)?(?:e-?\d+)?(?: ?[%×sx]| ms| MiB| kB)?(?: \(.*\))?$")
COMMAND = re.compile(
    r"`(?:nice )?(?:python|make|deephochuli) [^`]+`|^(?:python|make|deephochuli) ", re.M
)
# Tables of numbers that follow from a definition and not from a measurement, by page and heading.
DEFINED = {
    ("docs/run-folder.md", "Older versions"): "numbers of the schema",
    ("docs/significance.md", "Bits and how sure they are"): "quantiles, by the formula above them",
}


def pages() -> list[Path]:
    found = [path for path in tracked_files(".md") if DOCS in path.parents]
    return [path for path in found if "_build" not in path.parts]


def listed(page: Path) -> list[Path]:
    """Pages that the tables of contents of a page list."""
    entries: list[Path] = []
    for body in TOCTREE.findall(page.read_text("utf-8")):
        names = [line.strip() for line in body.splitlines()]
        entries += [page.parent / f"{name}.md" for name in names if name and name[0] != ":"]
    return entries


def in_line(fence: re.Match[str]) -> str:
    """The commands of a fenced block as code in a line, so that its comments are no headings."""
    return "\n".join(f"`{line}`" for line in fence.group().splitlines()[1:-1])


def numeric_tables(text: str) -> list[tuple[str, str]]:
    """Tables of which at least a third of the cells are numbers: heading and section of each."""
    found: list[tuple[str, str]] = []
    sections = re.split(r"^(?=#+ )", FENCED.sub(in_line, text), flags=re.MULTILINE)
    for section in sections:
        heading = section.partition("\n")[0].lstrip("# ")
        for table in TABLE.findall(section):
            cells = [
                c.strip() for row in table.splitlines()[2:] for c in row.strip(" |").split("|")
            ]
            if cells and sum(bool(MEASURED.match(cell)) for cell in cells) >= len(cells) / 3:
                found.append((heading, section))
    return found


def unsourced(page: str, text: str) -> list[str]:
    """Tables of numbers for which neither section nor head of the page names a command."""
    head = re.split(r"^## ", text, maxsplit=1, flags=re.MULTILINE)[0]
    return [
        f"{page}: {heading}"
        for heading, section in numeric_tables(text)
        if (page, heading) not in DEFINED and not COMMAND.search(section + head)
    ]


def test_every_page_is_in_a_table_of_contents():
    known = {DOCS / "index.md"}.union(*(listed(page) for page in pages()))
    lost = sorted(str(page.relative_to(ROOT)) for page in set(pages()) - known)
    assert not lost, f"name these in a toctree, for instance in docs/index.md: {lost}"


def test_tables_of_contents_list_what_is_there():
    missing = [path for page in pages() for path in listed(page) if not path.is_file()]
    assert not missing


def test_every_public_part_is_in_the_reference():
    """Back ends, sessions and commands aside: users reach them by other names."""
    texts = [page.read_text("utf-8") for page in (DOCS / "reference").glob("*.md")]
    described = {name for text in texts for name in MODULE.findall(text)}
    inits = [*PACKAGE.glob("*/__init__.py"), *PACKAGE.glob("analysis/*/__init__.py")]
    parts = {".".join(path.parent.relative_to(PACKAGE.parent).parts) for path in inits}
    inner = {"deephochuli.kernels", "deephochuli.session", "deephochuli.cli"}
    assert parts - inner <= described


def test_every_tutorial_has_a_page_and_every_page_its_script():
    named = {name for page in pages() for name in RUN.findall(page.read_text("utf-8"))}
    scripts = (ROOT / "examples" / "tutorials").glob("*.py")
    assert named == {path.relative_to(ROOT).as_posix() for path in scripts}


def test_links_to_the_web_are_well_formed():
    links = [link for page in tracked_files(".md") for link in WEB_LINK.findall(page.read_text())]
    strange = [link for link in links if "." not in (urlsplit(link).hostname or "")]
    assert not [link for link in strange if urlsplit(link).hostname not in ("localhost",)]


def test_tables_of_measured_numbers_name_their_command():
    faults = [
        fault
        for page in pages()
        for fault in unsourced(page.relative_to(ROOT).as_posix(), page.read_text("utf-8"))
    ]
    assert not faults, "say in the section, or above the first one, which command wrote the numbers"


@pytest.mark.parametrize("text", ["# A\n\n| a | b |\n| --- | --- |\n| 1.5 | 2 |\n"])
def test_the_check_of_numbers_sees(text):
    assert unsourced("docs/x.md", text) == ["docs/x.md: A"]
    assert unsourced("docs/x.md", "Written by `make bench`.\n" + text) == []
    assert unsourced("docs/x.md", text.replace("1.5", "b").replace("2", "a")) == []
