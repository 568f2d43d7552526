"""One word per concept: docs/glossary.md lists the words, and the synonyms that are not used."""

import re
from pathlib import Path

import pytest

from tests.architecture.project import PACKAGE, ROOT, tracked_files

GLOSSARY = ROOT / "docs" / "glossary.md"
# Names that other libraries gave; ours do not repeat the word outside of them.
FOREIGN_NAMES = ("set_flush_denormal", "torch.set_flush_denormal", "nmant", "num_mantissa_bits")
CHECKED = (".py", ".md", ".js", ".ts", ".css", ".html", ".toml")


def forbidden_words() -> list[str]:
    """Words of the "Not" column of the tables in the glossary."""
    words: list[str] = []
    for line in GLOSSARY.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("|") and len(cells) == 3 and cells[2] not in ("Not", ""):
            words += [word.strip() for word in cells[2].split(",") if not set(word) <= set("-: ")]
    return words


def pattern() -> re.Pattern[str]:
    """Match any forbidden word, also its plural and as a part of a name joined by underscores."""
    words = "|".join(re.escape(word) for word in forbidden_words())
    return re.compile(rf"(?<![a-z])(?:{words})(?:s|ed)?(?![a-z])", re.IGNORECASE)


def offences(text: str) -> list[tuple[int, str]]:
    """Lines with a forbidden word, after the names of other libraries are taken out."""
    found: list[tuple[int, str]] = []
    matcher = pattern()
    for number, line in enumerate(text.splitlines(), start=1):
        for name in FOREIGN_NAMES:
            line = line.replace(name, "")
        if hit := matcher.search(line):
            found.append((number, hit.group()))
    return found


def checked_files() -> list[Path]:
    """The package, the documentation, the examples and the benchmarks, without the glossary."""
    roots = (PACKAGE, ROOT / "docs", ROOT / "examples", ROOT / "benchmarks")
    return [
        path
        for path in tracked_files(*CHECKED)
        if path != GLOSSARY and (path.parent == ROOT or any(r in path.parents for r in roots))
    ]


def test_only_the_words_of_the_glossary_are_used():
    faults = [
        f"{path.relative_to(ROOT)}:{number}: {word!r}"
        for path in checked_files()
        for number, word in offences(path.read_text("utf-8", "replace"))
    ]
    assert not faults, "see docs/glossary.md for the word that is used here:\n" + "\n".join(faults)


def test_the_glossary_forbids_the_usual_synonyms():
    assert {"mantissa", "denormal"} <= set(forbidden_words())


@pytest.mark.parametrize("text", ["the mantissa", "n_mantissa_bits", "Denormals", "denormalized"])
def test_the_vocabulary_check_sees(text):
    assert offences(text)


@pytest.mark.parametrize("text", ["significand", "torch.set_flush_denormal(True)", "subnormal"])
def test_the_vocabulary_check_allows(text):
    assert not offences(text)
