"""Scripts in cells, as editors know them: ``# %%`` begins code, ``# %% [markdown]`` begins text.

A third kind, ``# %% [check]``, is run and not shown: it asserts what the text says in words, so
that the build fails when a sentence is no longer true. Numbers in the text are not typed at all;
the text holds ``{{expression:format}}``, and the run fills it in.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["text", "code", "check"]
_BEGINNING: Final = re.compile(r"^# %%(?: \[(\w+)\])?$")
_KINDS: Final[dict[str | None, Kind]] = {None: "code", "markdown": "text", "check": "check"}
_NUMBER: Final = re.compile(r"\{\{([^{}:]+)(?::([^{}]*))?\}\}")


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell.

    Attributes:
        kind: Text, code, or a check.
        source: Markdown for a text, Python otherwise.
        line: Number of its first line in the script.
    """

    kind: Kind
    source: str
    line: int


def read_cells(script: str) -> list[Cell]:
    r"""Cells of a script; what stands before the first one is for readers of the script.

    Raises:
        ValueError: A cell of an unknown kind, or a line of text without its ``#``.

    >>> [cell.kind for cell in read_cells('# %% [markdown]\n# # Title\n\n# %%\nx = 1\n')]
    ['text', 'code']
    """
    cells: list[Cell] = []
    kind: Kind | None = None
    lines: list[str] = []
    begun = 0

    def close() -> None:
        if kind is not None:
            source = "\n".join(lines).strip("\n")
            cells.append(Cell(kind, _uncomment(source, begun) if kind == "text" else source, begun))

    for number, line in enumerate(script.splitlines(), start=1):
        if match := _BEGINNING.match(line):
            if match[1] not in _KINDS:
                raise ValueError(f"line {number}: no kind of cell: {match[1]!r}")
            close()
            kind, lines, begun = _KINDS[match[1]], [], number + 1
        else:
            lines.append(line)
    close()
    return cells


def _uncomment(source: str, first: int) -> str:
    made: list[str] = []
    for number, line in enumerate(source.splitlines(), start=first):
        if line and line != "#" and not line.startswith("# "):
            raise ValueError(f"line {number}: text that is no comment: {line!r}")
        made.append(line[2:])
    return "\n".join(made)


def expressions(text: str) -> list[tuple[str, str]]:
    """What a text wants computed: expressions, each with its format.

    >>> expressions("lost {{share:.1%}} in {{n}} steps")
    [('share', '.1%'), ('n', '')]
    """
    return [(match[1].strip(), match[2] or "") for match in _NUMBER.finditer(text)]


def fill(text: str, values: list[str]) -> str:
    """The text with its expressions replaced by what they came to, in their order.

    >>> fill("lost {{share:.1%}} in {{n}} steps", ["12.5%", "7"])
    'lost 12.5% in 7 steps'
    """
    each = iter(values)
    filled = _NUMBER.sub(lambda _: next(each), text)
    if rest := list(each):
        raise ValueError(f"{len(rest)} values more than the text has places for")
    return filled


def to_code(text: str) -> str:
    r'''Code that shows the text in a notebook, with what its expressions come to there.

    >>> print(to_code("lost {{share:.1%}} of {1, 2}"))
    from IPython.display import Markdown
    <BLANKLINE>
    Markdown(f"""lost {share:.1%} of {{1, 2}}""")

    Raises:
        ValueError: A sign that would end or bend the text.
    '''
    if '"""' in text or "\\" in text:
        raise ValueError(f"a paragraph with numbers holds quotes or a backslash: {text!r}")
    parts: list[str] = []
    end = 0
    for match in _NUMBER.finditer(text):
        spec = f":{match[2]}" if match[2] else ""
        parts += [_doubled(text[end : match.start()]), f"{{{match[1].strip()}{spec}}}"]
        end = match.end()
    parts.append(_doubled(text[end:]))
    return f'from IPython.display import Markdown\n\nMarkdown(f"""{"".join(parts)}""")'


def without_asserts(source: str) -> str:
    r"""Code without its asserts: what a check computes, and the text needs.

    >>> without_asserts("lost = 1 - kept\nassert lost > 0, (\n    'none'\n)")
    'lost = 1 - kept'
    """
    lines, body = source.splitlines(), ast.parse(source).body
    asserts = [node for node in body if isinstance(node, ast.Assert)]
    if len(asserts) == len(body):
        return ""
    for node in reversed(asserts):
        del lines[node.lineno - 1 : node.end_lineno]
    return "\n".join(lines).strip("\n")


def _doubled(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
