"""Tutorials: scripts in cells, run as notebooks, and what they print put beside the code.

    python docs/_ext/notebooks.py

writes the notebooks of examples/notebooks, which hold no outputs, from the scripts.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import nbformat
import percent
from nbclient import NotebookClient
from nbformat import NotebookNode, v4

ROOT: Final = Path(__file__).resolve().parents[2]
RUNS: Final = ROOT / "docs" / "_build" / "runs"
"""Where finished runs are kept; one that would be the same is not run again."""
SCRIPTS: Final = ROOT / "examples" / "tutorials"
OFFERED: Final = ROOT / "examples" / "notebooks"
HIDDEN: Final = {"jupyter": {"source_hidden": True}, "tags": ["hide-input"]}
"""Of cells whose code a reader of a notebook needs not see."""
TIMEOUT_S: Final = 300
PAGE: Final = re.compile(r"^<!-- page: (\S+) -->$", re.MULTILINE)
"""Asks for a file in HTML that the run wrote, to be shown on the page."""


class TutorialError(Exception):
    """A tutorial that did not run through, or that printed what a reader should not see."""


@dataclass(frozen=True, slots=True)
class Run:
    """A tutorial that has been run.

    Attributes:
        name: Name of the script without its ending.
        notebook: The notebook with its outputs.
        folder: Folder in which it ran, with the files that it wrote.
    """

    name: str
    notebook: NotebookNode
    folder: Path


def to_notebook(cells: list[percent.Cell]) -> NotebookNode:
    """A notebook of a script: a cell for each, and a hidden one for the numbers of each text."""
    made: list[NotebookNode] = []
    for cell in cells:
        if cell.kind != "text":
            made.append(v4.new_code_cell(cell.source, metadata={"tags": [cell.kind]}))
            continue
        if wanted := percent.expressions(cell.source):
            made.append(v4.new_code_cell(_asking(wanted), metadata={"tags": ["numbers"]}))
        made.append(v4.new_markdown_cell(cell.source))
    return v4.new_notebook(cells=made, metadata={"language_info": {"name": "python"}})


def _asking(wanted: list[tuple[str, str]]) -> str:
    values = ", ".join(f"format({expression}, {spec!r})" for expression, spec in wanted)
    return f"__import__('builtins').print(__import__('json').dumps([{values}]))"


def to_offered(cells: list[percent.Cell]) -> NotebookNode:
    """A notebook for readers to run: no outputs, no checks, and numbers of their own in the text.

    A paragraph with numbers is a cell that prints it; Jupyter folds its code away. Equal scripts
    have equal notebooks, so that one is out of date only where its script has changed.
    """
    made: list[NotebookNode] = []
    for cell in cells:
        if cell.kind == "text":
            made += _paragraphs(cell.source)
        elif (
            source := percent.without_asserts(cell.source) if cell.kind == "check" else cell.source
        ):
            made.append(v4.new_code_cell(source, metadata=HIDDEN if cell.kind == "check" else {}))
    for number, cell in enumerate(made):
        cell.id = f"cell-{number}"
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return v4.new_notebook(cells=made, metadata={"kernelspec": kernel}, nbformat_minor=5)


def _paragraphs(text: str) -> list[NotebookNode]:
    """Cells of a text: neighbours without numbers stay together."""
    made: list[NotebookNode] = []
    for has_numbers, group in itertools.groupby(
        text.split("\n\n"), key=lambda part: bool(percent.expressions(part))
    ):
        source = "\n\n".join(group)
        if has_numbers:
            made.append(v4.new_code_cell(percent.to_code(source), metadata=HIDDEN))
        elif shown := PAGE.sub(r"[Open \1](\1)", source).strip():
            made.append(v4.new_markdown_cell(shown))
    return made


def write_offered(folder: Path = OFFERED) -> None:
    """Write the notebook of each script, and remove those of scripts that are gone."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.ipynb"):
        old.unlink()
    for script in sorted(SCRIPTS.glob("*.py")):
        notebook = to_offered(percent.read_cells(script.read_text("utf-8")))
        nbformat.write(notebook, folder / f"{script.stem}.ipynb")


