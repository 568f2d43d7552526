"""Links lead somewhere, and the commands that the documentation names exist."""

import re
from pathlib import Path

import pytest

from tests.architecture.project import ROOT, tracked_files

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
TARGET = re.compile(r"^([a-z-]+):.*##", re.MULTILINE)
CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)
MAKE_CALL = re.compile(r"\bmake ([a-z][a-z-]*)")
COMMAND_CALL = re.compile(r"\bdeephochuli (?:--\S+ )*([a-z][a-z-]*)\b")


def documents() -> list[Path]:
    return tracked_files(".md")


def anchors(text: str) -> set[str]:
    """Anchors that a Markdown viewer makes from the headings of a text."""
    headings = re.findall(r"^#+\s+(.*)$", text, re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading).strip().lower() for heading in headings]
    return {heading.replace(" ", "-") for heading in plain}


def broken_links(path: Path, text: str) -> list[str]:
    broken: list[str] = []
    for link in LINK.findall(re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        if re.match(r"[a-z]+:", link):
            continue
        file_part, _, anchor = link.partition("#")
        target = (path.parent / file_part) if file_part else path
        if not target.exists() or (
            anchor and target.suffix == ".md" and anchor not in anchors(target.read_text("utf-8"))
        ):
            broken.append(f"{path.relative_to(ROOT)}: {link}")
    return broken


def unknown_commands(text: str) -> list[str]:
    from deephochuli.cli import COMMANDS

    targets = set(TARGET.findall((ROOT / "Makefile").read_text("utf-8")))
    code = "\n".join(CODE.findall(text))
    wrong = [f"make {name}" for name in MAKE_CALL.findall(code) if name not in targets]
    called = [line for line in code.splitlines() if "import" not in line]
    names = COMMAND_CALL.findall("\n".join(called))
    return wrong + [f"deephochuli {name}" for name in names if name not in COMMANDS]


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_links_and_commands_of_a_document(path):
    text = path.read_text("utf-8")
    assert not broken_links(path, text)
    assert not unknown_commands(text)


def test_the_documents_of_a_repository_exist():
    names = {path.name for path in documents()}
    assert {"README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"} <= names


def test_the_link_check_sees():
    assert broken_links(ROOT / "README.md", "[a](nowhere.md) [b](https://example.org)")
    assert broken_links(ROOT / "README.md", "[a](#no-such-heading)")


def test_the_command_check_sees():
    assert unknown_commands("`make nothing`, `deephochuli nothing RUN`") == [
        "make nothing",
        "deephochuli nothing",
    ]
