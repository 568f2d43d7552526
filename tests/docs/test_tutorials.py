"""Tutorials: what is read from a script, and what fails a build."""

from pathlib import Path

import nbformat
import notebooks
import percent
import pytest
from insertions import retarget
from offline import check_site, foreign_requests

from tests.architecture.project import ROOT

SCRIPT = '''"""For readers of the script."""

# %% [markdown]
# # Title
#
# The answer is {{answer}}, and {{answer / 100:.0%}} of a hundred.

# %%
answer = 6 * 7
print("computed")

# %% [check]
assert answer == 42

# %% [markdown]
# Then {{answer + 1}}.
'''.replace("# %% [markdown]\n# # Title", "# %%\nanswer = 42\n\n# %% [markdown]\n# # Title")
SCRIPTS = sorted((ROOT / "examples" / "tutorials").glob("*.py"))


def test_a_script_becomes_cells():
    cells = percent.read_cells(SCRIPT)
    assert [cell.kind for cell in cells] == ["code", "text", "code", "check", "text"]
    assert cells[1].source.startswith("# Title\n\nThe answer")
    lines = SCRIPT.splitlines()
    assert all(lines[c.line - 1].removeprefix("# ") == c.source.split("\n")[0] for c in cells)


@pytest.mark.parametrize("text", ["# %% [mardown]\n# a\n", "# %% [markdown]\na\n"])
def test_a_script_that_cannot_be_read_is_refused(text):
    with pytest.raises(ValueError, match=r"line [12]"):
        percent.read_cells(text)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_tutorial_computes_its_numbers_and_checks_its_words(script):
    cells = percent.read_cells(script.read_text("utf-8"))
    assert any(cell.kind == "check" for cell in cells)
    assert any(percent.expressions(cell.source) for cell in cells if cell.kind == "text")
    assert cells[0].kind == "text"


def test_a_notebook_is_the_script_in_its_order():
    cells = percent.read_cells(SCRIPT)
    made = notebooks.to_notebook(cells).cells
    code = [c.source for c in made if c.cell_type == "code" and "numbers" not in c.metadata["tags"]]
    assert code == [cell.source for cell in cells if cell.kind != "text"]
    assert [c.source for c in made if c.cell_type == "markdown"] == [
        cell.source for cell in cells if cell.kind == "text"
    ]


def run(script: str, folder: Path) -> str:
    notebook = notebooks.to_notebook(percent.read_cells(script))
    notebooks.execute(notebook, folder)
    return notebooks.to_markdown(notebooks.Run("x", notebook, folder))


@pytest.mark.slow
def test_numbers_are_filled_in_and_checks_are_not_shown(tmp_path):
    page = run(SCRIPT, tmp_path)
    assert "The answer is 42, and 42% of a hundred." in page
    assert "Then 43." in page
    assert "computed" in page
    assert "assert" not in page
    assert "json" not in page


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("answer == 42", "answer == 41", "AssertionError"),
        ("{{answer + 1}}", "{{anwser + 1}}", "NameError"),
        ('print("computed")', "import sys; print('careful', file=sys.stderr)", "careful"),
    ],
)
def test_what_is_not_true_any_more_fails_the_build(tmp_path, old, new, word):
    with pytest.raises(notebooks.TutorialError, match=word):
        run(SCRIPT.replace(old, new), tmp_path)


def test_links_lead_to_pages_and_files_become_their_names():
    text = "[a](../../docs/tf32.md#x), [b](first_report.py), ![c](../../docs/images/report.png)"
    made = retarget(text, "examples/tutorials/x.py", "docs/tutorials/x.md")
    assert "[a](../tf32.md#x)" in made
    assert "b (`examples/tutorials/first_report.py`)" in made
    assert "![c](../images/report.png)" in made
    assert retarget("```sh\n[a](b.md)\n```", "a.md", "docs/a.md") == "```sh\n[a](b.md)\n```"


@pytest.mark.parametrize(
    "text",
    [
        '<script src="https://example.org/a.js"></script>',
        "<link rel='stylesheet' href='//example.org/a.css'>",
        '<img alt="x" src="http://example.org/a.png">',
        "a { background: url('https://example.org/a.png') }",
        '@import "https://example.org/a.css";',
    ],
)
def test_a_request_to_another_host_is_seen(tmp_path, text):
    assert foreign_requests(text)
    (tmp_path / "a.html").write_text(text)
    assert len(check_site(tmp_path)) == 1


@pytest.mark.parametrize(
    "text", ['<a href="https://example.org">a</a>', '<link rel="canonical" href="https://e.org">']
)
def test_a_link_that_somebody_clicks_on_is_none(text):
    assert not foreign_requests(text)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_the_notebook_that_is_offered_is_that_of_the_script(script):
    """If not: python docs/_ext/notebooks.py"""
    made = notebooks.to_offered(percent.read_cells(script.read_text("utf-8")))
    offered = (notebooks.OFFERED / f"{script.stem}.ipynb").read_text("utf-8")
    assert nbformat.writes(made) == offered.rstrip("\n")
    assert all(cell.get("outputs", []) == [] for cell in made.cells)


def test_every_notebook_that_is_offered_has_a_script():
    assert {path.stem for path in notebooks.OFFERED.iterdir()} == {path.stem for path in SCRIPTS}


@pytest.mark.slow  # it starts a kernel
def test_a_notebook_that_is_offered_computes_the_numbers_of_its_text(tmp_path):
    made = notebooks.to_offered(percent.read_cells(SCRIPT))
    kinds = [(cell.cell_type, cell.source.split("\n")[0]) for cell in made.cells]
    assert kinds == [
        ("code", "answer = 42"),
        ("markdown", "# Title"),
        ("code", "from IPython.display import Markdown"),
        ("code", "answer = 6 * 7"),
        ("code", "from IPython.display import Markdown"),
    ]
    notebooks.execute(made, tmp_path)
    shown = [
        o["data"]["text/markdown"]
        for cell in made.cells
        for o in cell.get("outputs", [])
        if "data" in o
    ]
    assert shown == ["The answer is 42, and 42% of a hundred.", "Then 43."]


@pytest.mark.parametrize("text", ['a """ {{b}}', "a \\n {{b}}"])
def test_text_that_would_not_be_itself_in_code_is_refused(text):
    with pytest.raises(ValueError, match="quotes or a backslash"):
        percent.to_code(text)


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_notebook_that_is_offered_runs(script, tmp_path):
    notebook = nbformat.read(notebooks.OFFERED / f"{script.stem}.ipynb", as_version=4)
    notebooks.execute(notebook, tmp_path)
