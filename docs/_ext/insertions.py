"""Texts that a page takes from elsewhere, and links that lead to pages instead of to files.

A page asks for a text by a comment of its own, so that it reads well on a forge, too::

    <!-- text: ARCHITECTURE.md -->             a document of the repository
    <!-- help: deephochuli -->                 what the commands print for --help
    <!-- names: deephochuli -->                the names of the package, with their homes
    <!-- run: examples/tutorials/tf32.py -->   a tutorial, run
"""

from __future__ import annotations

import os
import posixpath
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import listings
import notebooks

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT: Final = Path(__file__).resolve().parents[2]
_MARKER: Final = re.compile(r"^<!-- (text|help|names|run): (\S+) -->$", re.MULTILINE)
_LINK: Final = re.compile(r"(!?)\[([^\]]*)\]\((?![a-z]+:|#)([^)#\s]+)(#[^)\s]*)?\)")
_FENCE: Final = re.compile(r"(^```.*?^```)", re.MULTILINE | re.DOTALL)
_DOCUMENTS: Final = {
    "README.md": "docs/index.md",
    "ARCHITECTURE.md": "docs/project/architecture.md",
    "CHANGELOG.md": "docs/project/changelog.md",
    "CONTRIBUTING.md": "docs/project/contributing.md",
}
"""Documents of the repository, and the pages on which they stand here."""


_RUNS: Final[dict[str, notebooks.Run]] = {}
"""Tutorials of this build, by the paths of their scripts."""


def retarget(text: str, source: str, page: str) -> str:
    """Let the links of a document lead to where their targets are on this site.

    Args:
        text: Markdown.
        source: Path of the document below the repository; its links are relative to its folder.
        page: Path of the page below the repository on which the text stands.

    Returns:
        The text. A target that is a file of the repository and no page becomes its name.

    >>> retarget("[a](docs/tf32.md#x) [b](LICENSE)", "README.md", "docs/project/a.md")
    '[a](../tf32.md#x) b (`LICENSE`)'
    """

    def one(match: re.Match[str]) -> str:
        mark, label, target, anchor = match[1], match[2], match[3], match[4] or ""
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        path = _DOCUMENTS.get(path, path)
        if not path.startswith("docs/") or not posixpath.splitext(path)[1]:
            return f"`{label.strip('`')}`" if label.strip("`") == target else f"{label} (`{path}`)"
        return f"{mark}[{label}]({posixpath.relpath(path, posixpath.dirname(page))}{anchor})"

    pieces = _FENCE.split(text)
    return "".join(p if p.startswith("```") else _LINK.sub(one, p) for p in pieces)


def _text(path: str, page: str) -> str:
    return retarget((ROOT / path).read_text("utf-8"), path, page)


def _run(path: str, page: str) -> str:
    done = _RUNS[path] = notebooks.run(ROOT / path)
    return retarget(notebooks.to_markdown(done), path, page)


def fill(text: str, page: str) -> tuple[str, list[Path]]:
    """Put the texts in place of their comments; return the page and the files it depends on."""
    used: list[Path] = []

    def one(match: re.Match[str]) -> str:
        if match[1] in ("text", "run"):
            used.append(ROOT / match[2])
            return (_text if match[1] == "text" else _run)(match[2], page)
        return {"help": listings.commands, "names": listings.names}[match[1]](match[2])

    return _MARKER.sub(one, retarget(text, page, page)), used


def _read(app: Sphinx, docname: str, content: list[str]) -> None:
    path = Path(app.env.doc2path(docname))
    page = Path(os.path.relpath(path, ROOT)).as_posix()
    content[0], used = fill(content[0], page)
    for file in used:
        app.env.note_dependency(str(file), docname=docname)


def _copy_runs(app: Sphinx, exception: Exception | None) -> None:
    """Put what the tutorials wrote, their notebooks and their scripts beside the pages."""
    if exception is not None:
        return
    for path, done in _RUNS.items():
        folder = Path(app.outdir) / "_runs" / done.name
        for name in (f"{done.name}.ipynb", *notebooks.pages_of(done)):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(done.folder / name, folder / name)
        shutil.copyfile(ROOT / path, folder / f"{done.name}.py")


def setup(app: Sphinx) -> dict[str, Any]:
    """Fill each page as it is read."""
    app.connect("source-read", _read)
    app.connect("build-finished", _copy_runs)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
