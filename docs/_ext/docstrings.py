"""Docstrings as they are written here, made into reStructuredText.

They are plain text for people who read the source: code stands in single backticks, magnitudes in
bars, examples indented. To Sphinx a single backtick is a role, a bar a substitution, a star
emphasis, and an indented paragraph a quotation.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_CODE: Final = re.compile(r"(``.+?``|`[^`\n]+`)")
_ROLE: Final = re.compile(r":[a-z:]+:$")
_SECTION: Final = re.compile(
    r"(?:Args|Arguments|Attributes|Returns|Yields|Raises|Warns|Numerics|Example|Examples|Note|Notes"
    r"|References|See Also):$"
)


def _escape(text: str) -> str:
    """Take their meaning from the signs that reStructuredText reads in prose."""
    return re.sub(r"([|*])|(?<=\w)(_)(?!\w)", r"\\\1\2", text)


def escape_line(line: str) -> str:
    r"""One line of prose in reStructuredText.

    >>> escape_line("|x - fl(x)| <= `u` |x|, see x_ and *args")
    '\\|x - fl(x)\\| <= ``u`` \\|x\\|, see x\\_ and \\*args'
    >>> escape_line(":class:`Format` and ``p``")
    ':class:`Format` and ``p``'
    """
    parts = _CODE.split(line)
    for index, part in enumerate(parts):
        if index % 2 == 0:
            parts[index] = _escape(part)
        elif not part.startswith("``") and not _ROLE.search(parts[index - 1]):
            parts[index] = f"`{part}`"
    return "".join(parts)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def join_literals(lines: list[str]) -> list[str]:
    """Lines in which no literal in double backticks is broken; napoleon reads line by line.

    >>> join_literals(["a ``b", "    c`` d", "e"])
    ['a ``b c`` d', 'e']
    """
    made: list[str] = []
    for line in lines:
        if made and line.strip() and made[-1].count("``") % 2:
            made[-1] += " " + line.strip()
        else:
            made.append(line)
    return made


def convert(lines: list[str]) -> list[str]:
    r"""A docstring without its common indentation, line by line, in reStructuredText.

    A block that is indented after an empty line is code, unless it goes on with a section.

    >>> convert(["Count.", "", "    count(x)", "", "Args:", "    x: `Tensor`, |x| < 1."])
    ['Count.', '', '::', '', '    count(x)', '', 'Args:', '    x: ``Tensor``, \\|x\\| < 1.']
    """
    made: list[str] = []
    literal_from: int | None = None  # code is what is indented by at least this much
    base, last = 0, ""
    for line in join_literals(lines):
        if not line.strip():
            made.append("")
            continue
        indent = _indent(line)
        if literal_from is not None and indent >= literal_from:
            made.append(line)
            continue
        literal_from = None
        is_item = line.lstrip().startswith((">>>", "...", "- ", "* "))
        opens = made and not made[-1] and indent > base and not last.endswith("::") and not is_item
        if opens and not _SECTION.match(last.strip()) and not last.lstrip().startswith("- "):
            made += [" " * base + "::", ""]
            literal_from = indent
        elif last.endswith("::") and made and not made[-1]:
            literal_from = indent
        is_code = literal_from is not None or line.lstrip().startswith((">>>", "..."))
        made.append(line if is_code else escape_line(line))
        base, last = (base if is_code else indent), line
        if _SECTION.match(line.strip()):
            base = indent + 4
    return made


def _process(
    app: Sphinx, what: str, name: str, of: object, options: object, lines: list[str]
) -> None:
    del app, what, name, of, options
    lines[:] = convert(lines)


def setup(app: Sphinx) -> dict[str, Any]:
    """Convert each docstring before napoleon (priority 500) reads its sections."""
    app.connect("autodoc-process-docstring", _process, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
