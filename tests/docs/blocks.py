"""The code that the documentation shows: where it stands, and which of it is not run, and why."""

import re
from dataclasses import dataclass
from pathlib import Path

LANGUAGES = ("python", "sh", "console", "text", "toml", "json", "yaml", "ini", "bibtex", "mermaid")
# Sphinx's own directives are in braces; a fence without a language shows a layout or an output.
FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>[^\n`]*)\n(?P<code>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
REASON = re.compile(r"<!-- not run: (?P<reason>[^>]*?\S) -->\s*\Z")


@dataclass(frozen=True)
class Block:
    """A piece of code in a document."""

    document: Path
    line: int
    language: str
    code: str
    reason: str | None
    """Why it is not run, from the comment right above it; None for what is run."""


def blocks_of(document: Path, text: str) -> list[Block]:
    """Every fenced block of a document, in order."""
    found: list[Block] = []
    for match in FENCE.finditer(text):
        before = text[: match.start()]
        reason = REASON.search(before)
        found.append(
            Block(
                document=document,
                line=before.count("\n") + 2,
                language=match["language"].strip(),
                code=re.sub(rf"^{match['indent']}", "", match["code"], flags=re.MULTILINE),
                reason=reason["reason"] if reason else None,
            )
        )
    return found


def commands_of(block: Block) -> list[str]:
    """Commands of a shell block, without comments and prompts; a backslash joins lines."""
    joined = block.code.replace("\\\n", " ")
    lines = [re.sub(r"(^|\s)#.*$", "", line).strip() for line in joined.splitlines()]
    if block.language == "console":
        lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    return [line for line in lines if line]