def execute(notebook: NotebookNode, folder: Path) -> None:
    """Run a notebook in a folder, fill the numbers into its texts, and take out what is hidden.

    Raises:
        TutorialError: A cell raised, or wrote to standard error.
    """
    folder.mkdir(parents=True, exist_ok=True)
    client = NotebookClient(
        notebook,
        log=logging.getLogger("tutorials"),
        timeout=TIMEOUT_S,
        kernel_name="python3",
        extra_arguments=["--log-level=ERROR"],  # that loopback is not encrypted is known
        resources={"metadata": {"path": str(folder)}},
    )
    try:
        client.execute(env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "88"})
    except Exception as error:
        raise TutorialError(str(error)) from error
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":
                raise TutorialError(f"standard error of:\n{cell.source}\n\n{output['text']}")
    notebook.cells = _shown(notebook.cells)


def _shown(cells: list[NotebookNode]) -> list[NotebookNode]:
    shown: list[NotebookNode] = []
    values: list[str] = []
    for cell in cells:
        tags = cell.metadata.get("tags", [])
        if "numbers" in tags:
            values = json.loads(cell.outputs[0]["text"])
        elif cell.cell_type == "markdown":
            shown.append(v4.new_markdown_cell(percent.fill(cell.source, values)))
            values = []
        elif "check" not in tags:
            shown.append(cell)
    return shown


def run(script: Path) -> Run:
    """Run a tutorial, or take the run of the same script with the same package.

    Raises:
        TutorialError: It did not run through.
    """
    text = script.read_text("utf-8")
    folder = RUNS / f"{script.stem}-{_mark(text)}"
    finished = folder / f"{script.stem}.ipynb"
    if not finished.exists():
        for old in RUNS.glob(f"{script.stem}-*"):
            shutil.rmtree(old)
        notebook = to_notebook(percent.read_cells(text))
        try:
            execute(notebook, folder)
        except TutorialError as error:
            raise TutorialError(f"{script.relative_to(ROOT)}: {error}") from error
        nbformat.write(notebook, finished)
    return Run(script.stem, nbformat.read(finished, as_version=4), folder)


def _mark(text: str) -> str:
    """Of a script and of every file of the package: what a run depends on, but for libraries."""
    mark = hashlib.sha256(text.encode())
    for file in sorted((ROOT / "src").rglob("*.py")):
        mark.update(file.read_bytes())
    return mark.hexdigest()[:16]


def to_markdown(done: Run) -> str:
    """A tutorial that was run, as the text of a page."""
    parts = [
        _prose(cell.source, done.name) if cell.cell_type == "markdown" else _code(cell)
        for cell in done.notebook.cells
    ]
    parts.insert(1, _downloads(done.name))
    return "\n\n".join(parts)


def pages_of(done: Run) -> list[str]:
    """Files that a tutorial wrote and shows, relative to its folder."""
    texts = [cell.source for cell in done.notebook.cells if cell.cell_type == "markdown"]
    return [name for text in texts for name in PAGE.findall(text)]


def _prose(text: str, name: str) -> str:
    return PAGE.sub(
        lambda match: (
            f'<iframe class="report" loading="lazy" src="../_runs/{name}/{match[1]}"'
            f' title="{match[1]}"></iframe>\n\n'
            f'<p><a href="../_runs/{name}/{match[1]}">Open it as a page of its own</a></p>'
        ),
        text,
    )


def _downloads(name: str) -> str:
    files = [
        f'<a href="../_runs/{name}/{name}.{ending}" download>{what}</a>'
        for ending, what in (("py", "script"), ("ipynb", "notebook, with this output"))
    ]
    return f"<p>Everything below was run when this page was built: {', '.join(files)}.</p>"


def _code(cell: NotebookNode) -> str:
    shown = [f"```python\n{cell.source}\n```"] if cell.source.strip() else []
    return "\n\n".join([*shown, *(_output(output) for output in cell.outputs)])


def _output(output: dict[str, Any]) -> str:
    data = output.get("data", {})
    if "image/png" in data:
        return f"![Figure](data:image/png;base64,{data['image/png'].strip()})"
    text = output.get("text") or data.get("text/plain", "")
    return f"````{{code-block}} text\n:class: output\n\n{text.rstrip()}\n````"


if __name__ == "__main__":
    write_offered()
