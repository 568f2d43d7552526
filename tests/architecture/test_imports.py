"""Imports run downwards only, and parts on one floor do not know each other."""

import ast
import subprocess
import sys

import pytest

from tests.architecture.project import Module

FLOORS = {
    "_version": 0,
    "errors": 0,
    "formats": 1,
    "kernels": 2,
    "sketch": 3,
    "arithmetic": 3,
    "pieces": 3,
    "config": 4,
    "store": 4,
    "taps": 4,
    "record": 5,
    "analysis": 6,
    "studies": 7,
    "report": 8,
    "integrations": 9,
    "live": 9,
    "session": 10,
    "auto": 11,
    "cli": 11,
    "__main__": 12,
}
FACE = "__init__"
# Costs seconds, or megabytes, and has no place below the part that works with tensors or tables.
FORBIDDEN_IN = {
    "errors": {"torch", "numpy", "numba", "pyarrow"},
    "formats": {"torch", "numba", "pyarrow"},
    "kernels": {"pyarrow"},
    "sketch": {"pyarrow"},
    "store": {"torch", "numba"},
    "config": {"torch", "numba", "pyarrow"},
    "report": {"torch", "numba"},
    "live": {"torch", "numba"},
}


def imported_names(tree: ast.AST) -> list[tuple[int, str]]:
    """Line and full dotted name of each import, wherever it stands in a file."""
    found: list[tuple[int, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: write imports of this package in full"
            found += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
    return found


def import_faults(module: Module) -> list[str]:
    """Imports of one file that a floor or a ban forbids."""
    faults: list[str] = []
    for line, name in imported_names(module.tree):
        head, _, rest = name.partition(".")
        where = f"{module.name}:{line}"
        if head in FORBIDDEN_IN.get(module.part, set()):
            faults.append(f"{where}: {module.part} must not import {head}")
        if head != "deephochuli" or rest == "__version__":
            continue
        target = rest.split(".")[0]
        if target not in FLOORS:
            faults.append(f"{where}: imports {name}, which has no floor")
        elif target != module.part and FLOORS[target] >= FLOORS[module.part]:
            faults.append(
                f"{where}: {module.part} (floor {FLOORS[module.part]}) imports "
                f"{target} (floor {FLOORS[target]}); imports run downwards only"
            )
    return faults


def test_every_part_of_the_package_has_a_floor(modules):
    unknown = {module.part for module in modules} - FLOORS.keys() - {FACE}
    assert not unknown, f"give these a floor in {__file__}: {sorted(unknown)}"


def test_imports_run_downwards_only(modules):
    faults = [fault for module in modules if module.part != FACE for fault in import_faults(module)]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    ("part", "code"),
    [
        ("store", "from deephochuli.taps import Tap"),
        ("formats", "import torch"),
        ("sketch", "from deephochuli.record import record"),
        ("analysis", "def f():\n    import deephochuli.report"),
        ("taps", "import deephochuli.somewhere"),
    ],
)
def test_the_floor_check_sees_a_wrong_import(part, code):
    from tests.architecture.project import PACKAGE

    module = Module(PACKAGE / part / "_x.py", code, ast.parse(code))
    assert len(import_faults(module)) == 1


def loaded_after(code: str) -> set[str]:
    """Top-level modules in a fresh process after running a piece of code."""
    tail = "\nimport sys; print(*sorted({n.split('.')[0] for n in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", code + tail], capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


HEAVY = {"torch", "numba", "pyarrow", "matplotlib", "transformers", "sklearn", "pandas"}


@pytest.mark.parametrize(
    "code",
    [
        "import deephochuli",
        "import deephochuli.formats",
        "import deephochuli.cli",
        "import deephochuli.auto",
        "from deephochuli.cli import main; main(['--help'], exits=False)",
        "from deephochuli.cli import main; main(['formats'], exits=False)",
        "from deephochuli.cli import main; main(['formats', 'bfloat16', '--json'], exits=False)",
        "from deephochuli.cli import main; main(['report', '--help'], exits=False)",
    ],
)
def test_a_light_command_loads_nothing_heavy(code):
    assert not loaded_after(code) & HEAVY


def test_the_load_check_sees_a_heavy_module():
    assert "numba" in loaded_after("import numba") & HEAVY
