"""No files of the package need each other, be it directly or through others.

All imports count, wherever they stand: one that is only for types or that waits inside a function
still says that neither file can be read without the other. Only `deephochuli/__init__.py` is left
out, as it is from the floors: it hands on what the parts make, and they read the version there.
"""

import ast
from graphlib import CycleError, TopologicalSorter

import pytest

from tests.architecture.project import PACKAGE, Module
from tests.architecture.test_imports import imported_names


def needs_of(modules: list[Module]) -> dict[str, set[str]]:
    """The files of the package that each file names in its imports, by their dotted names."""
    named = {module.dotted: module for module in modules if module.dotted != "deephochuli"}
    return {
        name: {_file_of(what, named) for _, what in imported_names(module.tree)} - {"", name}
        for name, module in named.items()
    }


def _file_of(name: str, named: dict[str, Module]) -> str:
    """The file that holds a name: a module, or the one that it is taken from; "" if another's."""
    while name and name not in named:
        name = name.rpartition(".")[0]
    return name


def circles(needs: dict[str, set[str]]) -> list[list[str]]:
    """Circles of files that need each other, one for each group of those that cannot be parted."""
    found: list[list[str]] = []
    needs = {name: set(others) for name, others in needs.items()}
    while True:
        try:
            TopologicalSorter(needs).prepare()
        except CycleError as error:
            circle: list[str] = error.args[1]
            found.append(circle[::-1])
            needs[circle[1]].discard(circle[0])
        else:
            return found


def test_no_files_need_each_other(modules):
    found = circles(needs_of(modules))
    shown = [" -> ".join(name.removeprefix("deephochuli.") for name in circle) for circle in found]
    assert not found, "move what these share into a file below them:\n" + "\n".join(shown)


def made(**texts: str) -> list[Module]:
    """Files of a part that does not exist."""
    return [
        Module(PACKAGE / "part" / f"{name}.py", text, ast.parse(text))
        for name, text in texts.items()
    ]


@pytest.mark.parametrize(
    "text",
    [
        "from deephochuli.part.a import A",
        "from deephochuli.part import a",
        "import deephochuli.part.a",
        "def f():\n    from deephochuli.part.a import A",
        "if TYPE_CHECKING:\n    from deephochuli.part.a import A",
    ],
)
def test_the_search_sees_a_circle(text):
    needs = needs_of(made(a="from deephochuli.part.b import B", b="", c=text))
    assert circles(needs) == []
    needs = needs_of(made(a="from deephochuli.part.b import B", b=text))
    (circle,) = circles(needs)
    assert set(circle) == {"deephochuli.part.a", "deephochuli.part.b"}


def test_the_search_sees_a_file_that_needs_its_folder():
    needs = needs_of(made(__init__="from deephochuli.part.a import A", a="import deephochuli.part"))
    (circle,) = circles(needs)
    assert set(circle) == {"deephochuli.part", "deephochuli.part.a"}
