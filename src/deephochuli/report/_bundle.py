"""One HTML file of many small sources: modules joined, styles joined, everything inlined.

The modules stay plain ES modules, so that tests import them one by one. Joining turns each into a
function of its own scope, in the order of their imports; nothing becomes global. Comments, empty
lines and indentation stay behind in the sources (no text of the page spans lines).
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files
from typing import Final

STYLES: Final = {
    "main": ("base.css", "controls.css", "panels.css", "print.css"),
    "comparison": ("base.css", "controls.css", "panels.css", "comparison.css", "print.css"),
    "live": ("base.css", "controls.css", "panels.css", "live.css"),
    "sheets": ("base.css", "controls.css", "panels.css", "print.css", "sheets.css"),
}
"""Style sheets of each page, by the module with which it begins."""
_IMPORT: Final = re.compile(r'^import \{([^}]*)\} from "\./([a-z_]+)\.mjs";\n', re.MULTILINE)
_COMMENT: Final = re.compile(r"^ *(?:/\*\*.*?\*/|)\n", re.MULTILINE | re.DOTALL)
_INDENT: Final = re.compile(r"^ +", re.MULTILINE)
_EXPORT: Final = re.compile(
    r"^export (?=(?:async function|function|class|const) (\w+))", re.MULTILINE
)


def page_source(name: str) -> str:
    """Text of one source file of the page."""
    return (files("deephochuli.report") / "page" / name).read_text(encoding="utf-8")


@cache
def joined_script(page: str = "main") -> str:
    """All modules that a page needs, in one script."""
    parts: list[str] = []
    _visit(page, parts, set(), ())
    return "\n".join(parts)


def _visit(name: str, parts: list[str], done: set[str], path: tuple[str, ...]) -> None:
    """Append a module after the modules that it imports."""
    if name in path:
        raise ValueError(f"The page's modules import each other in a circle: {(*path, name)}.")
    if name in done:
        return
    source = page_source(f"{name}.mjs")
    for match in _IMPORT.finditer(source):
        _visit(match[2], parts, done, (*path, name))
    done.add(name)
    parts.append(_as_function(name, source))


def _as_function(name: str, source: str) -> str:
    """A module as a constant that holds its exports."""
    exports = [match[1] for match in _EXPORT.finditer(source)]
    body = _IMPORT.sub(lambda match: f"const {{{match[1]}}} = ${match[2]};\n", source)
    body = _INDENT.sub("", _COMMENT.sub("", _EXPORT.sub("", body)))
    return f"const ${name} = (() => {{\n{body}\nreturn {{ {', '.join(exports)} }};\n}})();"


@cache
def joined_style(page: str = "main") -> str:
    """All style sheets of a page in one."""
    return "\n".join(page_source(name) for name in STYLES[page])


def content_hash(text: str) -> str:
    """Source expression of a content security policy that allows exactly this text."""
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def policy(scripts: list[str], styles: list[str]) -> str:
    """Content security policy: these scripts, these styles, images made in the page, no more."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {' '.join(content_hash(script) for script in scripts)}",
            f"style-src {' '.join(content_hash(style) for style in styles)}",
            "img-src data: blob:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
